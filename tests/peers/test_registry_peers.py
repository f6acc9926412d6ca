"""The real registry and skopeo as peers: each pulls byte for byte what the other pushed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from peertools import tool
from registries import PASSWORD, USER, Server, serving
from sample_images import Sample, base, image_of, tar_of

from containerkit.image.blobs import MemoryBlobs
from containerkit.image.image import Image
from containerkit.image.index import Index
from containerkit.image.manifest import Manifest
from containerkit.image.media import DOCKER_LIST, DOCKER_MANIFEST
from containerkit.registry import Login, Registry, copy, login, pull, push
from containerkit.registry.errors import NotFound, Refused, Unauthorized
from containerkit.store.store import Store

pytestmark = pytest.mark.peer


@pytest.fixture
def image() -> Image:
    return image_of(Sample(base(), tar_of({"app.js": b"1" * 300_000})))  # type: ignore[no-any-return]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def registry(server: Server) -> Iterator[Registry]:
    with Registry(server.host, **server.options) as found:
        yield found


def skopeo(*arguments: str, server: Server | None = None, command: str = "copy", sides: tuple[str, ...] = ("src", "dest")) -> bytes:
    options: list[str] = []
    for side in sides:
        prefix = f"--{side}-" if side else "--"
        tls = [f"{prefix}cert-dir={server.ca.parent}"] if server and server.ca else [f"{prefix}tls-verify=false"]
        options += tls + ([f"{prefix}creds={USER}:{PASSWORD}"] if server and server.username else [])
    quiet = ["-q"] if command == "copy" else []
    argv = [tool("skopeo"), "--insecure-policy", command, *quiet, *options, *arguments]
    done = subprocess.run(argv, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize(("auth", "tls"), [(None, False), (None, True), ("basic", False), ("basic", True), ("token", False)])
def test_both_ways(tmp_path: Path, image: Image, auth: Literal["basic", "token"] | None, tls: bool) -> None:
    with serving(tmp_path / "registry", auth=auth, tls=tls) as server, Registry(server.host, **server.options) as registry:
        registry.ping()
        assert push(image, f"{server.host}/app:1", registries=registry).digest == image.digest
        if server.ca:
            (tmp_path / "registry" / "ca.crt").write_bytes(server.ca.read_bytes())
            for extra in ("ca.key", "server.key", "server.pem"):  # skopeo reads the directory for certificates
                (tmp_path / "registry" / extra).rename(tmp_path / extra)
        skopeo(f"docker://{server.host}/app:1", f"oci:{tmp_path}/theirs:app", server=server, sides=("src",))
        assert Image.open(tmp_path / "theirs") == image
        skopeo(f"oci:{tmp_path}/theirs:app", f"docker://{server.host}/back:2", server=server, sides=("dest",))
        got = pull(f"{server.host}/back:2", Store(tmp_path / "store"), registries=registry, unpack=True)
        assert (got, got.config_data) == (image, image.config_data)
        got.validate()
        assert registry.tags("back") == ("2",)
        if auth:
            for wrong in (Login(), Login(USER, "wrong")):
                with Registry(server.host, **server.options | {"auth": wrong}) as other, pytest.raises(Unauthorized):
                    other.manifest("app:1")


def test_an_identity_token(tmp_path: Path, image: Image) -> None:
    with serving(tmp_path / "registry", auth="token") as server:
        assert server.tokens
        options = server.options | {"auth": Login(identity_token=server.tokens.refresh)}
        with Registry(server.host, **options) as registry:
            push(image, f"{server.host}/app:1", registries=registry)
            assert registry.manifest("app:1")[0].digest == image.digest
        assert {method for method, _ in server.tokens.asked} == {"POST"}


def test_one_login_for_both(tmp_path: Path, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with serving(tmp_path / "registry", auth="basic") as server:
        with pytest.raises(Unauthorized):
            login(server.host, USER, "wrong")
        login(server.host, USER, PASSWORD)
        push(image, f"{server.host}/app:1")  # our own settings allow plain HTTP to this machine
        argv = [tool("skopeo"), "inspect", "--tls-verify=false", "--raw", f"docker://{server.host}/app:1"]
        assert subprocess.run(argv, capture_output=True, check=True).stdout == image.data
        subprocess.run(
            [tool("skopeo"), "login", "--tls-verify=false", "-u", USER, "-p", PASSWORD, server.host], check=True, capture_output=True
        )
        assert pull(f"{server.host}/app:1", Store(tmp_path / "store")) == image


def test_many_platforms(tmp_path: Path, server: Server, registry: Registry, image: Image) -> None:
    arm = image_of(Sample(base(), tar_of({"arm": b"1"}), arch="arm64"))
    for docker in (False, True):
        index = Index.of([image, arm], docker=docker)
        name, path = f"{server.host}/app:{docker}", tmp_path / f"theirs-{docker}"
        assert push(index, name, registries=registry).digest == index.digest
        assert skopeo(f"docker://{name}", "--raw", command="inspect", sides=("",)) == index.data
        skopeo("--all", f"docker://{name}", f"dir:{path}")
        assert (path / "manifest.json").read_bytes() == index.data
        skopeo("--all", f"dir:{path}", f"docker://{name}-back")
        got = pull(f"{name}-back", Store(tmp_path / f"all-{docker}"), registries=registry, all_platforms=True)
        assert (got, [each.digest for each in got.images()]) == (index, [image.digest, arm.digest])  # type: ignore[union-attr]
        one = pull(f"{name}-back", Store(tmp_path / f"one-{docker}"), registries=registry, platform="linux/arm64")
        assert one == arm


@pytest.mark.parametrize(("form", "compression"), [("v2s2", "gzip"), ("oci", "gzip"), ("oci", "zstd")])
def test_images_made_by_skopeo_are_pulled(
    tmp_path: Path, server: Server, registry: Registry, image: Image, form: str, compression: str
) -> None:
    """Skopeo compresses uncompressed layers with the given algorithm."""
    image_of(Sample(base(), tar_of({"app.js": b"1" * 300_000}), compress=False)).save(tmp_path / "ours", "app")
    name = f"{server.host}/made:1"
    skopeo("--format", form, "--dest-compress-format", compression, f"oci:{tmp_path}/ours:app", f"docker://{name}")
    got = pull(name, Store(tmp_path / "store"), registries=registry, unpack=True)
    assert (got.media_type == DOCKER_MANIFEST) == (form == "v2s2")
    assert got.config.diff_ids == image.config.diff_ids
    assert all(layer.media_type.endswith(compression) for layer in got.layers)
    got.validate()


@pytest.mark.parametrize("chunk", [None, 100_000, 1 << 20])
def test_uploads(server: Server, registry: Registry, chunk: int | None) -> None:
    data = bytes(range(256)) * 2000 + b"x"
    blobs = MemoryBlobs()
    descriptor = blobs.add(data)
    counts: list[int] = []
    assert registry.push_blob("app", descriptor, blobs, chunk=chunk, count=counts.append) == "done"
    assert counts[-1] == len(data)
    assert registry.push_blob("app", descriptor, blobs) == "exists"
    assert registry.push_blob("other", descriptor, blobs, mount_from="app") == "mounted"
    with registry.blobs("other").open(descriptor) as stream:
        assert stream.read() == data
    started = server.log.read_text()
    assert ("http.request.method=PATCH" in started) == (chunk is not None)


def test_a_blob_is_taken_up_in_the_middle(registry: Registry) -> None:
    """The real registry supports ranges: the connection is lost after the first bytes."""
    data, blobs = bytes(range(256)) * 40_000, MemoryBlobs()
    descriptor = blobs.add(data)
    registry.push_blob("app", descriptor, blobs)
    stream = registry.blobs("app").raw(descriptor)
    found = stream.read(100_000)
    stream.close()
    while piece := stream.read():
        found += piece
    stream.close()
    assert found == data


def test_deleting(server: Server, registry: Registry, image: Image) -> None:
    push(image, f"{server.host}/app:1", registries=registry)
    with pytest.raises(Refused):
        registry.delete("app:1")  # this registry refuses to delete a tag
    registry.delete(f"app@{image.digest}")
    with pytest.raises(NotFound):
        registry.manifest("app:1")
    registry.delete_blob("app", image.layers[0].digest)
    assert not registry.has_blob("app", image.layers[0].digest)
    with pytest.raises(NotFound):
        registry.delete_blob("app", image.layers[0].digest)
    with pytest.raises(NotFound):
        registry.tags("nothing/here")


def test_referrers(server: Server, registry: Registry, image: Image) -> None:
    """The real registry lacks the referrers API, so referrers are listed under a tag."""
    push(image, f"{server.host}/app:1", registries=registry)
    blobs = MemoryBlobs()
    empty = blobs.add(b"{}", "application/vnd.oci.empty.v1+json")
    made = Manifest(empty, (empty,), artifact_type="application/x-signature", subject=image.descriptor.bare(), annotations={"by": "me"})
    push(Image(made, b"{}", blobs), f"{server.host}/app@{made.digest}", registries=registry)
    (found,) = registry.referrers("app:1")
    assert (found.digest, found.artifact_type, dict(found.annotations)) == (made.digest, "application/x-signature", {"by": "me"})
    assert registry.referrers("app:1", "application/x-other") == ()
    assert f"sha256-{image.digest.hex}" in registry.tags("app")
    registry.delete(f"app@{made.digest}")
    assert registry.referrers("app:1") == ()


def test_pages(server: Server, registry: Registry, image: Image) -> None:
    for number in range(5):
        push(image, f"{server.host}/app{number}:{number}", registries=registry)
    assert registry.catalog() == tuple(f"app{number}" for number in range(5))


def test_copies(tmp_path: Path, server: Server, registry: Registry, image: Image) -> None:
    index = Index.of([image, image_of(Sample(base("arm"), arch="arm64"))], docker=True)
    push(index, f"{server.host}/app:1", registries=registry)
    with serving(tmp_path / "second") as other:
        copied: Any = copy(
            f"{server.host}/app:1", f"{other.host}/deep/er/app:2"
        )  # without an option for plain HTTP: both are on this machine
        assert (copied.digest, copied.media_type) == (index.digest, DOCKER_LIST)
        raw = skopeo(f"docker://{other.host}/deep/er/app:2", "--raw", command="inspect", sides=("",))
        assert raw == index.data
    copy(f"{server.host}/app:1", f"{server.host}/mounted:1", registries=registry)
    assert json.loads(skopeo(f"docker://{server.host}/mounted", command="list-tags", sides=("",)))["Tags"] == ["1"]


def test_a_mirror(tmp_path: Path, server: Server, image: Image) -> None:
    """A registry that cannot be reached, through a mirror that can."""
    with Registry(server.host, **server.options) as real:
        push(image, f"{server.host}/hub/app:1", registries=real)
    with Registry("registry.invalid", mirrors=[f"http://{server.host}/hub"]) as registry:
        assert pull("registry.invalid/app:1", Store(tmp_path / "store"), registries=registry) == image
