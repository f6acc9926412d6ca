"""Layers: made from tars and trees, read back, unpacked completely or not at all, and never from wrong bytes."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from trees import look, tar

from containerkit.image import media
from containerkit.image.blobs import FileBlobs, MemoryBlobs
from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
from containerkit.image.errors import CannotUnpack, Escape, ImageError, InvalidLayer, LimitExceeded, Mismatch, Missing
from containerkit.image.ids import Ids
from containerkit.image.layer import Layer
from containerkit.image.limits import Limits
from containerkit.image.tar import Entry
from containerkit.image.tar_from_tree import TarOptions

IDS = Ids() if os.geteuid() == 0 else Ids.mine()
KINDS = ["none", "gzip", "zstd"]


def needed(kind: str) -> str:
    if kind == "zstd":
        pytest.importorskip("zstandard", reason="needs zstandard: pip install containerkit[zstd]")
    return kind


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "etc").mkdir(parents=True)
    (top / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (top / "etc" / "large").write_bytes(os.urandom(3_000_000) + bytes(3_000_000))
    os.link(top / "etc" / "hosts", top / "hard")
    (top / "link").symlink_to("etc/hosts")
    for here, directories, files in os.walk(top):
        for name in [".", *directories, *files]:
            os.utime(os.path.join(here, name), ns=(0, 10**9), follow_symlinks=False)
    return top


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", ["memory", "files"])
def test_a_directory_survives_packing_and_unpacking(kind: str, kept: str, tree: Path, tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "store") if kept == "files" else MemoryBlobs()
    layer = Layer.from_directory(tree, blobs, compression=needed(kind), form=TarOptions(ids=IDS))
    assert (layer.media_type, layer.digest, layer.size) == (media.layer(kind), layer.descriptor.digest, layer.descriptor.size)
    with layer.compressed() as blob:
        assert Digest.of(blob.read()) == layer.digest
    with layer.uncompressed() as stream:
        data = b"".join(iter(lambda: stream.read(100_000), b""))
    assert Digest.of(data) == layer.diff_id
    made = layer.unpack(tmp_path / "out", ids=IDS)
    assert made.size == len(data)
    assert look(tmp_path / "out") == look(tree)
    assert [entry.name for entry in layer.entries()] == [b".", b"etc", b"etc/hosts", b"etc/large", b"hard", b"link"]


def test_the_diff_id_does_not_depend_on_the_compression(tree: Path) -> None:
    ids = {Layer.from_directory(tree, compression=kind).diff_id for kind in ("none", "gzip")}
    assert len(ids) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_digest_twice(kind: str, tree: Path) -> None:
    one, two = (Layer.from_directory(tree, compression=needed(kind)) for _ in range(2))
    assert (one.descriptor, one.diff_id) == (two.descriptor, two.diff_id)


def test_one_file_of_a_layer_is_read(tree: Path) -> None:
    layer = Layer.from_directory(tree)
    for path in ("etc/hosts", "/etc/hosts", b"hard", "./hard"):
        with layer.open(path) as file:
            assert file.read() == b"127.0.0.1 localhost\n"
    with layer.open("etc/large") as file:
        assert file.read() == (tree / "etc" / "large").read_bytes()
    for path in ("link", "etc", "nothing"):
        with pytest.raises(Missing):
            layer.open(path)
    with pytest.raises(Escape):
        layer.open("../etc/passwd")


def test_the_last_of_two_files_counts() -> None:
    data = tar((Entry(b"x"), b"first"), (Entry(b"x"), b"second"))
    with Layer.from_tar(io.BytesIO(data)).open("x") as file:
        assert file.read() == b"second"


@pytest.mark.parametrize("compress", [gzip.compress, lambda data: gzip.compress(data, 1) + gzip.compress(b"") + bytes(100)])
def test_a_compressed_tar_keeps_its_bytes(compress: Any) -> None:
    data = tar((Entry(b"x"), b"content"))
    packed = compress(data)
    layer = Layer.from_tar(io.BytesIO(packed), compression="none")
    with layer.compressed() as blob:
        assert blob.read() == packed
    assert (layer.diff_id, layer.media_type) == (Digest.of(data), media.OCI_LAYER_GZIP)


def test_a_tar_that_comes_in_small_pieces_gives_the_same_layer(tree: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-C", tree, "-cf", tmp_path / "tar", "."], check=True)

    class Dribble:
        def __init__(self) -> None:
            self._inner = io.BytesIO((tmp_path / "tar").read_bytes())

        def read(self, size: int = -1, /) -> bytes:
            return self._inner.read(min(size, 70_001))

    with (tmp_path / "tar").open("rb") as stream:
        assert Layer.from_tar(Dribble()).descriptor == Layer.from_tar(stream).descriptor


def test_a_difference_is_a_layer(tree: Path, tmp_path: Path) -> None:
    base = Layer.from_directory(tree, form=TarOptions(ids=IDS, nanoseconds=True))
    base.unpack(tmp_path / "new", ids=IDS)
    (tmp_path / "new" / "hard").unlink()
    (tmp_path / "new" / "added").write_text("new")
    layer = Layer.from_difference(tree, tmp_path / "new", form=TarOptions(ids=IDS, nanoseconds=True))
    assert {entry.name for entry in layer.entries()} == {b".", b".wh.hard", b"added", b"etc", b"etc/hosts"}
    layer.unpack_into(tree, ids=IDS)
    assert look(tree) == look(tmp_path / "new")


# Wrong bytes -----------------------------------------------------------------------------------------------------


def altered(layer: Layer, at: int) -> Layer:
    with layer.compressed() as blob:
        data = bytearray(blob.read())
    data[at] ^= 0x40
    return dataclasses.replace(layer, blobs=MemoryBlobs({layer.digest: bytes(data)}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0.0, 0.001, 0.3, 0.7, 0.999])
def test_a_damaged_blob_is_a_mismatch_and_leaves_nothing(kind: str, place: float, tree: Path, tmp_path: Path) -> None:
    layer = Layer.from_directory(tree, compression=needed(kind))
    with pytest.raises(Mismatch):
        altered(layer, int(place * layer.size)).unpack(tmp_path / "out", ids=IDS)
    assert sorted(os.listdir(tmp_path)) == ["tree"]


@pytest.mark.parametrize("cut", [0, 1, 1000, 100_000])
def test_a_blob_cut_short_is_a_mismatch(cut: int, tree: Path, tmp_path: Path) -> None:
    layer = Layer.from_directory(tree)
    with layer.compressed() as blob:
        data = blob.read()
    short = dataclasses.replace(layer, blobs=MemoryBlobs({layer.digest: data[: max(0, len(data) - 1 - cut)]}))
    with pytest.raises(Mismatch):
        short.unpack(tmp_path / "out", ids=IDS)
    with pytest.raises(Mismatch):
        list(short.entries())


def test_bytes_after_the_end_of_the_tar_are_verified(tmp_path: Path) -> None:
    data = tar((Entry(b"x"), b"content")) + b"something after the end" * 100_000
    layer = Layer.from_tar(io.BytesIO(data), compression="none")
    assert layer.unpack(tmp_path / "good", ids=IDS).size == len(data)
    with pytest.raises(Mismatch):
        altered(layer, len(data) - 1).unpack(tmp_path / "bad", ids=IDS)


def test_a_wrong_diff_id_is_a_mismatch(tree: Path, tmp_path: Path) -> None:
    layer = dataclasses.replace(Layer.from_directory(tree), diff_id=Digest.of(b"another"))
    with pytest.raises(Mismatch, match="not compressed"):
        layer.unpack(tmp_path / "out", ids=IDS)
    assert not (tmp_path / "out").exists()


def test_a_wrong_media_type_is_a_mismatch(tree: Path, tmp_path: Path) -> None:
    layer = Layer.from_directory(tree)
    for said in ("none", "zstd"):
        lying = dataclasses.replace(layer, descriptor=dataclasses.replace(layer.descriptor, media_type=media.layer(said)))
        with pytest.raises(Mismatch, match="compression"):
            lying.unpack(tmp_path / "out", ids=IDS)


def test_an_evil_layer_with_the_right_digest_leaves_nothing(tmp_path: Path) -> None:
    layer = Layer.from_tar(io.BytesIO(tar((Entry(b"fine"), b"x"), (Entry(b"../evil"), b"x"))))
    with pytest.raises(Escape):
        layer.unpack(tmp_path / "out", ids=IDS)
    assert os.listdir(tmp_path) == []


def test_limits_reach_every_step(tmp_path: Path) -> None:
    packed = gzip.compress(bytes(20 << 20))
    blobs = MemoryBlobs()
    layer = Layer(blobs.add(packed, media.OCI_LAYER_GZIP), Digest.of(bytes(20 << 20)), blobs)
    with pytest.raises(LimitExceeded, match=r"Limits\.ratio"):
        layer.unpack(tmp_path / "out", limits=Limits(ratio=10, ratio_from=1 << 20))
    with pytest.raises(LimitExceeded, match=r"Limits\.bytes"):
        list(layer.entries(Limits(bytes=1 << 20)))
    with pytest.raises(LimitExceeded):
        Layer.from_tar(io.BytesIO(packed), limits=Limits(ratio=10, ratio_from=1 << 20))


# Whole or not at all ---------------------------------------------------------------------------------------------


def test_an_existing_directory_is_not_overwritten(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotUnpack, match="there already"):
        Layer.from_directory(tree).unpack(tree, ids=IDS)
    assert (tree / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["tree"]


def test_a_killed_unpacking_leaves_no_partial_directory(tree: Path, tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "store")
    layer = Layer.from_directory(tree, blobs)
    script = f"""
