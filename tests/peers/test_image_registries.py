"""Through a real registry: pushed by us and pulled by podman and skopeo, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from peertools import Containers, same_tree
from registries import serving
from rich_images import rich, shown

from containerkit.image.files.layout import Layout
from containerkit.image.image import Image
from containerkit.image.index import Index
from containerkit.registry import Registry, pull, push
from containerkit.store.store import Store

pytestmark = [pytest.mark.peer, pytest.mark.root]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_what_we_push_podman_pulls_and_what_podman_pushes_we_pull(tmp_path: Path, compression: str) -> None:
    if compression == "zstd":
        pytest.importorskip("zstandard", reason="needs zstandard: pip install containerkit[zstd]")
    image, expected = rich(tmp_path / "trees", compression=compression), shown(tmp_path / "trees")
    with serving(tmp_path / "registry") as server, Registry(server.host, **server.options) as registry:
        theirs = Containers.at(tmp_path / "theirs", plain_http=[server.host])
        name = f"{server.host}/team/app:1"
        push(image, name, registries=registry)
        theirs.podman("pull", "-q", name)
        (said,) = json.loads(theirs.podman("image", "inspect", name))
        assert (said["Digest"], said["Id"], said["RootFS"]["Layers"]) == (image.digest, image.id.hex, list(image.config.diff_ids))
        same_tree(theirs.root_of(name), expected)
        theirs.podman("push", "-q", name, f"{server.host}/theirs:2")
        again = pull(f"{server.host}/theirs:2", Store(tmp_path / "store"), registries=registry)
        again.validate()
        assert (again.config.diff_ids, again.id) == (image.config.diff_ids, image.id)
        again.extract(tmp_path / "pulled")
        same_tree(tmp_path / "pulled", expected)


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_skopeo_pushes_and_we_pull(tmp_path: Path, form: str) -> None:
    """Docker's manifest as well as OCI's, kept byte for byte."""
    image = rich(tmp_path / "trees")
    image.save(tmp_path / "ours", "app")
    with serving(tmp_path / "registry") as server, Registry(server.host, **server.options) as registry:
        theirs = Containers.at(tmp_path / "theirs", plain_http=[server.host])
        theirs.skopeo("copy", "-q", f"--format={form}", f"oci:{tmp_path}/ours:app", f"docker://{server.host}/app:1")
        again = pull(f"{server.host}/app:1", Store(tmp_path / "store"), registries=registry)
        again.validate()
        assert again.data.decode() == theirs.skopeo("inspect", "--raw", f"docker://{server.host}/app:1")
        assert again.config.diff_ids == image.config.diff_ids
        assert form != "oci" or again == image
        push(again, f"{server.host}/back:1", registries=registry)
        assert theirs.skopeo("inspect", "--raw", f"docker://{server.host}/back:1").encode() == again.data


def test_an_index_goes_there_and_back(tmp_path: Path) -> None:
    image = rich(tmp_path / "trees")
    index = Index.of([image.with_platform(f"linux/{name}").with_config(labels={"for": name}) for name in ("amd64", "arm64", "s390x")])
    with serving(tmp_path / "registry") as server, Registry(server.host, **server.options) as registry:
        theirs = Containers.at(tmp_path / "theirs", plain_http=[server.host])
        assert push(index, f"{server.host}/many:1", registries=registry).digest == index.digest
        theirs.skopeo("copy", "-q", "--all", f"docker://{server.host}/many:1", f"oci:{tmp_path}/theirs-oci:many")
        with Layout.open(tmp_path / "theirs-oci") as found:
            assert found.find("many").digest == index.digest
        theirs.podman("pull", "-q", "--platform=linux/s390x", f"{server.host}/many:1")
        wanted = index.image("linux/s390x")
        assert theirs.podman("images", "--no-trunc", "-q").split() == [wanted.id]
        theirs.skopeo("copy", "-q", "--all", f"oci:{tmp_path}/theirs-oci:many", f"docker://{server.host}/again:1")
        again = pull(f"{server.host}/again:1", Store(tmp_path / "store"), all_platforms=True, registries=registry)
        assert isinstance(again, Index)
        again.validate()
        assert again.data == index.data
        one = pull(f"{server.host}/again:1", Store(tmp_path / "one"), platform="linux/arm64", registries=registry)
        assert one == index.image("linux/arm64")


def test_with_a_password_and_a_certificate(tmp_path: Path) -> None:
    """podman's auth file and the one of ours are the same file."""
    image = rich(tmp_path / "trees")
    with serving(tmp_path / "registry", auth="basic", tls=True) as server, Registry(server.host, **server.options) as registry:
        theirs = Containers.at(tmp_path / "theirs")
        certificates = tmp_path / "theirs/certificates"
        certificates.mkdir()
        (certificates / "ca.crt").write_bytes(Path(str(server.ca)).read_bytes())
        known = [f"--cert-dir={certificates}", f"--creds={server.username}:{server.password}"]
        push(image, f"{server.host}/app:1", registries=registry)
        theirs.podman("pull", "-q", *known, f"{server.host}/app:1")
        theirs.podman("push", "-q", *known, f"{server.host}/app:1", f"{server.host}/back:1")
        again: Image = pull(f"{server.host}/back:1", Store(tmp_path / "store"), registries=registry)
        assert again.config.diff_ids == image.config.diff_ids
