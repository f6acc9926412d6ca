"""A session: a blob is written, verified and unpacked while its bytes arrive, and gets its name only when all are right."""

from __future__ import annotations

import gzip
import io
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_images import Sample, base, image_of, tar_of

from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
from containerkit.image.errors import CannotUnpack, Escape, ImageError, InvalidLayer, LimitExceeded, Mismatch
from containerkit.image.layer import Layer
from containerkit.image.limits import Limits
from containerkit.store.store import Store
from containerkit.store.unpacked import first_difference


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


TAR = tar_of({f"d{n % 5}/f{n}": os.urandom(5000) for n in range(300)} | {"link": "d1/f1", ".wh.gone": b""})
SAMPLE = Sample(TAR)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


class Slow:
    """A stream that gives few bytes at a time, and fails at a given position."""

    def __init__(self, data: bytes, step: int = 20_000, fail_at: int = 1 << 40) -> None:
        self._stream, self._step, self._fail_at, self.count = io.BytesIO(data), step, fail_at, 0

    def read(self, size: int = -1, /) -> bytes:
        if self.count >= self._fail_at:
            raise OSError("the cable was cut")
        data = self._stream.read(self._step if size < 0 else min(size, self._step))
        self.count += len(data)
        return data


def layer_of(store: Store, tar: bytes, blob: bytes | None = None, diff_id: Digest | None = None) -> Layer:
    blob = blob if blob is not None else packed(tar)
    return Layer(Descriptor.of(blob, "application/vnd.oci.image.layer.v1.tar+gzip"), diff_id or Digest.of(tar), store.blobs)


def is_empty(store: Store) -> bool:
    left = [path for path in store.directory.glob("staging/*/*") if path.name not in ("pins", "lock")]
    return not list(store.blobs) and not list(store.trees) and not left


def add(store: Store, layer: Layer, stream: Any) -> None:
    with store.session() as session:
        session.add(layer.descriptor, stream, unpack=(layer, layer.diff_id))


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_one_pass_gives_the_same_as_storing_and_unpacking(store: Store, tmp_path: Path, compression: str) -> None:
    if compression == "zstd":
        pytest.importorskip("zstandard", reason="needs zstandard: pip install containerkit[zstd]")
    made = Layer.from_tar(io.BytesIO(TAR), compression=compression)
    with made.compressed() as stream:
        add(store, made, stream)
    assert list(store.blobs) == [made.digest]
    assert list(store.trees) == [made.diff_id]
    other = Store(tmp_path / "other")
    with other.session() as session:
        session.copy(made.blobs, made.descriptor)
        session.unpack(made, made.diff_id)
    one, two = store.trees.path(made.diff_id), other.trees.path(made.diff_id)
    assert first_difference(one, two) == ""
    assert store.trees.label(made.diff_id) == other.trees.label(made.diff_id)
    assert store.fsck() == ()


def test_existing_blobs_are_not_read_again(store: Store) -> None:
    layer = layer_of(store, TAR)
    with store.session() as session:
        session.add(layer.descriptor, Slow(packed(TAR)))
        session.add(layer.descriptor, Slow(b"", fail_at=0), unpack=(layer, layer.diff_id))
        assert list(store.trees) == [layer.diff_id]
        os.unlink(store.blobs.path(layer.digest))
        before = os.stat(store.trees.path(layer.diff_id))
        session.add(layer.descriptor, Slow(packed(TAR)), unpack=(layer, layer.diff_id))
        assert os.stat(store.trees.path(layer.diff_id)) == before


def test_nothing_is_collected_before_the_session_ends(store: Store) -> None:
    layer = layer_of(store, TAR)
    with store.session() as session:
        session.add(layer.descriptor, Slow(packed(TAR)), unpack=(layer, layer.diff_id))
        store.gc()
        assert (list(store.blobs), list(store.trees)) == ([layer.digest], [layer.diff_id])
    store.gc()
    assert is_empty(store)