from containerkit.image.layer import *; from containerkit.image.blobs import *; from containerkit.image.descriptor import *
from containerkit.image.digest import *; from containerkit.image.ids import *
layer = Layer(Descriptor({layer.media_type!r}, Digest({str(layer.digest)!r}), {layer.size}), Digest({str(layer.diff_id)!r}),
    FileBlobs({str(tmp_path / "store")!r}))
print(flush=True)
for n in range(1000): layer.unpack({str(tmp_path)!r} + "/out/%d" % n, ids={IDS!r})
"""
    (tmp_path / "out").mkdir()
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    time.sleep(0.15)
    process.kill()
    process.wait()
    process.stdout.close()
    whole = [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
    assert all((path / "etc" / "large").stat().st_size == 6_000_000 and os.readlink(path / "link") for path in whole)


def test_memory_stays_flat(tmp_path: Path) -> None:
    """300 MB are packed and unpacked in less memory than a third of that."""
    script = f"""
import os, resource, sys
from containerkit.image.layer import Layer; from containerkit.image.blobs import FileBlobs; from containerkit.image.ids import Ids
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
layer = Layer.from_directory({str(tmp_path / "big")!r}, FileBlobs({str(tmp_path / "store")!r}))
layer.unpack({str(tmp_path / "out")!r}, ids=Ids.mine())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    (tmp_path / "big").mkdir()
    with (tmp_path / "big" / "file").open("wb") as file:
        noise = os.urandom(1 << 20)
        for n in range(300):
            file.write(noise[:-8] + n.to_bytes(8, "little") if n % 2 else bytes(1 << 20))
    grown = int(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout)
    assert grown < 100 * 1024, f"{grown} KiB"


def test_bytes_that_are_no_tar_are_an_invalid_layer(tmp_path: Path) -> None:
    layer = Layer.from_tar(io.BytesIO(b"no tar at all" * 100))
    with pytest.raises(InvalidLayer):
        layer.unpack(tmp_path / "out")
    with pytest.raises(ImageError):
        list(layer.entries())


def test_digests_match_the_bytes(tree: Path) -> None:
    blobs = MemoryBlobs()
    layer = Layer.from_directory(tree, blobs)
    with layer.compressed() as blob:
        data = blob.read()
    assert layer.descriptor == Descriptor.of(data, media.OCI_LAYER_GZIP)
    assert layer.diff_id.hex == hashlib.sha256(gzip.decompress(data)).hexdigest()
