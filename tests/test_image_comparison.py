"""Differences between two images, plain layers, and pictures that fetch nothing."""

from __future__ import annotations

import gc
import gzip
import io
import os
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sample_images import Sample, base, image_of, tar_of

from containerkit.image import picture
from containerkit.image.blobs import FileBlobs, MemoryBlobs, is_local
from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
from containerkit.image.errors import ImageError, InvalidLayer, Missing
from containerkit.image.files import layout, opening
from containerkit.image.files.blob_union import BlobUnion
from containerkit.image.files.named_images import named
from containerkit.image.ids import Ids
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.state.scratch import GRACE
from containerkit.store.store import Store
from containerkit.store.unpacked import first_difference

BASE = base()
ONE = Sample(BASE, tar_of({"one": b"1", "same": b"s", "etc/.wh.link": b""}), Cmd=["one"])
TWO = Sample(BASE, tar_of({"two": b"2", "same": b"s", "etc/name": b"changed"}), Cmd=["two"])


def test_two_images_side_by_side(tmp_path: Path) -> None:
    one, two = image_of(ONE), image_of(TWO)
    found = one.diff(two)
    assert found
    assert [layer.diff_id for layer in found.shared] == [Digest.of(BASE)]
    assert [layer.digest for layer in found.removed] == [one.layers[1].digest]
    assert [layer.digest for layer in found.added] == [two.layers[1].digest]
    assert found.config == {"cmd": (("one",), ("two",))}
    assert [str(change).split() for change in found.changes(Store(tmp_path))] == [
        ["added", "/etc/link"], ["modified", "/etc/name"], ["deleted", "/one"], ["added", "/two"],
    ]  # fmt: skip
    lines = str(found).splitlines()
    assert lines[1] == "  1 layers shared"
    assert [line.split()[0] for line in lines[2:]] == ["-", "+", "cmd:"]
    assert "1 removed, 1 added" in repr(found)


def test_the_same_image_packed_in_another_way_is_the_same(tmp_path: Path) -> None:
    found = image_of(ONE).diff(image_of(Sample(*ONE.tars, compress=False, Cmd=["one"])))
    assert not found
    assert (found.removed, found.added, found.config) == ((), (), {})
    assert list(found.changes(Store(tmp_path))) == []


def test_files_and_directories_that_replace_each_other(tmp_path: Path) -> None:
    old = image_of(Sample(tar_of({"d": None, "d/a": b"", "f": b"", "e": None, "e/x": b""})))
    new = image_of(Sample(tar_of({"d": b"", "f": None, "f/b": b"", "e": None, "e/x": b"", "e/y": "x"})))
    assert [str(change).split() for change in old.diff(new).changes(Store(tmp_path))] == [
        ["modified", "/d"], ["added", "/e/y"], ["modified", "/f"], ["added", "/f/b"],
    ]  # fmt: skip


# Plain layers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("docker", [True, False])
def test_layers_are_written_plain(tmp_path: Path, docker: bool) -> None:
    image = image_of(Sample(BASE, tar_of({"a": b"a"})))
    mixed = image.append(Layer.from_tar(io.BytesIO(tar_of({"b": b""})), compression="none"))
    mixed.save(tmp_path / "plain.tar", "app:1", docker=docker, plain=True)
    found = Image.open(tmp_path / "plain.tar", "app:1")
    assert (found.id, found.config.diff_ids) == (mixed.id, mixed.config.diff_ids)
    assert [layer.digest for layer in found.layers] == list(mixed.config.diff_ids)
    found.validate()


def test_a_layer_with_a_wrong_digest_is_not_written_plain(tmp_path: Path) -> None:
    sample = Sample(BASE)
    blobs = {Digest.of(blob): blob for blob in sample.blobs}
    layer = Digest.of(sample.layers[0])
    blobs[layer] = gzip.compress(b"x" * len(BASE), mtime=0)[: len(blobs[layer])].ljust(len(blobs[layer]), b"\0")
    image = Image.load(MemoryBlobs(blobs), Descriptor.from_json(sample.descriptor))
    with pytest.raises(ImageError):
        image.save(tmp_path / "plain.tar", plain=True)
    assert os.listdir(tmp_path) == []


# Pictures -------------------------------------------------------------------------------------------------------


class Far:
    """A stand-in for a registry: it has every blob, and must not be asked."""

    def __init__(self, blobs: MemoryBlobs) -> None:
        self._blobs, self.asked = blobs, 0

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        self.asked += 1
        return self._blobs.open(descriptor)

    def has(self, digest: Digest, /) -> bool:
        self.asked += 1
        return self._blobs.has(digest)


