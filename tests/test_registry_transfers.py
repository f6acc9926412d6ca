"""Pulls, pushes and copies at a scripted registry in this process."""

from __future__ import annotations

import functools
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from registries import Reply, Request, Script, scripted
from sample_images import Sample, base, image_of, tar_of

from containerkit.base import extras
from containerkit.errors import Unavailable
from containerkit.image.blobs import MemoryBlobs
from containerkit.image.digest import Digest
from containerkit.image.errors import LimitExceeded, Mismatch, Missing
from containerkit.image.image import Image
from containerkit.image.index import Index
from containerkit.image.limits import Limits
from containerkit.registry import Login, Progress, Registries, Registry, Retries, Timeouts, copy, manifest_cache, pull, push
from containerkit.registry.errors import NotFound, ProtocolError, Refused, ServerError
from containerkit.store.store import Store

QUICK = Retries(attempts=2, first=0.01, longest=1)


class Fake:
    """A registry.  `before` may answer first, and `after` may change an answer."""

    def __init__(self, *, mounts: bool = True, whole: bool = True, least: int = 0) -> None:
        self.mounts, self.whole, self.least = mounts, whole, least
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytes] = {}
        self.numbers = itertools.count()
        self.before: Callable[[Request], Reply | None] = lambda request: None
        self.script = Script("")

    def __call__(self, request: Request) -> Reply:
        if early := self.before(request):
            return early
        name, kind, which = request.place.removeprefix("/v2/").rsplit("/", 2)
        if name.endswith("/blobs"):
            return self.upload(request, name.removesuffix("/blobs"), which)
        if kind == "blobs":
            found = self.blobs.get((name, which))
            return Reply(404) if found is None else Reply(body=found)
        return self.manifest(request, name, which)

    def manifest(self, request: Request, name: str, which: str) -> Reply:
        if request.method == "PUT":
            digest = str(Digest.of(request.body))
            self.manifests[name, which] = self.manifests[name, digest] = request.headers["content-type"], request.body
            return Reply(201, headers={"Docker-Content-Digest": digest, "OCI-Subject": digest})
        if (name, which) not in self.manifests:
            return Reply(404)
        media_type, data = self.manifests[name, which]
        return Reply(body=data, headers={"Content-Type": media_type, "Docker-Content-Digest": Digest.of(data)})

    def upload(self, request: Request, name: str, which: str) -> Reply:
        query = {key: values[0] for key, values in request.query.items()}
        if request.method == "POST":
            if self.mounts and (found := self.blobs.get((query.get("from", ""), query.get("mount", "")))):
                self.blobs[name, query["mount"]] = found
                return Reply(201)
            which = str(next(self.numbers))
            self.uploads[which] = b""
            return self.accepted(202, name, which, {"OCI-Chunk-Min-Length": str(self.least)} if self.least else {})
        if which not in self.uploads:
            return Reply(404)
        if request.method == "GET":
            return self.accepted(204, name, which)
        if request.method == "DELETE":
            del self.uploads[which]
            return Reply(204)
        if request.method == "PUT" and request.body and not self.whole:
            return Reply(413)
        if request.method == "PATCH":
            start, end = map(int, request.headers["content-range"].split("-"))
            if start != len(self.uploads[which]) or end - start + 1 != len(request.body):
                return Reply(416)
        self.uploads[which] += request.body
        if request.method == "PATCH":
            return self.accepted(202, name, which)
        data = self.uploads.pop(which)
        if Digest.of(data) != query["digest"]:
            return Reply(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
        self.blobs[name, query["digest"]] = data
        return Reply(201)

    def accepted(self, status: int, name: str, which: str, more: dict[str, str] | None = None) -> Reply:
        place = {"Location": f"/v2/{name}/blobs/uploads/{which}?state=x"}
        has = {"Range": f"0-{len(self.uploads[which]) - 1}"} if self.uploads[which] else {}
        return Reply(status, headers=place | has | (more or {}))


@pytest.fixture
def fake() -> Iterator[Fake]:
    found = Fake()
    with scripted(found) as found.script:
        yield found


@pytest.fixture
def registry(fake: Fake) -> Iterator[Registry]:
    with Registry(fake.script.host, plain_http=True, retries=QUICK, timeouts=Timeouts(read=5, commit=5), auth=Login()) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def image() -> Image:
    return image_of(Sample(base(), tar_of({"app.js": os.urandom(100_000)})))  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def no_threads() -> Iterator[None]:
    """No thread of ours outlives a call, except those that make the processes of an event loop."""
    before = {*threading.enumerate()}
    yield
    assert [each.name for each in threading.enumerate() if each.name.startswith("containerkit") and each not in before] == []


def name(registry: Registry, rest: str = "app:1") -> str:
    return f"{registry.host}/{rest}"


def untouched(store: Store) -> bool:
    """Whether no name was set, and no staged file is left."""
    return not store.images() and not list((store.directory / "staging").iterdir())


# --- pushing ------------------------------------------------------------------------------------------------------


def test_there_and_back(fake: Fake, registry: Registry, image: Image, store: Store) -> None:
    assert push(image, name(registry), registries=registry) == image.descriptor.bare()
    assert fake.manifests["app", "1"] == (image.media_type, image.data)
    assert {digest for _, digest in fake.blobs} == {image.id, *(each.digest for each in image.layers)}
    got = pull(name(registry), store, registries=registry)
    assert (got, store.get(name(registry)), got.config_data) == (image, image, image.config_data)
    got.validate()


def test_manifests_are_pushed_after_their_blobs(fake: Fake, registry: Registry, image: Image) -> None:
    push(image, name(registry), registries=registry)
    done = [each.split()[0] for each in fake.script.asked()]
    assert done.count("HEAD") == done.count("POST") == 3
    assert fake.script.asked()[-1] == "PUT /v2/app/manifests/1"


def test_existing_blobs_are_not_sent(fake: Fake, registry: Registry, image: Image) -> None:
    push(image, name(registry), registries=registry)
    fake.script.requests.clear()
    states = []
    push(image, name(registry, "app:2"), registries=registry, progress=lambda event: states.append((event.state, event.done)))
    assert {each.split()[0] for each in fake.script.asked()} == {"HEAD", "PUT"}
    sizes = [image.manifest.config.size, *(layer.size for layer in image.manifest.layers)]
    assert sorted(done for state, done in states if state == "exists") == sorted(sizes)


@pytest.mark.parametrize("mounts", [True, False])
def test_a_blob_of_another_repository_is_mounted(fake: Fake, registry: Registry, image: Image, mounts: bool) -> None:
    push(image, name(registry), registries=registry)
    fake.script.requests.clear()
    fake.mounts = mounts
    states: list[str] = []
    push(image, name(registry, "team/other:1"), registries=registry, mount_from=["app"], progress=lambda event: states.append(event.state))
    assert all(each.query["from"] == ["app"] for each in fake.script.requests if each.method == "POST")
    assert any(each.startswith("PUT /v2/team/other/blobs") for each in fake.script.asked()) != mounts
    assert ("mounted" in states) == mounts
    assert fake.manifests["team/other", "1"][1] == image.data


def test_the_repository_that_has_a_blob_is_found(fake: Fake, registry: Registry, image: Image) -> None:
    push(image, name(registry), registries=registry)
    fake.before = lambda request: Reply(403) if request.place.startswith("/v2/secret/") else None
    fake.script.requests.clear()
    push(image, name(registry, "other:1"), registries=registry, mount_from=["none", "secret", "app"])
    assert {each.query["from"][0] for each in fake.script.requests if each.method == "POST"} == {"app"}
    assert not any(each.method == "PUT" and "blobs" in each.path for each in fake.script.requests)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_blob_that_may_not_be_mounted_is_sent(fake: Fake, registry: Registry, image: Image, status: int) -> None:
    push(image, name(registry), registries=registry)
    fake.before = lambda request: Reply(status) if "mount" in request.query else None
    push(image, name(registry, "other:1"), registries=registry, mount_from=["app"])
    assert fake.manifests["other", "1"][1] == image.data


def test_attempts_do_not_multiply(fake: Fake, registry: Registry) -> None:
    blobs = MemoryBlobs()
    fake.before = lambda request: Reply(503) if request.method == "POST" else None
    with pytest.raises(ServerError):
        registry.push_blob("app", blobs.add(b"data"), blobs)
    assert [each.method for each in fake.script.requests] == ["HEAD", *["POST"] * (1 + QUICK.attempts)]


@pytest.mark.parametrize(("chunk", "least"), [(1000, 0), (40_000, 0), (1000, 30_000), (1 << 30, 0), (1, 60_000)])
def test_parts(fake: Fake, registry: Registry, chunk: int, least: int) -> None:
    fake.least = least
    blobs, data = MemoryBlobs(), os.urandom(100_001)
    assert registry.push_blob("app", blobs.add(data), blobs, chunk=chunk) == "done"
    sizes = [len(each.body) for each in fake.script.requests if each.method == "PATCH"]
    assert sum(sizes) == len(data)
    assert set(sizes[:-1]) <= {max(chunk, least)}
    assert list(fake.blobs.values()) == [data]


@pytest.mark.parametrize("chunk", [None, 1, 5])
@pytest.mark.parametrize("data", [b"", b"1"])
def test_tiny_blobs(fake: Fake, registry: Registry, data: bytes, chunk: int | None) -> None:
    blobs = MemoryBlobs()
    registry.push_blob("app", blobs.add(data), blobs, chunk=chunk)
    assert list(fake.blobs.values()) == [data]


def test_a_registry_that_takes_no_large_body_gets_parts(fake: Fake, registry: Registry, image: Image) -> None:
    fake.whole = False
    push(image, name(registry), registries=registry)
    assert len(fake.blobs) == 3


def test_a_part_that_was_lost_on_the_way_is_sent_again(fake: Fake, registry: Registry) -> None:
    """The bytes that arrived are not kept."""
    blobs, data = MemoryBlobs(), os.urandom(100_000)
    failures = iter([7000, 0])

    def before(request: Request) -> Reply | None:
        if request.method == "PATCH" and (kept := next(failures, None)) is not None:
            fake.uploads["0"] += request.body[:kept]
            return Reply(503)
        return None

    fake.before = before
    registry.push_blob("app", blobs.add(data), blobs, chunk=40_000)
    assert list(fake.blobs.values()) == [data]
    sent = [each.headers["content-range"] for each in fake.script.requests if each.method == "PATCH"]
    assert sent == ["0-39999", "7000-39999", "7000-39999", "40000-79999", "80000-99999"]


@pytest.mark.parametrize("status", [500, 503])
def test_an_upload_that_failed_begins_anew(fake: Fake, registry: Registry, image: Image, status: int) -> None:
    failed = set[str]()

    def before(request: Request) -> Reply | None:
        if request.method == "PUT" and "digest" in request.query and request.query["digest"][0] not in failed:
            failed.add(request.query["digest"][0])
            return Reply(status)
        return None

    fake.before = before
    push(image, name(registry), registries=registry)
    assert (len(failed), len(fake.blobs)) == (3, 3)


def test_an_upload_that_the_registry_forgot_begins_anew(fake: Fake, registry: Registry) -> None:
    blobs = MemoryBlobs()
    forgets = iter([True])
    fake.before = lambda request: Reply(404) if request.method == "PUT" and next(forgets, False) else None
    assert registry.push_blob("app", blobs.add(b"data"), blobs) == "done"
    assert [each.method for each in fake.script.requests] == ["HEAD", "POST", "PUT", "POST", "PUT"]


def test_a_blob_that_is_damaged_here_does_not_get_there(fake: Fake, registry: Registry, image: Image) -> None:
    layer = image.manifest.layers[1]
    wrong = MemoryBlobs({layer.digest: bytes(layer.size)})
    with pytest.raises(Mismatch):
        registry.push_blob("app", layer, wrong)
    assert fake.blobs == {}
    with pytest.raises(Mismatch):
        registry.push_blob("app", layer, wrong, chunk=1000)
    assert fake.blobs == {}
    assert fake.uploads in ({}, {"0": b""})  # the client tells the registry to drop the upload


def test_a_missing_blob_is_reported_before_anything_is_sent(fake: Fake, registry: Registry, image: Image) -> None:
    other = image_of(Sample(base(), arch="arm64"))
    index = Index.of([image, other])
    lacking = Index.parse(index.data, index.media_type, image.blobs)
    with pytest.raises(Missing, match="linux/arm64"):
        push(lacking, name(registry), registries=registry)
    assert {each.split()[0] for each in fake.script.asked()} == {"HEAD"}
    push(other, name(registry, "app:arm"), registries=registry)
    push(lacking, name(registry), registries=registry)  # now the registry has the blob that we lack
    assert fake.manifests["app", "1"][1] == index.data
    with pytest.raises(Mismatch):
        push(image, name(registry, f"app@{other.digest}"), registries=registry)


def test_an_upload_redirected_to_another_host_carries_no_password(image: Image) -> None:
    other, first = Fake(), Fake()
    basic = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    first.before = lambda request: basic if "authorization" not in request.headers else None
    blob = image.manifest.layers[0]
    with scripted(other) as other.script, scripted(first) as first.script:
        other.uploads["0"] = b""
        first.accepted = lambda *args: Reply(202, headers={"Location": f"http://{other.script.host}/v2/x/blobs/uploads/0"})  # type: ignore[method-assign]
        with Registry(first.script.host, plain_http=True, auth=("me", "secret")) as registry:
            registry.push_blob("app", blob, image.blobs)
    assert list(other.blobs) == [("x", blob.digest)]
    assert all("authorization" not in each.headers for each in other.script.requests)


@pytest.mark.parametrize("location", ["", "ftp://x/", "http://me:x@127.0.0.1/"])
def test_an_upload_with_a_malformed_location(fake: Fake, registry: Registry, image: Image, location: str) -> None:
    fake.before = lambda request: Reply(202, headers={"Location": location}) if request.method == "POST" else None
    with pytest.raises(ProtocolError):
        push(image, name(registry), registries=registry)


def test_a_registry_that_lies_about_parts(fake: Fake, registry: Registry, image: Image) -> None:
    for said in ("0-99", "nonsense", "5-10"):
        fake.before = lambda request: Reply(202, headers={"Location": request.path, "Range": said}) if request.method == "PATCH" else None  # noqa: B023
        with pytest.raises(ProtocolError):
            registry.push_blob("app", image.manifest.config, image.blobs, chunk=10)


def test_a_registry_that_refuses(fake: Fake, registry: Registry, image: Image) -> None:
    fake.before = lambda request: Reply(400, b'{"errors":[{"code":"NAME_INVALID"}]}') if request.method == "POST" else None
    with pytest.raises(Refused) as caught:
        push(image, name(registry), registries=registry)
    assert caught.value.codes == {"NAME_INVALID"}


# --- pulling ------------------------------------------------------------------------------------------------------


def test_a_blob_in_the_store_is_not_fetched(fake: Fake, registry: Registry, image: Image, store: Store) -> None:
    push(image, name(registry), registries=registry)
    pull(name(registry), store, registries=registry)
    push(image.append(*image_of(Sample(tar_of({"new": b"1"}))).layers), name(registry, "app:2"), registries=registry)
    fake.script.requests.clear()
    states: list[tuple[str, str]] = []
    pull(name(registry, "app:2"), store, registries=registry, progress=lambda event: states.append((event.state, str(event.what))))
    assert len(fake.script.requests) == 3  # manifest, config, the new layer
    assert [state for state, _ in states].count("exists") == 2


def test_a_layer_is_unpacked_while_it_is_fetched(fake: Fake, registry: Registry, image: Image, store: Store) -> None:
    push(image, name(registry), registries=registry)
    pull(name(registry), store, registries=registry, unpack=True)
    assert set(store.trees) == set(image.chain_ids)
    assert (store.layers(image)[1] / "app.js").stat().st_size == 100_000


def test_a_layer_in_the_store_is_unpacked_too(fake: Fake, registry: Registry, image: Image, store: Store) -> None:
    push(image, name(registry), registries=registry)
    pull(name(registry), store, registries=registry)
    assert set(store.trees) == set()
    states = []
    pull(name(registry), store, registries=registry, unpack=True, progress=lambda event: states.append(event.state))
    assert set(store.trees) == set(image.chain_ids)
    assert states.count("unpacking") == 2


def test_an_image_pulled_by_digest_gets_no_name(registry: Registry, image: Image, store: Store) -> None:
    push(image, name(registry), registries=registry)
    assert pull(name(registry, f"app:1@{image.digest}"), store, registries=registry) == image
    (kept,) = store.images()
    assert kept.names == ()
    assert kept.digest == image.digest


def multi(image: Image) -> tuple[Index, Image]:
    arm = image_of(Sample(base(), tar_of({"arm": b"1"}), arch="arm64"))
    return Index.of([image, Index.of([arm])]).with_annotations({"a": "b"}), arm


def test_one_platform_of_many(fake: Fake, registry: Registry, image: Image, store: Store) -> None:
    index, arm = multi(image)
    push(index, name(registry), registries=registry)
    fake.script.requests.clear()
    assert pull(name(registry), store, registries=registry, platform="linux/arm64") == arm
    assert store.get(name(registry)) == arm
    assert store.find(name(registry)).digest == index.digest
    assert not any(image.id in each.path for each in fake.script.requests)
    assert pull(name(registry), store, registries=registry, platform="linux/amd64") == image
    assert store.get(name(registry), "linux/arm64") == arm
    with pytest.raises(Missing, match="linux/s390x"):
        pull(name(registry), store, registries=registry, platform="linux/s390x")
    with pytest.raises(Missing, match="arm64"):
        pull(name(registry, f"app@{image.digest}"), store, registries=registry, platform="arm64")


def test_all_platforms(registry: Registry, image: Image, store: Store) -> None:
    index, arm = multi(image)
    push(index, name(registry), registries=registry)
    got = pull(name(registry), store, registries=registry, all_platforms=True)
    assert (got, list(got.images())) == (index, [image, arm])  # type: ignore[union-attr]
    got.validate()
    assert store.fsck() == ()


@pytest.mark.parametrize("what", ["config", "layer"])
@pytest.mark.parametrize("how", ["missing", "wrong", "failing"])
def test_a_pull_that_fails_leaves_the_store_as_it_was(
    fake: Fake, registry: Registry, image: Image, store: Store, what: str, how: str
) -> None:
    push(image, name(registry), registries=registry)
    blob = image.manifest.config if what == "config" else image.manifest.layers[1]
    replies = {"missing": (Reply(404), NotFound), "wrong": (Reply(body=bytes(blob.size)), Mismatch), "failing": (Reply(503), ServerError)}
    reply, kind = replies[how]
    fake.before = lambda request: reply if blob.digest in request.path else None
    with pytest.raises(kind):
        pull(name(registry), store, registries=registry, unpack=True)
    assert untouched(store)
    assert not store.blobs.has(blob.digest)
    fake.before = lambda request: None
    assert pull(name(registry), store, registries=registry) == image
    assert store.fsck() == ()


def stuck(fake: Fake, image: Image) -> None:
    """The second layer never arrives."""
    fake.before = lambda request: Reply(before=60) if image.manifest.layers[1].digest in request.path else None


def test_the_first_failed_task_ends_the_others(fake: Fake, registry: Registry, image: Image, store: Store) -> None:
    push(image, name(registry), registries=registry)
    stuck(fake, image)
    hangs, first = fake.before, image.manifest.layers[0].digest
    fake.before = lambda request: Reply(404, before=0.1) if first in request.path else hangs(request)
    started = time.monotonic()
    with pytest.raises(NotFound):
        pull(name(registry), store, registries=registry)
    assert time.monotonic() - started < 2
    assert untouched(store)


def test_a_pull_can_be_interrupted(fake: Fake, registry: Registry, image: Image, store: Store) -> None:
    push(image, name(registry), registries=registry)
    stuck(fake, image)
    timer = threading.Timer(0.3, functools.partial(os.kill, os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pull(name(registry), store, registries=registry)
    assert time.monotonic() - started < 2
    assert untouched(store)
    timer.join()


def test_an_exception_of_the_progress_callback_ends_the_pull(registry: Registry, image: Image, store: Store) -> None:
    def watch(event: Progress) -> None:
        if event.state == "downloading" and event.done:
            raise InterruptedError("enough")

    push(image, name(registry), registries=registry)
    with pytest.raises(InterruptedError, match="enough"):
        pull(name(registry), store, registries=registry, progress=watch)
    assert untouched(store)


def test_progress_events(registry: Registry, image: Image, store: Store) -> None:
    events: list[Progress] = []
    push(image, name(registry), registries=registry)
    pull(name(registry), store, registries=registry, progress=events.append)
    assert (events[0].what, events[0].state) == (name(registry), "waiting")
    assert (events[-1].what, events[-1].state) == (name(registry), "done")
    layer = [event for event in events if event.what == image.manifest.layers[1]]
    assert [event.state for event in layer][:2] == ["waiting", "downloading"]
    assert (layer[-1].state, layer[-1].done) == ("done", layer[-1].total) == ("done", image.manifest.layers[1].size)
    assert [event.done for event in layer] == sorted(event.done for event in layer)


def test_one_digest_with_two_sizes(fake: Fake, registry: Registry, image: Image, store: Store) -> None:
    layer = image.manifest.layers[0]
    lying = replace(image.manifest, layers=(layer, layer.with_(size=layer.size + 1)), data=b"")
    fake.manifests["app", "1"] = (lying.media_type, lying.data)
    fake.blobs["app", image.id] = image.config_data
    with pytest.raises(Mismatch, match="listed with two sizes"):
        pull(name(registry), store, registries=registry)


def test_manifests_too_large_for_memory_are_not_fetched(
    registry: Registry, image: Image, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(image, name(registry), registries=registry)
    monkeypatch.setattr(manifest_cache, "MOST", len(image.data) + 10)
    with pytest.raises(LimitExceeded, match="manifests and configs"):
        pull(name(registry), store, registries=registry)
    assert untouched(store)


def test_a_blob_that_is_larger_than_allowed_does_not_come(fake: Fake, registry: Registry, image: Image, tmp_path: Path) -> None:
    push(image, name(registry), registries=registry)
    fake.script.requests.clear()
    with pytest.raises(LimitExceeded, match=r"Limits\.bytes"):
        pull(name(registry), Store(tmp_path / "small", limits=Limits(bytes=99_999)), registries=registry)
    assert len(fake.script.requests) == 2


def test_an_image_is_read_from_the_registry(fake: Fake, registry: Registry, image: Image, store: Store) -> None:
    push(image, name(registry), registries=registry)
    descriptor, _ = registry.manifest("app:1")
    there = Image.load(registry.blobs("app"), descriptor)
    there.validate()
    with there.layers[1].open("app.js") as file:
        assert len(file.read()) == 100_000
    states: list[str] = []
    push(there, name(registry, "other:1"), registries=registry, progress=lambda event: states.append(event.state))
    assert "mounted" in states
    assert "uploading" in states


# --- copying ------------------------------------------------------------------------------------------------------


def test_copying(fake: Fake, registry: Registry, image: Image) -> None:
    index, arm = multi(image)
    other = Fake()
    with scripted(other) as other.script, Registry(other.script.host, plain_http=True) as second:
        push(index, name(registry), registries=registry)
        known = Registries(registry, second)
        assert copy(name(registry), name(second, "copied:1"), registries=known).digest == index.digest
        assert {key for _, key in other.manifests} >= {"1", index.digest, image.digest, arm.digest}
        assert set(other.blobs.values()) == set(fake.blobs.values())
        assert copy(name(registry), name(second, "one:1"), registries=known, platform="linux/arm64").digest == arm.digest
        fake.script.requests.clear()
        copy(name(registry), name(registry, "same:1"), registries=known)
    assert not any(each.method == "GET" and "blobs" in each.path for each in fake.script.requests)  # every blob is mounted


def test_a_copy_of_a_changing_blob_fails(fake: Fake, registry: Registry, image: Image) -> None:
    push(image, name(registry), registries=registry)
    layer = image.manifest.layers[1]
    fake.blobs["app", layer.digest] = bytes(layer.size)
    other = Fake()
    with (
        scripted(other) as other.script,
        Registry(other.script.host, plain_http=True, retries=QUICK) as second,
        pytest.raises(Mismatch),
    ):
        copy(name(registry), name(second), registries=Registries(registry, second))
    assert other.manifests == {}
    assert ("app", layer.digest) not in other.blobs


# --- without the library ------------------------------------------------------------------------------------------


def test_without_urllib3(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.modules['urllib3'] = None; import containerkit.registry; print('fine')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "fine\n"
    with monkeypatch.context() as patch:
        patch.setattr("urllib3.HTTPResponse", object)
        with pytest.raises(Unavailable, match="older than"):
            Registry("example.com")
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(Unavailable, match=re.escape(extras.command("registry"))):
        Registry("example.com")