def test_several_layers_at_once(store: Store) -> None:
    tars = [tar_of({f"f{n}": bytes([n]) * 300_000}) for n in range(6)]
    layers = [layer_of(store, tar) for tar in tars]
    with store.session() as session:
        threads = [
            threading.Thread(target=session.add, args=(layer.descriptor, Slow(packed(tar)), (layer, layer.diff_id)))
            for layer, tar in zip(layers, tars, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(store.trees) == {layer.diff_id for layer in layers}
    assert store.fsck() == ()


# What is wrong --------------------------------------------------------------------------------------------------

BLOB = packed(TAR)
HALF = len(BLOB) // 2
EVIL = tar_of({"../../etc/passwd": b"x"} | {f"f{n}": os.urandom(9000) for n in range(100)})
CASES: dict[str, tuple[bytes, type[BaseException], int | None]] = {
    "cut short": (BLOB[:HALF], Mismatch, None),
    "one bit": (BLOB[:HALF] + bytes([BLOB[HALF] ^ 1]) + BLOB[HALF + 1 :], Mismatch, None),
    "the first byte": (b"\0" + BLOB[1:], Mismatch, None),
    "too long": (BLOB + b"x", Mismatch, None),
    "nothing": (b"", Mismatch, None),
    "the cable": (BLOB, OSError, HALF),
    "the cable at once": (BLOB, OSError, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_stream_leaves_nothing(store: Store, name: str) -> None:
    data, error, fail_at = CASES[name]
    threads = threading.active_count()
    with pytest.raises(error):
        add(store, layer_of(store, TAR, BLOB), Slow(data, fail_at=1 << 40 if fail_at is None else fail_at))
    assert is_empty(store)
    assert threading.active_count() == threads


def test_a_wrong_diff_id_leaves_nothing(store: Store) -> None:
    with pytest.raises(Mismatch, match="not compressed"):
        add(store, layer_of(store, TAR, BLOB, Digest.of(b"another")), Slow(BLOB))
    assert is_empty(store)


@pytest.mark.parametrize(
    ("blob", "error"),
    [
        (packed(EVIL), Escape),
        (packed(TAR)[:HALF], InvalidLayer),
        (TAR, Mismatch),
        (packed(b"no tar" * 99999), InvalidLayer),
        (b"", ImageError),
    ],
    ids=["escape", "cut", "not gzip", "no tar", "empty"],
)
def test_a_layer_that_cannot_be_unpacked_leaves_nothing(store: Store, blob: bytes, error: type[ImageError]) -> None:
    """The blob matches its digest, so the layer itself is wrong."""
    threads = threading.active_count()
    with pytest.raises(error):
        add(store, layer_of(store, EVIL, blob), Slow(blob))
    assert is_empty(store)
    assert threading.active_count() == threads


def test_a_full_disk_ends_the_download_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> int:
        raise CannotUnpack(28, b"d1/f1", "No space left on device")

    monkeypatch.setattr("containerkit.image.unpack.unpack._Unpacker.file", full)
    data = packed(tar_of({"big": os.urandom(40 << 20)}))
    stream = Slow(data, 1 << 20)
    with pytest.raises(CannotUnpack):
        add(store, layer_of(store, b"", data), stream)
    assert stream.count < len(data) // 2
    assert is_empty(store)


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limits=Limits(bytes=1 << 20))
    bomb = tar_of({"big": bytes(30 << 20)})
    with pytest.raises(LimitExceeded):
        add(store, layer_of(store, bomb), Slow(packed(bomb)))
    assert is_empty(store)


def test_a_blob_over_the_limit_is_not_begun(store: Store) -> None:
    layer = layer_of(store, TAR)
    endless = replace(layer, descriptor=layer.descriptor.with_(size=1 << 60))
    for unpack in (None, (endless, endless.diff_id)):
        with store.session() as session, pytest.raises(LimitExceeded, match=r"Limits\.bytes"):
            session.add(endless.descriptor, Slow(b"", fail_at=0), unpack=unpack)
    assert is_empty(store)


def test_an_interrupted_download_ends_its_threads(store: Store) -> None:
    class Interrupted(Slow):
        def read(self, size: int = -1, /) -> bytes:
            if self.count > HALF:
                raise KeyboardInterrupt
            return super().read(size)

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        add(store, layer_of(store, TAR, BLOB), Interrupted(BLOB))
    assert is_empty(store)
    assert threading.active_count() == threads


def test_an_image_that_came_in_one_pass_is_held(store: Store) -> None:
    image = image_of(Sample(base(), TAR))
    with store.session() as session:
        for layer, chain in zip(image.layers, image.chain_ids, strict=True):
            with layer.compressed() as stream:
                session.add(layer.descriptor, stream, unpack=(layer, chain))
        session.copy(image.blobs, image.descriptor)
        session.name(image.descriptor, ["docker.io/library/app:1"])
    inodes = [os.stat(store.trees.path(chain)).st_ino for chain in image.chain_ids]
    with store.hold("app:1") as layers:
        assert [os.stat(layer).st_ino for layer in layers] == inodes
