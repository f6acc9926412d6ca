"""Compression: we read what other programs write, they read what we write, and damage at any position is reported."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from containerkit import errors
from containerkit.base import extras
from containerkit.image.compression import compress as _compress
from containerkit.image.compression import gzip_streams, zstd_streams
from containerkit.image.compression.compression import Compressor, Decompressed
from containerkit.image.compression.pipes import ReadAhead
from containerkit.image.digest import CHUNK
from containerkit.image.errors import ImageError, InvalidLayer, LimitExceeded, Mismatch, Unsupported
from containerkit.image.limits import Limits

DATA = b"".join(bytes([random.Random(n).randrange(97, 105)]) * (n % 50) for n in range(40_000))
ENGINES = ["isal", "zlib"]


def zstandard() -> Any:
    return pytest.importorskip("zstandard", reason="needs zstandard: pip install containerkit[zstd]")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Use each of the two libraries that read and write gzip."""
    if request.param == "zlib":
        monkeypatch.setattr(gzip_streams, "isal", lambda name: None)
    else:
        pytest.importorskip("isal", reason="needs isal: pip install containerkit[fast]")
    return str(request.param)


def compressed(data: bytes, kind: str, step: int = 1 << 20, level: int | None = None) -> bytes:
    out: list[bytes] = []
    seen = hashlib.sha256()
    coder = Compressor(lambda block: out.append(bytes(block)), kind, level=level, seen=seen.update)
    for at in range(0, len(data), step):
        coder.feed(data[at : at + step])
    coder.close()
    assert seen.digest() == hashlib.sha256(data).digest()
    return b"".join(out)


def read(data: bytes, expected: str = "", limits: Limits | None = None, size: int = 1 << 20) -> bytes:
    stream = Decompressed(io.BytesIO(data), expected, limits=limits)
    return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("size", [1, 100_000, 1 << 20])
@pytest.mark.parametrize("level", [None, 3, 9])
def test_gzip_survives_compression_and_decompression(engine: str, level: int | None, size: int) -> None:
    data = DATA[: 2000 * size]
    packed = compressed(data, "gzip", 200_000, level)
    assert gzip.decompress(packed) == read(packed, "gzip", size=size) == data
    assert subprocess.run(["gzip", "-dc"], input=packed, stdout=subprocess.PIPE, check=True).stdout == data


