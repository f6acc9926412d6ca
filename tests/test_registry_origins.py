"""The origins of blobs that a store remembers: a push mounts from them, and reveals no name that the registry does not know."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from registries import scripted
from sample_images import Sample, base, image_of, tar_of
from test_registry_transfers import QUICK, Fake

from containerkit.cli import main
from containerkit.image.digest import Digest
from containerkit.image.image import Image
from containerkit.image.index import Index
from containerkit.image.limits import Limits
from containerkit.image.reference import Reference
from containerkit.registry import Login, Registries, Registry, copy, pull, push
from containerkit.store.store import Store

SHARED = base()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def fakes() -> Iterator[list[Fake]]:
    """Yield two registries."""
    with ExitStack() as stack:
        found = [Fake(), Fake()]
        for each in found:
            each.script = stack.enter_context(scripted(each))
        yield found


@pytest.fixture
def known(fakes: list[Fake]) -> Iterator[Registries]:
    with ExitStack() as stack:
        made = [Registry(each.script.host, plain_http=True, retries=QUICK, auth=Login()) for each in fakes]
        yield Registries(*map(stack.enter_context, made))


def app(name: str) -> Image:
    return image_of(Sample(SHARED, tar_of({name: name.encode()}), Cmd=[name]))  # type: ignore[no-any-return]


def told(fake: Fake) -> str:
    """Return the requests that a registry got."""
    return "\n".join(f"{each.method} {each.path} {each.headers} {each.body!r}" for each in fake.script.requests)


def test_a_push_names_no_other_repository(fakes: list[Fake], known: Registries, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A push names neither repositories of unrelated images, nor those with a shared layer at another registry."""
    host = fakes[0].script.host
    for number in range(30):
        store.put(image_of(Sample(tar_of({"x": b"%d" % number}))), f"{host}/secret{number}/app:1", f"other.example/secret{number}:1")
        store.put(app(f"{number}"), f"{host}/secret-shared{number}:1")
    image = store.put(app("mine"), f"{host}/team/mine:1")
    assert main(["--store", str(store.directory), "push", f"{host}/team/mine:1"]) == 0
    assert "secret" not in told(fakes[0])
    asked = [each.method for each in fakes[0].script.requests]
    blobs = 1 + len(image.layers)
    assert {method: asked.count(method) for method in asked} == {"HEAD": blobs, "POST": blobs, "PUT": blobs + 1}
    fakes[0].script.requests.clear()
    push(store.get(f"{host}/secret0/app:1"), f"{host}/team/two:1", registries=known)
    push(Index.of([store.get(f"{host}/secret1/app:1")]), f"{host}/team/three:1", registries=known)
    assert "secret" not in told(fakes[0])


def test_a_pushed_blob_is_mounted_from_its_repository(fakes: list[Fake], known: Registries, store: Store) -> None:
    host = fakes[0].script.host
    one, two = store.put(app("one"), "one:1"), store.put(app("two"), "two:1")
    push(one, f"{host}/team/one:1", registries=known)
    fakes[0].script.requests.clear()
    seen = {}
    push(two, f"{host}/team/two:1", registries=known, progress=lambda event: seen.update({event.what: event.state}))
    assert [seen[each] for each in two.manifest.layers] == ["mounted", "done"]
    assert [each.query["from"] for each in fakes[0].script.requests if "mount" in each.query] == [["team/one"]]
    assert store.origins.of(two.layers[0].digest) == (Reference(host, "team/two"), Reference(host, "team/one"))
    assert store.origins.of(two.layers[1].digest) == (Reference(host, "team/two"),)


def test_a_pulled_blob_is_mounted_from_its_repository(fakes: list[Fake], known: Registries, store: Store, tmp_path: Path) -> None:
    host = fakes[0].script.host
    push(app("one"), f"{host}/library/one:1", registries=known)
    image = pull(f"{host}/library/one:1", store, registries=known)
    assert {*map(store.origins.of, [image.id, *(each.digest for each in image.layers)])} == {(Reference(host, "library/one"),)}
    fakes[0].script.requests.clear()
    push(image.with_config(cmd=["new"]), f"{host}/mine:1", registries=known)  # the layers are still in the store
    assert [each.query["from"] for each in fakes[0].script.requests if "mount" in each.query] == [["library/one"]] * 2
    assert len([each for each in fakes[0].script.requests if each.method == "PUT" and "/blobs/" in each.path]) == 1, "its config"


