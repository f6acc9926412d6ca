"""Interchange with podman, buildah, skopeo and umoci: the same bytes by the same digests, and the same trees."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from peertools import Containers, run, same_tree, skopeo, umoci
from rich_images import WRITTEN, rich, shown
from trees import tar

from containerkit.image.blobs import MemoryBlobs, read
from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
from containerkit.image.files import layout
from containerkit.image.files.layout import Layout
from containerkit.image.files.named_images import named
from containerkit.image.image import Image
from containerkit.image.index import Index
from containerkit.image.layer import Layer
from containerkit.image.platform import Platform
from containerkit.image.tar import Entry

pytestmark = [pytest.mark.peer, pytest.mark.root]

NAME = "localhost/app:1"


@pytest.fixture
def theirs(tmp_path: Path) -> Containers:
    return Containers.at(tmp_path / "theirs")


def made(tmp_path: Path, compression: str = "gzip") -> Image:
    if compression == "zstd":
        pytest.importorskip("zstandard", reason="needs zstandard: pip install containerkit[zstd]")
    return rich(tmp_path / "trees", compression=compression)


def opened(path: Path, name: str = "") -> Image:
    image = Image.open(path, name)
    image.validate()
    return image


def tars(image: Image) -> tuple[Digest, ...]:
    """What is in the layers: compression is everybody's own."""
    return image.config.diff_ids


# Ours, read by them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_podman_takes_ours(tmp_path: Path, theirs: Containers, form: str, compression: str) -> None:
    image = made(tmp_path, compression)
    path = tmp_path / ("ours" if form == "oci" else "ours.tar")
    image.save(path, NAME, docker=form == "docker-archive")
    theirs.podman("pull", "-q", f"{form}:{path}:{NAME}")
    (said,) = json.loads(theirs.podman("image", "inspect", image.id.hex))
    assert said["RootFS"]["Layers"] == list(image.config.diff_ids)
    assert (said["Config"]["Cmd"], said["Labels"], said["User"]) == (["sh"], {"a": "b"}, "7:8")
    if form != "docker-archive" and compression != "none":  # podman compresses what is not, and so has another manifest
        assert said["Digest"] == image.digest
    same_tree(theirs.root_of(image.id.hex), shown(tmp_path / "trees"))


def test_a_sparse_file_is_one_for_everybody(tmp_path: Path, theirs: Containers) -> None:
    """A database of 256 MiB that is nearly empty: a few KiB in an archive, and the same bytes for GNU tar, Python and podman."""
    tree = tmp_path / "tree"
    tree.mkdir(mode=0o755)
    with (tree / "database").open("wb") as file:
        file.truncate(256 << 20)
        for at in (0, 100_000_000, (256 << 20) - 5):
            os.pwrite(file.fileno(), b"piece", at)
    image = Image.scratch("linux/amd64").append(Layer.from_directory(tree, compression="none"))
    image.save(tmp_path / "ours.tar", NAME, docker=True)
    assert (tmp_path / "ours.tar").stat().st_size < 500_000
    theirs.podman("load", "-q", "-i", tmp_path / "ours.tar")
    expected = (tree / "database").read_bytes()
    assert (theirs.root_of(image.id.hex) / "database").read_bytes() == expected
    with image.layers[0].uncompressed() as stream, (tmp_path / "layer.tar").open("wb") as file:
        while data := stream.read(1 << 20):
            file.write(data)
    (tmp_path / "gnu").mkdir()
    run("tar", "-C", tmp_path / "gnu", "-xf", tmp_path / "layer.tar")
    assert (tmp_path / "gnu/database").read_bytes() == expected
    with tarfile.open(tmp_path / "layer.tar") as tar_:
        assert [(member.name, member.size) for member in tar_][1:] == [("database", 256 << 20)]
    image.extract(tmp_path / "ours")
    assert (tmp_path / "ours/database").stat().st_blocks * 512 < 1 << 20
    run("tar", "-C", tree, "--sparse", "--format=gnu", "-cf", tmp_path / "old.tar", ".")
    with (tmp_path / "old.tar").open("rb") as file:
        Layer.from_tar(file).unpack(tmp_path / "again", whiteouts="plain")
    assert (tmp_path / "again/database").read_bytes() == expected