def test_a_picture_fetches_nothing(tmp_path: Path) -> None:
    sample = Sample(tar_of({"fetched": os.urandom(10)}))
    blobs = MemoryBlobs({Digest.of(blob): blob for blob in sample.blobs})
    far = Far(blobs)
    image = Image.load(BlobUnion({}, FileBlobs(tmp_path), far), Descriptor.from_json(sample.descriptor))
    before = far.asked
    assert "fetched" not in str(image)
    assert "fetched" not in image._repr_html_()
    assert far.asked == before
    layer = image.manifest.layers[0]
    assert not is_local(image.source, layer.digest)
    FileBlobs(tmp_path).add(sample.layers[0])
    assert is_local(image.source, layer.digest)
    assert "/fetched" in str(image)
    assert not is_local(BlobUnion({layer.digest: far}, blobs), layer.digest)


# Odds and ends --------------------------------------------------------------------------------------------------


def test_a_layer_is_the_same_wherever_its_blob_is(tmp_path: Path) -> None:
    one, two = Layer.from_tar(io.BytesIO(BASE)), Layer.from_tar(io.BytesIO(BASE), FileBlobs(tmp_path))
    assert one == two
    assert len({one, two}) == 1


def test_an_empty_blobs_value_is_used() -> None:
    class Empty(MemoryBlobs):
        def __len__(self) -> int:
            return 0

    blobs = Empty()
    assert Layer.from_tar(io.BytesIO(gzip.compress(BASE)), blobs).blobs is blobs
    assert Layer.from_tar(io.BytesIO(BASE), blobs).blobs is blobs


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image" * 1000)
    with pytest.raises(InvalidLayer, match=r"notes\.txt: a checksum in a tar header"):
        opening.open_source(tmp_path / "notes.txt")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Missing, match="fifo is neither"):
        opening.open_source(tmp_path / "fifo")


def test_files_of_a_killed_unpacking_are_swept(tmp_path: Path) -> None:
    left, young, other = tmp_path / ".root.abc.new", tmp_path / ".root.def.new", tmp_path / ".rootfs.abc.new"
    for path in (left, young, other):
        path.mkdir()
        (path / "file").write_bytes(b"")
    old = time.time() - GRACE - 1
    for path in (left, other):
        os.utime(path, (old, old))
    Layer.from_tar(io.BytesIO(BASE)).unpack(tmp_path / "root", ids=None if os.geteuid() == 0 else Ids.mine())
    assert sorted(os.listdir(tmp_path)) == [".root.def.new", ".rootfs.abc.new", "root"]
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o755
    shutil.rmtree(tmp_path / "root")


def test_a_file_is_closed_with_its_last_user(tmp_path: Path) -> None:
    """The file must be closed without a run of the garbage collector."""
    image_of(ONE).save(tmp_path / "image.tar")
    before = len(os.listdir("/proc/self/fd"))
    gc.disable()
    try:
        image = Image.open(tmp_path / "image.tar")
        image.extract(tmp_path / "root", ids=None if os.geteuid() == 0 else Ids.mine())
        del image
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


def test_a_layout_goes_through_a_pipe(tmp_path: Path) -> None:
    image = image_of(ONE)
    image.save(tmp_path / "image.tar", "app:1")
    read, write = os.pipe()
    with open(read, "rb") as theirs, ThreadPoolExecutor(1) as pool:
        found = pool.submit(theirs.read)
        with open(write, "wb") as ours:
            layout.write(ours, [(named(image.descriptor, "app:1"), image.blobs)])
        assert found.result() == (tmp_path / "image.tar").read_bytes()


def test_hard_linked_whiteouts_are_no_difference(tmp_path: Path) -> None:
    """overlayfs makes whiteouts as hard links of one device."""
    for name, linked in (("one", True), ("other", False)):
        (tmp_path / name).mkdir()
        os.mknod(tmp_path / name / "a", stat.S_IFCHR, 0)
        os.link(tmp_path / name / "a", tmp_path / name / "b") if linked else os.mknod(tmp_path / name / "b", stat.S_IFCHR, 0)
        os.utime(tmp_path / name, (0, 0))
    assert first_difference(tmp_path / "one", tmp_path / "other") == ""


@pytest.mark.parametrize("suffix", ["# buildkit", "# containerkit", ""])
def test_builders_suffixes_are_removed_from_instructions(suffix: str) -> None:
    assert picture.instruction(f"RUN make {suffix}") == "RUN make"
