"""Registries that refuse an optional shortcut of the protocol: the client takes the long way and succeeds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from registries import Reply, Request, scripted
from sample_images import Sample, base, image_of, tar_of
from test_registry_transfers import QUICK, Fake

from containerkit.image.blobs import MemoryBlobs
from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
from containerkit.image.image import Image
from containerkit.registry import Login, Registry, Timeouts, push
from containerkit.registry.errors import Denied, Refused, ServerError, Unauthorized

DATA = bytes(range(256)) * 4000
BLOB = Descriptor.of(DATA, "application/octet-stream")
REFUSALS = [400, 401, 403, 404, 405, 501]


@pytest.fixture
def fake() -> Iterator[Fake]:
    found = Fake()
    with scripted(found) as found.script:
        yield found


def client(fake: Fake, auth: Login | None = None) -> Registry:
    timeouts = Timeouts(read=5, commit=5)
    return Registry(fake.script.host, plain_http=True, retries=QUICK, timeouts=timeouts, auth=auth or Login())


@pytest.fixture
def registry(fake: Fake) -> Iterator[Registry]:
    with client(fake) as made:
        yield made


@pytest.fixture
def image() -> Image:
    return image_of(Sample(base(), tar_of({"a": os.urandom(1000)})))  # type: ignore[no-any-return]


def refusing(*methods: str, status: int, part: str = "") -> Callable[[Request], Reply | None]:
    return lambda request: Reply(status) if request.method in methods and part in request.path else None


def there(fake: Fake, registry: Registry, image: Image) -> str:
    push(image, f"{fake.script.host}/app:1", registries=registry)
    fake.script.requests.clear()
    return f"{fake.script.host}/app:1"


# --- HEAD ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [*REFUSALS, 500])
def test_push_without_head(fake: Fake, registry: Registry, image: Image, status: int) -> None:
    fake.before = refusing("HEAD", status=status)
    push(image, f"{fake.script.host}/app:1", registries=registry)
    assert fake.manifests["app", "1"][1] == image.data
    if status != 404:
        fake.script.requests.clear()
        push(image, f"{fake.script.host}/app:1", registries=registry)
        assert "POST" not in {each.method for each in fake.script.requests}, "a GET says that the blobs are there"


@pytest.mark.parametrize("status", [403, 405])
def test_push_to_a_registry_that_does_not_list_its_blobs(fake: Fake, registry: Registry, image: Image, status: int) -> None:
    fake.before = refusing("HEAD", "GET", status=status, part="/blobs/sha256")
    push(image, f"{fake.script.host}/app:1", registries=registry)
    assert fake.manifests["app", "1"][1] == image.data
    with pytest.raises((Denied, Refused)):
        registry.has_blob("app", image.id)


@pytest.mark.parametrize("status", [status for status in [*REFUSALS, 500] if status != 404])
def test_questions_without_head(fake: Fake, registry: Registry, image: Image, status: int) -> None:
    name = there(fake, registry, image)
    fake.before = refusing("HEAD", status=status)
    assert registry.resolve(name) == image.digest
    assert registry.resolve("app:none") is None
    assert registry.has_blob("app", image.id)
    assert not registry.has_blob("app", Digest.of(b"other"))
    assert registry.has_manifest("app", image.digest)
    assert not registry.has_manifest("app", Digest.of(b"other"))


def test_a_failing_registry_is_not_asked_in_another_way(fake: Fake, registry: Registry, image: Image) -> None:
    fake.before = refusing("HEAD", status=503)
    with pytest.raises(ServerError):
        registry.resolve("app:1")
    assert {each.method for each in fake.script.requests} == {"HEAD"}


def test_a_wrong_password_is_wrong_in_every_way(fake: Fake, registry: Registry, image: Image) -> None:
    fake.before = lambda request: Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with pytest.raises(Unauthorized):
        push(image, f"{fake.script.host}/app:1", registries=registry)
    with pytest.raises(Unauthorized):
        registry.resolve("app:1")


@pytest.mark.parametrize("kept", ["HEAD", "GET", ""])
def test_answers_without_optional_headers(fake: Fake, registry: Registry, image: Image, kept: str) -> None:
    """Answer without digest and media type, unless the method is `kept`."""
    name = there(fake, registry, image)

    def before(request: Request) -> Reply | None:
        if "/manifests/" not in request.path or request.method == kept:
            return None
        return Reply(body=image.data)

    fake.before = before
    assert registry.resolve(name) == image.digest
    assert registry.has_manifest("app", image.digest)
    assert registry.manifest(name) == (Descriptor.of(image.data, image.media_type), image.data)


# --- Range --------------------------------------------------------------------------------------------------------


def fetched(registry: Registry) -> bytes:
    with registry.blobs("app").open(BLOB) as stream:
        return stream.read()


@pytest.mark.parametrize("status", [*REFUSALS, 416])
def test_a_range_that_is_refused(fake: Fake, registry: Registry, status: int) -> None:
    """The whole blob is sent again, once, and the client skips the bytes that it has."""
    cuts = iter([300_000, 500_000])

    def before(request: Request) -> Reply | None:
        if "range" in request.headers:
            return Reply(status)
        return Reply(body=DATA, cut=next(cuts, None))

    fake.before = before
    assert fetched(registry) == DATA
    assert [each.headers.get("range") for each in fake.script.requests] == [None, "bytes=300000-", None, None]


def test_a_range_that_is_passed_over(fake: Fake, registry: Registry) -> None:
    cuts = iter([300_000])
    fake.before = lambda request: Reply(body=DATA, cut=next(cuts, None))
    assert fetched(registry) == DATA


def test_parts_that_are_shorter_than_what_was_asked_for(fake: Fake, registry: Registry) -> None:
    cuts = iter([1000])

    def before(request: Request) -> Reply | None:
        if "range" not in request.headers:
            return Reply(body=DATA, cut=next(cuts, None))
        at = int(request.headers["range"][6:-1])
        part = DATA[at : at + 100_000]
        return Reply(206, part, {"Content-Range": f"bytes {at}-{at + len(part) - 1}/*"})

    fake.before = before
    assert fetched(registry) == DATA
    assert len(fake.script.requests) == 2 + len(DATA) // 100_000, "no retry is counted, none is waited for"


# --- redirects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("chunk", [None, 500])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
@pytest.mark.parametrize("relative", [False, True])
def test_an_upload_that_is_led_elsewhere(fake: Fake, image: Image, status: int, chunk: int | None, method: str, relative: bool) -> None:
    """The upload follows with its body, and without a password to another registry."""
    other = Fake()
    basic = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    layer = image.manifest.layers[1]
    with scripted(other) as other.script, client(fake, Login("me", "secret")) as registry:
        other.uploads = fake.uploads
        base = "" if relative else f"http://{other.script.host}"

        def before(request: Request) -> Reply | None:
            if "authorization" not in request.headers:
                return basic
            if request.method == method and "moved=1" not in request.path:
                return Reply(status, headers={"Location": base + request.path + ("&" if "?" in request.path else "?") + "moved=1"})
            return None

        fake.before = before
        assert registry.push_blob("app", layer, image.blobs, chunk=chunk) == "done"
    assert not any("authorization" in each.headers for each in other.script.requests)
    with image.blobs.open(layer) as file:
        assert file.read() == (fake.blobs | other.blobs)["app", layer.digest]


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_a_put_that_is_led_elsewhere(fake: Fake, registry: Registry, image: Image, kind: str) -> None:
    def before(request: Request) -> Reply | None:
        if request.method == "PUT" and f"/{kind}/" in request.path and "moved" not in request.path:
            return Reply(307, headers={"Location": request.path + ("&" if "?" in request.path else "?") + "moved=1"})
        return None

    fake.before = before
    push(image, f"{fake.script.host}/app:1", registries=registry)
    assert fake.manifests["app", "1"][1] == image.data


def test_a_put_does_not_follow_see_other(fake: Fake, registry: Registry, image: Image) -> None:
    fake.before = lambda request: Reply(303, headers={"Location": "/elsewhere"}) if request.method == "PUT" else None
    with pytest.raises(Exception, match="303"):
        registry.push_blob("app", image.manifest.layers[0], image.blobs)
    assert not any(each.path == "/elsewhere" for each in fake.script.requests)


# --- mounts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [*map(Reply, [400, 401, 403, 404, 405, 500, 502, 501]), Reply(202), Reply(204), Reply(200)],
    ids=lambda reply: str(reply.status),
)
def test_a_mount_that_is_refused(fake: Fake, registry: Registry, reply: Reply) -> None:
    """202 without a Location is not a mount either."""
    blobs = MemoryBlobs()
    blob = blobs.add(b"data")
    fake.before = lambda request: reply if "mount" in request.query else None
    assert registry.push_blob("app", blob, blobs, mount_from="other") == "done"
    assert fake.blobs == {("app", blob.digest): b"data"}
    assert [each.method for each in fake.script.requests] == ["HEAD", "POST", "POST", "PUT"]


# --- uploads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "GET"])
def test_statuses_that_mean_success(fake: Fake, registry: Registry, image: Image, method: str, status: int) -> None:
    failures = iter([True])

    def before(request: Request) -> Reply | None:
        if request.method == "PATCH" and next(failures, False):
            return Reply(503)
        if request.method != method or "/sha256:" in request.path:
            return None
        found = (
            fake.upload(request, "app", request.place.rpartition("/")[2])
            if "/uploads/" in request.path
            else fake.manifest(request, "app", "1")
        )
        return Reply(status, found.body, found.headers) if found.status < 300 else found

    fake.before = before
    push(image, f"{fake.script.host}/app:1", registries=registry, chunk=400)
    assert fake.manifests["app", "1"][1] == image.data
    assert set(fake.blobs) == {("app", image.id), *(("app", each.digest) for each in image.manifest.layers)}


@pytest.mark.parametrize("status", [400, 405, 411, 413, 415, 501])
def test_one_piece_is_refused(fake: Fake, registry: Registry, image: Image, status: int) -> None:
    fake.before = lambda request: Reply(status) if request.method == "PUT" and request.body and "digest" in request.query else None
    push(image, f"{fake.script.host}/app:1", registries=registry)
    assert len(fake.blobs) == 3


@pytest.mark.parametrize("status", [400, 405, 411, 415, 501])
def test_parts_are_refused(fake: Fake, registry: Registry, image: Image, status: int) -> None:
    fake.before = refusing("PATCH", status=status)
    push(image, f"{fake.script.host}/app:1", registries=registry, chunk=100)
    assert len(fake.blobs) == 3


def test_both_ways_are_refused(fake: Fake, registry: Registry, image: Image) -> None:
    """The error is that of the first way, and the registry keeps no upload."""
    fake.before = lambda request: Reply(413 if request.method == "PUT" else 405) if request.method in ("PUT", "PATCH") else None
    with pytest.raises(Refused, match="413"):
        registry.push_blob("app", image.manifest.layers[1], image.blobs)
    assert fake.uploads == {}


def test_a_wrong_digest_is_not_sent_in_another_way(fake: Fake, registry: Registry, image: Image) -> None:
    fake.before = lambda request: Reply(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}') if request.method == "PUT" else None
    with pytest.raises(Refused, match="DIGEST_INVALID"):
        registry.push_blob("app", image.manifest.layers[1], image.blobs)
    assert "PATCH" not in {each.method for each in fake.script.requests}


@pytest.mark.parametrize("said", ["no number", "", "-1", "9" * 30, "5e3"])
def test_a_malformed_least_size_is_ignored(fake: Fake, registry: Registry, said: str) -> None:
    fake.accepted = lambda *args, old=fake.accepted: with_header(old(*args), "OCI-Chunk-Min-Length", said)  # type: ignore[method-assign]
    blobs = MemoryBlobs()
    assert registry.push_blob("app", blobs.add(b"data" * 100), blobs, chunk=100) == "done"
    assert [len(each.body) for each in fake.script.requests if each.method == "PATCH"] == [100] * 4


def test_a_least_size_larger_than_any_part(fake: Fake, registry: Registry) -> None:
    """A blob that the registry refuses in parts goes in one piece."""
    fake.least = 1 << 40
    blobs = MemoryBlobs()
    for chunk in (None, 100):
        assert registry.push_blob(f"app{chunk or 0}", blobs.add(b"data"), blobs, chunk=chunk) == "done"
    assert {each.method for each in fake.script.requests} == {"HEAD", "POST", "PUT"}


def with_header(reply: Reply, name: str, value: str) -> Reply:
    reply.headers[name] = value
    return reply


def test_a_part_without_a_location_for_the_next(fake: Fake, registry: Registry) -> None:
    def before(request: Request) -> Reply | None:
        if request.method != "PATCH":
            return None
        fake.uploads[request.place.rpartition("/")[2]] += request.body
        return Reply(202)

    fake.before = before
    blobs = MemoryBlobs()
    assert registry.push_blob("app", blobs.add(b"data" * 100), blobs, chunk=100) == "done"
    assert list(fake.blobs.values()) == [b"data" * 100]


@pytest.mark.parametrize("arrived", [0, 30, 100])
def test_a_part_out_of_place_goes_on_where_the_registry_is(fake: Fake, registry: Registry, arrived: int) -> None:
    """After a 416 the registry is asked how much it has; if it has less than before, the upload begins again."""
    refused = iter([True])

    def before(request: Request) -> Reply | None:
        if request.method == "PATCH" and request.headers["content-range"].startswith("100-") and next(refused, False):
            which = request.place.rpartition("/")[2]
            fake.uploads[which] = (b"data" * 100)[: 100 + arrived] if arrived else b""
            return Reply(416)
        return None

    fake.before = before
    blobs = MemoryBlobs()
    assert registry.push_blob("app", blobs.add(b"data" * 100), blobs, chunk=100) == "done"
    assert list(fake.blobs.values()) == [b"data" * 100]
    sent = [each.headers["content-range"] for each in fake.script.requests if each.method == "PATCH"]
    assert sent[:2] == ["0-99", "100-199"]
    assert (
        sent[2:]
        == {0: ["0-99", "100-199", "200-299", "300-399"], 30: ["130-199", "200-299", "300-399"], 100: ["200-299", "300-399"]}[arrived]
    )


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_an_upload_whose_state_is_not_told_begins_anew(fake: Fake, registry: Registry, status: int) -> None:
    failures = iter([True])

    def before(request: Request) -> Reply | None:
        if request.method == "PATCH" and next(failures, False):
            return Reply(503)
        return Reply(status) if request.method == "GET" else None

    fake.before = before
    blobs = MemoryBlobs()
    assert registry.push_blob("app", blobs.add(b"data" * 100), blobs, chunk=100) == "done"
    assert list(fake.blobs.values()) == [b"data" * 100]


def test_retries_do_not_nest(fake: Fake, registry: Registry) -> None:
    """A failed part is sent again as often as any request, without beginning the upload again."""
    fake.before = refusing("PATCH", status=503)
    blobs = MemoryBlobs()
    with pytest.raises(ServerError):
        registry.push_blob("app", blobs.add(b"data" * 100), blobs, chunk=100)
    assert [each.method for each in fake.script.requests].count("PATCH") == 1 + QUICK.attempts


def test_retries_of_a_token_do_not_nest(fake: Fake, registry: Registry) -> None:
    def before(request: Request) -> Reply | None:
        if request.place == "/token":
            return Reply(503)
        return Reply(401, headers={"WWW-Authenticate": f'Bearer realm="http://{fake.script.host}/token"'})

    fake.before = before
    with pytest.raises(ServerError):
        registry.tags("app")
    assert fake.script.asked().count("GET /token") == 1 + QUICK.attempts


# --- lists --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 501])
def test_referrers_of_a_registry_without_the_api(fake: Fake, registry: Registry, image: Image, status: int) -> None:
    name = there(fake, registry, image)
    fake.before = refusing("GET", status=status, part="/referrers/")
    assert registry.referrers(name) == ()


def test_a_page_size_that_is_refused(fake: Fake, registry: Registry) -> None:
    fake.before = lambda request: Reply(400) if request.query else Reply(body=b'{"tags": ["1"], "repositories": ["app"]}')
    assert registry.tags("app") == ("1",)
    assert registry.catalog() == ("app",)