def test_podman_loads_a_docker_archive_under_its_name(tmp_path: Path, theirs: Containers) -> None:
    image = made(tmp_path)
    image.save(tmp_path / "ours.tar", NAME, docker=True)
    assert NAME in theirs.podman("load", "-q", "-i", tmp_path / "ours.tar")
    assert theirs.podman("images", "--no-trunc", "-q", NAME).strip() == image.id


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_buildah_begins_with_ours(tmp_path: Path, theirs: Containers, form: str) -> None:
    image = made(tmp_path)
    path = tmp_path / ("ours" if form == "oci" else "ours.tar")
    image.save(path, NAME, docker=form == "docker-archive")
    container = theirs.buildah("from", "-q", f"{form}:{path}:{NAME}").strip()
    said = json.loads(theirs.buildah("inspect", container))
    assert (said["FromImageID"], said["OCIv1"]["config"]["Env"]) == (image.id.hex, ["A=b"])
    same_tree(Path(theirs.buildah("mount", container).strip()), shown(tmp_path / "trees"))


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_skopeo_takes_every_byte_of_ours(tmp_path: Path, compression: str) -> None:
    image = made(tmp_path, compression)
    image.save(tmp_path / "ours.tar", NAME)
    skopeo("copy", "-q", "--preserve-digests", f"oci-archive:{tmp_path}/ours.tar:{NAME}", f"dir:{tmp_path}/dir")
    found = {Digest.of(path.read_bytes()) for path in (tmp_path / "dir").iterdir()}
    assert {image.digest, image.id, *(layer.digest for layer in image.layers)} <= found


@pytest.mark.parametrize("compression", ["none", "gzip"])  # umoci 0.4 knows no zstd
def test_umoci_unpacks_ours(tmp_path: Path, compression: str) -> None:
    image = made(tmp_path, compression)
    image.save(tmp_path / "ours", "app")
    umoci("unpack", "--image", f"{tmp_path}/ours:app", tmp_path / "bundle")
    same_tree(tmp_path / "bundle/rootfs", shown(tmp_path / "trees"))
    image.extract(tmp_path / "extracted")
    same_tree(tmp_path / "bundle/rootfs", tmp_path / "extracted")


# Theirs, read by us ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_we_take_what_podman_saves(tmp_path: Path, theirs: Containers, form: str) -> None:
    image = made(tmp_path)
    image.save(tmp_path / "ours.tar", NAME, docker=True)
    theirs.podman("load", "-q", "-i", tmp_path / "ours.tar")
    theirs.podman("save", "-q", f"--format={form}", "-o", tmp_path / "saved", NAME)
    again = opened(tmp_path / "saved")
    assert (tars(again), again.config.user, again.config.command) == (tars(image), "7:8", ("sh",))
    if form == "docker-archive":
        assert again.id == image.id
    again.extract(tmp_path / "extracted")
    same_tree(tmp_path / "extracted", shown(tmp_path / "trees"))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_we_take_what_skopeo_compresses(tmp_path: Path, form: str, compression: str) -> None:
    image = made(tmp_path, "none")
    image.save(tmp_path / "ours.tar", NAME, docker=True)
    compress = ["--dest-compress", f"--dest-compress-format={compression}"] if form != "docker-archive" else []
    skopeo("copy", "-q", *compress, f"docker-archive:{tmp_path}/ours.tar:{NAME}", f"{form}:{tmp_path}/copy:{NAME}")
    again = opened(tmp_path / "copy")
    assert (tars(again), again.config.cmd) == (tars(image), ("sh",))
    if form != "docker-archive":
        assert {layer.media_type.rpartition("+")[2] for layer in again.layers} == {compression}
    again.extract(tmp_path / "extracted")
    same_tree(tmp_path / "extracted", shown(tmp_path / "trees"))


def test_we_take_a_dir_of_skopeo(tmp_path: Path) -> None:
    """Its files are the blobs: all we need is the manifest."""
    image = made(tmp_path)
    image.save(tmp_path / "ours", "app")
    skopeo("copy", "-q", f"oci:{tmp_path}/ours:app", f"dir:{tmp_path}/dir")
    blobs = MemoryBlobs({Digest.of(data): data for data in (path.read_bytes() for path in (tmp_path / "dir").iterdir())})
    manifest = (tmp_path / "dir/manifest.json").read_bytes()
    again = Image.load(blobs, Descriptor.of(manifest, image.media_type))
    again.validate()
    assert again == image