def test_no_blob_is_mounted_from_another_registry(fakes: list[Fake], known: Registries, store: Store) -> None:
    here, there = fakes[0].script.host, fakes[1].script.host
    image = store.put(app("one"), "one:1")
    push(image, f"{here}/private/one:1", registries=known)
    push(image, f"{there}/public/one:1", registries=known)
    assert "private" not in told(fakes[1])
    assert "mount" not in told(fakes[1])
    copy(f"{here}/private/one:1", f"{there}/public/two:1", registries=known)
    assert "private" not in told(fakes[1])


def test_a_few_are_tried_and_the_latest_first(fakes: list[Fake], known: Registries, store: Store) -> None:
    host = fakes[0].script.host
    image = store.put(app("one"), "one:1")
    layer = image.layers[0].digest
    for number in range(20):
        store.origins.add([layer], Reference(host, f"old{number}"))
        store.origins.add([layer], Reference("other.example", f"other{number}"))
    assert len(store.origins.of(layer)) == 8
    push(image, f"{host}/new:1", registries=known)
    asked = [each.place.split("/")[2] for each in fakes[0].script.requests if "/old" in each.path]
    assert asked == ["old19", "old18", "old17"]
    assert "other" not in told(fakes[0])


def test_an_origin_is_forgotten_with_its_blob(store: Store) -> None:
    one, two = store.put(app("one"), "one:1"), store.put(app("two"), "two:1")
    for image in (one, two):
        store.origins.add([image.id, *(each.digest for each in image.layers)], Reference("a.example", "app"))
    left = store.directory / "origins" / "sha256" / ".new-killed"
    left.write_bytes(b"")
    store.remove("one:1")
    store.gc()
    kept = {path.name for path in (store.directory / "origins").glob("*/*")}
    assert kept == {each.hex for each in (two.id, *(layer.digest for layer in two.layers))}


@pytest.mark.parametrize("content", [b"", b"{", b'{"repositories": 7}', b'{"repositories": ["../x", "a b", "A/B"]}', b"[]"])
def test_an_unreadable_record_of_origins_is_ignored(store: Store, content: bytes) -> None:
    image = store.put(app("one"), "one:1")
    store.origins.add([image.id], Reference("a.example", "app"))
    (store.directory / "origins/sha256" / image.id.hex).write_bytes(content)
    assert store.origins.of(image.id) == ()
    store.origins.add([image.id], Reference("a.example", "app"))
    assert store.origins.of(image.id) == (Reference("a.example", "app"),)
    assert store.origins.of(Digest.of(b"other")) == ()


def test_a_killed_writer_leaves_the_old_or_the_new(store: Store) -> None:
    image = store.put(app("one"), "one:1")
    script = """
import itertools, sys
from containerkit.image.digest import Digest
from containerkit.image.reference import Reference
from containerkit.store.store import Store
store = Store(sys.argv[1])
for number in itertools.count():
    store.origins.add([Digest(sys.argv[2])], Reference("a.example", f"app{number}"))
    if not number:
        print(flush=True)
"""
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", script, str(store.directory), image.id], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert store.origins.of(image.id)
    store.gc()
    assert os.listdir(store.directory / "origins" / "sha256") == [image.id.hex]
    assert store.fsck() == ()


def test_a_store_is_found_again_as_it_was_opened(store: Store, tmp_path: Path) -> None:
    """An image finds its store again, also in another process."""
    strict = Store(store.directory, skip=["devices"], limits=Limits(entries=2))
    image = strict.put(app("one"), "one:1")
    for found in (Store.of(image.source), Store.of(pickle.loads(pickle.dumps(image.source)))):
        assert found is not None
        assert (found.trees.limits, found.trees.skip) == (Limits(entries=2), ("devices",))
    assert Store.of(store.get("one:1").source) is store