def test_gzip_is_the_same_for_any_number_of_processors(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    once = compressed(DATA, "gzip", 100_000)
    monkeypatch.setattr(_compress._Gzip, "workers", 1)
    assert compressed(DATA, "gzip", 100_000) == once


@pytest.mark.usefixtures("engine")
def test_gzip_of_many_members_and_zeros_at_the_end() -> None:
    packed = b"".join(gzip.compress(DATA[at : at + 1000]) for at in range(0, 50_000, 1000))
    assert read(packed + bytes(5000)) == DATA[:50_000]
    with pytest.raises(LimitExceeded):
        read(packed, limits=Limits(entries=10))
    with pytest.raises(InvalidLayer):
        read(packed + bytes(5000) + b"x")


def damaged(packed: bytes) -> list[bytes]:
    """Yield the data cut at every position of its end and at some others, and with single bits changed."""
    chosen = random.Random(5)
    cuts = [packed[:at] for at in {*range(len(packed) - 12, len(packed)), *range(7, 30), len(packed) // 2}]
    flips = []
    for _ in range(60):
        at = chosen.randrange(len(packed))
        flips.append(packed[:at] + bytes([packed[at] ^ 1 << chosen.randrange(8)]) + packed[at + 1 :])
    return cuts + flips


@pytest.mark.usefixtures("engine")
def test_damaged_gzip_is_reported() -> None:
    data = DATA[:20_000]
    for broken in damaged(gzip.compress(data, mtime=0)):
        try:
            found = read(broken, "gzip")
        except ImageError:
            continue
        assert found == data, "other bytes came, and nothing was said"


def test_zstd_survives_compression_and_decompression() -> None:
    library = zstandard()
    packed = compressed(DATA, "zstd", 100_000)
    assert read(packed, "zstd") == library.ZstdDecompressor().decompressobj().decompress(packed) == DATA
    assert compressed(DATA, "zstd", 100_000) == packed


@pytest.mark.parametrize("options", [{}, {"write_checksum": True}, {"write_content_size": False}, {"level": 19}])
@pytest.mark.parametrize("data", [b"", b"x", DATA, bytes(3_000_000)])
def test_zstd_of_any_form(options: dict[str, Any], data: bytes) -> None:
    packed = zstandard().ZstdCompressor(**options).compress(data)
    skip = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    assert read(skip + packed + skip + packed) == data + data


class Dribbling:
    """Gives a few bytes at a time, so that headers of frames and blocks come in two pieces."""

    def __init__(self, data: bytes, step: int) -> None:
        self._file, self._step = io.BytesIO(data), step

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(min(size, self._step) if size >= 0 else self._step)


@pytest.mark.parametrize("step", [1, 2, 7, 4096])
def test_zstd_in_pieces_of_any_size(step: int) -> None:
    library = zstandard()
    kinds: list[dict[str, Any]] = [{}, {"write_checksum": True}, {"write_content_size": False}]
    makers = [library.ZstdCompressor(**options) for options in kinds]
    contents = [b"", b"x", DATA[:5000], bytes(300_000), random.Random(3).randbytes(3000)]
    packed = b"".join(maker.compress(data) for maker in makers for data in contents)
    blocks = makers[1].compressobj()
    packed += b"".join(blocks.compress(data) + blocks.flush(library.COMPRESSOBJ_FLUSH_BLOCK) for data in contents) + blocks.flush()
    stream = Decompressed(Dribbling(packed, step), "zstd")
    assert b"".join(iter(lambda: stream.read(1 << 20), b"")) == b"".join(contents) * 4


def test_a_step_of_zstd_is_bounded_however_dense_it_is() -> None:
    packed = zstandard().ZstdCompressor().compress(bytes(40 << 20))
    assert len(packed) < 1 << 20
    pieces = [len(piece) for piece in zstd_streams.pieces(io.BytesIO(packed), Limits())]
    assert max(pieces) <= 1 << 20
    assert sum(pieces) == 40 << 20


def test_damaged_zstd_is_reported() -> None:
    packed = zstandard().ZstdCompressor(write_checksum=True).compress(DATA[:20_000])
    for broken in damaged(packed):
        try:
            found = read(broken, "zstd")
        except ImageError:
            continue
        assert found == DATA[:20_000], "other bytes came, and nothing was said"
    with pytest.raises(InvalidLayer):
        read(packed + b"junk")


def test_zstd_window_is_bounded() -> None:
    zstandard()
    frame = (0xFD2FB528).to_bytes(4, "little") + bytes([0x00, 0xA0]) + bytes(20)
    with pytest.raises(LimitExceeded, match=r"Limits\.window"):
        read(frame)


def test_zstd_with_a_dictionary_is_refused() -> None:
    frame = (0xFD2FB528).to_bytes(4, "little") + bytes([0x01, 0x00, 0x07]) + bytes(20)
    zstandard()
    with pytest.raises(Unsupported):
        read(frame)


def test_a_missing_zstandard_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(errors.Unavailable, match=re.escape(extras.command("zstd"))):
        zstd_streams.library()


@pytest.mark.parametrize(("kind", "expected"), [("gzip", "none"), ("none", "gzip"), ("gzip", "zstd")])
def test_the_type_must_agree_with_the_magic(kind: str, expected: str) -> None:
    with pytest.raises(Mismatch):
        read(compressed(DATA[:9000], kind), expected)


@pytest.mark.usefixtures("engine")
def test_ratio_and_memory_are_bounded() -> None:
    packed = gzip.compress(bytes(30 << 20))
    with pytest.raises(LimitExceeded, match=r"Limits\.ratio"):
        read(packed, limits=Limits(ratio=100, ratio_from=1 << 20))
    assert len(read(packed, limits=Limits(ratio=1100, ratio_from=1 << 20))) == 30 << 20
    stream = Decompressed(io.BytesIO(packed))
    assert len(stream.read()) == 30 << 20


class Failing:
    def __init__(self, after: int) -> None:
        self._left = after

    def read(self, size: int = -1, /) -> bytes:
        if not self._left:
            raise InvalidLayer("as told")
        self._left -= 1
        return b"x" * min(size, 1000)


def test_read_ahead_gives_the_bytes_and_then_the_error() -> None:
    with ReadAhead(Failing(30)) as ahead:
        assert len(b"".join(ahead.read(700) for _ in range(60))) == 30_000
        for _ in range(1):
            with pytest.raises(InvalidLayer, match="as told"):
                ahead.read(1)


@pytest.mark.parametrize("use", [lambda ahead: None, lambda ahead: ahead.read(10), lambda ahead: ahead.read()])
def test_read_ahead_leaves_no_thread(use: Callable[[ReadAhead], object]) -> None:
    before = threading.active_count()
    with ReadAhead(io.BytesIO(bytes(20 << 20))) as ahead:
        use(ahead)
    assert threading.active_count() == before


def coder_takes(coder: Compressor) -> None:
    for _ in range(100):
        coder.feed(DATA)


def test_a_sink_that_fails_leaves_no_thread() -> None:
    before = threading.active_count()

    def write(block: object) -> None:
        if len(block) > 20:  # type: ignore[arg-type]
            raise OSError(28, "full")

    coder = Compressor(write)
    with pytest.raises(OSError, match="full"):
        coder_takes(coder)
    coder.abandon()
    assert threading.active_count() == before


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_written_blobs_stay_below_the_ratio_limit(compression: str) -> None:
    """Repetitive text shrinks to a thousandth; a reader with a ratio limit must still accept it."""
    if compression == "zstd":
        zstandard()
    out = io.BytesIO()
    compressor = Compressor(out.write, compression)
    block = b"yes\n" * (CHUNK // 4)
    for _ in range(300):
        compressor.feed(block)
    compressor.close()
    assert 300 * CHUNK / 250 < out.tell() < 300 * CHUNK / 90
    stream, size = Decompressed(io.BytesIO(out.getvalue()), compression), 0
    while data := stream.read(CHUNK):
        size += len(data)
    assert size == 300 * CHUNK


@pytest.mark.parametrize("kind", ["xz", "lzma", "bzip2"])
def test_xz_and_bzip2_have_the_same_limits(kind: str) -> None:
    compress = {"xz": lzma.compress, "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE), "bzip2": bz2.compress}[kind]
    limits = Limits(ratio=50, ratio_from=1 << 16)
    data = os.urandom(100_000)
    assert Decompressed(io.BytesIO(compress(data)), limits=limits).read() == data
    assert Decompressed(io.BytesIO(compress(data) + compress(b"more")), limits=limits).read() == data + b"more"
    with pytest.raises(LimitExceeded, match="--limit ratio=none"):
        Decompressed(io.BytesIO(compress(bytes(10 << 20))), limits=limits).read()
    assert len(Decompressed(io.BytesIO(compress(bytes(10 << 20))), limits=limits.lifted(["ratio=none"])).read()) == 10 << 20
    for damaged in (compress(data)[:-50], compress(data) + b"x" * 30):
        with pytest.raises(InvalidLayer):
            Decompressed(io.BytesIO(damaged), limits=limits).read()


def test_the_memory_of_xz_is_limited() -> None:
    packed = lzma.compress(b"x" * 1000, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}])
    with pytest.raises(LimitExceeded, match=r"Limits\.window"):
        Decompressed(io.BytesIO(packed)).read()
    assert Decompressed(io.BytesIO(packed), limits=Limits(window=1 << 30)).read() == b"x" * 1000