def test_we_take_a_layer_of_umoci(tmp_path: Path) -> None:
    image = made(tmp_path)
    image.save(tmp_path / "ours", "app")
    umoci("unpack", "--image", f"{tmp_path}/ours:app", tmp_path / "bundle")
    root = tmp_path / "bundle/rootfs"
    (root / "etc/name").unlink()
    (root / "new").write_bytes(b"new" * 1000)
    (root / "new").chmod(0o2755)
    (root / "bin/ping").unlink()
    (root / "bin/ping").symlink_to("su")
    for name in ("new", "bin/ping", "bin", "etc"):
        os.utime(root / name, (WRITTEN + 30, WRITTEN + 30), follow_symlinks=False)
    umoci("repack", "--image", f"{tmp_path}/ours:changed", tmp_path / "bundle")
    again = opened(tmp_path / "ours", "changed")
    assert tars(again)[:-1] == tars(image)
    again.extract(tmp_path / "extracted")
    same_tree(tmp_path / "extracted", root)


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_we_take_what_buildah_makes_of_ours(tmp_path: Path, theirs: Containers, form: str) -> None:
    image = made(tmp_path)
    image.save(tmp_path / "ours", NAME)
    container = theirs.buildah("from", "-q", f"oci:{tmp_path}/ours:{NAME}").strip()
    (tmp_path / "added").write_text("added")
    theirs.buildah("copy", "-q", container, tmp_path / "added", "/etc/added")
    theirs.buildah("config", "--cmd", "other", "--env", "C=d", container)
    theirs.buildah("commit", "-q", "--disable-compression=false", container, NAME)
    theirs.buildah("push", "-q", NAME, f"{form}:{tmp_path}/pushed:{NAME}")
    again = opened(tmp_path / "pushed")
    assert tars(again)[:-1] == tars(image)
    assert (again.config.environment["C"], again.config.command, again.config.labels["a"]) == ("d", ("other",), "b")
    again.extract(tmp_path / "extracted")
    same_tree(tmp_path / "extracted", theirs.root_of(NAME))


# Several platforms -----------------------------------------------------------------------------------------------


def several(tmp_path: Path) -> Index:
    """An image for each machine, with one layer in common."""
    image = made(tmp_path)
    more = [image.with_platform(f"linux/{name}").append(_note(name)) for name in ("amd64", "arm64", "arm/v7")]
    return Index.of(more)


def save(index: Index, path: Path) -> None:
    layout.write(path, [(named(index.descriptor, "many"), index.blobs)])


def _note(text: str) -> Layer:
    return Layer.from_tar(io.BytesIO(tar((Entry(b"platform"), text.encode()))))


def test_an_index_of_ours_goes_through_skopeo_unchanged(tmp_path: Path) -> None:
    index = several(tmp_path)
    save(index, tmp_path / "ours")
    skopeo("copy", "-q", "--all", f"oci:{tmp_path}/ours:many", f"oci-archive:{tmp_path}/theirs.tar:many")
    with Layout.open(tmp_path / "theirs.tar") as found:
        assert read(found.blobs, found.find("many")) == index.data
        again = Index.load(found.blobs, found.find("many"))
        again.validate()
        assert [image.digest for image in again.images()] == [image.digest for image in index.images()]


@pytest.mark.parametrize("platform", ["linux/arm64", "linux/arm/v7"])
def test_podman_finds_the_image_for_a_machine_in_an_index_of_ours(tmp_path: Path, theirs: Containers, platform: str) -> None:
    index = several(tmp_path)
    save(index, tmp_path / "ours")
    theirs.podman("pull", "-q", f"--platform={platform}", f"oci:{tmp_path}/ours:many")
    image = index.image(platform)
    (said,) = json.loads(theirs.podman("image", "inspect", image.id.hex))
    assert said["RootFS"]["Layers"] == list(image.config.diff_ids)
    assert (theirs.root_of(image.id.hex) / "platform").read_text() == platform.removeprefix("linux/")


def test_we_take_an_index_of_podman(tmp_path: Path, theirs: Containers) -> None:
    index = several(tmp_path)
    theirs.podman("manifest", "create", "localhost/many")
    for number, image in enumerate(index.images()):
        image.save(tmp_path / "each", str(number))
        theirs.podman("manifest", "add", "localhost/many", f"oci:{tmp_path}/each:{number}")
    theirs.podman("manifest", "push", "-q", "--all", "localhost/many", f"oci:{tmp_path}/pushed:many")
    with Layout.open(tmp_path / "pushed") as found:
        again = Index.load(found.blobs, found.find("many"))
    again.validate()
    wanted: dict[Any, Any] = {image.platform: image.digest for image in index.images()}
    assert {image.platform: image.digest for image in again.images()} == wanted
    assert again.match(Platform.parse("linux/arm/v7")).digest == index.match("linux/arm/v7").digest
