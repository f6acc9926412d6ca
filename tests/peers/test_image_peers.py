"""Layouts, archives and the store, there and back: skopeo and umoci read ours, and we read theirs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from peertools import skopeo, umoci
from sample_images import INDEX, REF_NAME, Sample, base, descriptor, image_of, index_of, layout_files, named, tar_of, write_directory

from containerkit.image.blobs import read
from containerkit.image.descriptor import Platform
from containerkit.image.files import archive, layout
from containerkit.image.files.layout import Layout
from containerkit.image.files.named_images import named as with_name
from containerkit.image.image import Image
from containerkit.store.store import Store

pytestmark = pytest.mark.peer

HERE = Platform.here().architecture
ONE = Sample(base(), tar_of({"one": b"1", "etc/.wh.name": b""}), arch=HERE, Cmd=["one"], Env=["A=b"])
TWO = Sample(base(), tar_of({"two": b"2"}), arch=HERE, Cmd=["two"])


def layers_of(image: Image) -> list[bytes]:
    """The tars: compression is everybody's own."""
    found = []
    for layer in image.layers:
        with layer.uncompressed() as tar:
            pieces = []
            while data := tar.read(1 << 20):
                pieces.append(data)
        found.append(b"".join(pieces))
    return found


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A layout with two images."""
    items = [(with_name(image_of(s).descriptor, name), image_of(s).blobs) for name, s in (("app:1", ONE), ("app:2", TWO))]
    layout.write(tmp_path / "ours", items)
    layout.write(tmp_path / "ours.tar", items)
    archive.write(tmp_path / "docker.tar", items)
    return tmp_path


# skopeo ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["oci:{}/ours:app:1", "oci-archive:{}/ours.tar:app:1", "docker-archive:{}/docker.tar:app:1"])
def test_skopeo_reads_ours(ours: Path, source: str) -> None:
    config = skopeo("inspect", "--config", "--raw", source.format(ours))
    assert config.encode() == ONE.config
    if source.startswith("oci"):
        assert skopeo("inspect", "--raw", source.format(ours)).encode() == ONE.manifest


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_we_read_what_skopeo_writes(ours: Path, form: str) -> None:
    skopeo("copy", f"oci:{ours}/ours:app:1", f"{form}:{ours}/theirs:app:1")
    image = Image.open(ours / "theirs", "app:1")
    assert image.config_data == ONE.config
    assert layers_of(image) == list(ONE.tars)
    if form.startswith("oci"):
        assert image.data == ONE.manifest


def test_through_skopeo_and_back_the_store_has_each_byte_once(ours: Path) -> None:
    skopeo("copy", f"oci-archive:{ours}/ours.tar:app:1", f"oci:{ours}/theirs:app:1")
    store = Store(ours / "store")
    for path in (ours / "ours", ours / "theirs"):
        with Layout.open(path) as found:
            store.add(found.find("app:1"), found.blobs, "app:1")
    assert len(list(store.blobs)) == len(ONE.blobs)


def test_skopeo_reads_the_store_itself(ours: Path) -> None:
    store = Store(ours / "store")
    store.put(image_of(ONE), "app:1")
    store.put(image_of(TWO), "127.0.0.1:5000/team/app:2")
    for sample, name in ((ONE, "docker.io/library/app:1"), (TWO, "127.0.0.1:5000/team/app:2")):
        assert skopeo("inspect", "--raw", f"oci:{store.directory}:{name}").encode() == sample.manifest
    skopeo("copy", f"oci:{store.directory}:docker.io/library/app:1", f"dir:{ours}/copy")
    assert store.fsck() == ()


def test_all_platforms_go_through_skopeo_unchanged(tmp_path: Path) -> None:
    samples = [Sample(base(arch), arch=arch) for arch in ("amd64", "arm64", "s390x")]
    inner = index_of(*(s.descriptor | {"platform": {"os": "linux", "architecture": s.arch}} for s in samples))
    blobs = [inner, *(blob for s in samples for blob in s.blobs)]
    source = write_directory(tmp_path / "hand", layout_files(index_of(named(descriptor(INDEX, inner), "many")), blobs))
    with Layout.open(source) as found:
        found.save(tmp_path / "ours.tar")
    skopeo("copy", "--all", f"oci-archive:{tmp_path}/ours.tar:many", f"oci:{tmp_path}/theirs:many")
    with Layout.open(tmp_path / "theirs") as theirs:
        assert read(theirs.blobs, theirs.find("many")) == inner
        for sample in samples:
            assert theirs.manifest("many", Platform("linux", sample.arch)).digest == sample.digest


def test_zstd_and_plain_layers_of_skopeo(ours: Path) -> None:
    pytest.importorskip("zstandard", reason="needs zstandard: pip install containerkit[zstd]")
    skopeo("copy", "--dest-compress", "--dest-compress-format", "zstd", f"docker-archive:{ours}/docker.tar:app:1", f"oci:{ours}/zstd:app:1")
    assert layers_of(Image.open(ours / "zstd")) == list(ONE.tars)


# umoci ----------------------------------------------------------------------------------------------------------


def test_umoci_lists_and_unpacks_ours(ours: Path) -> None:
    assert umoci("list", "--layout", ours / "ours").split() == ["app:1", "app:2"]
    root = [] if os.geteuid() == 0 else ["--rootless"]
    umoci("unpack", *root, "--image", f"{ours}/ours:app:1", ours / "bundle")
    found = {str(p.relative_to(ours / "bundle/rootfs")) for p in (ours / "bundle/rootfs").rglob("*")}
    assert found == {"etc", "etc/link", "big", "one"}


def test_what_umoci_adds_we_read_and_what_it_had_stays(ours: Path) -> None:
    umoci("tag", "--image", f"{ours}/ours:app:1", "again")
    umoci("config", "--image", f"{ours}/ours:app:2", "--tag", "changed", "--config.cmd", "other")
    with Layout.open(ours / "ours") as found:
        assert set(found.names) == {"app:1", "app:2", "again", "changed"}
        assert found.find("again").digest == ONE.digest
        image = Image.load(found.blobs, found.manifest("changed"))
    assert image.config.cmd == ("other",)
    assert layers_of(image) == list(TWO.tars)
    layout.write(ours / "ours", [(with_name(image.descriptor, "mine"), image.blobs)])
    assert set(umoci("list", "--layout", ours / "ours").split()) == {"app:1", "app:2", "again", "changed", "mine"}
    entry = next(e for e in json.loads((ours / "ours/index.json").read_text())["manifests"] if e["annotations"][REF_NAME] == "mine")
    assert entry["digest"] == image.digest
