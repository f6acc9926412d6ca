"""Layers and archives: a tar is unpacked in overlay form and onto a plain tree, written back, and opened as an image.

For any bytes, no file outside of the directory changes, and only an ImageError is raised; an unpacked tree is written back to a tar
that unpacks to an equal tree.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import os
import random
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from .engine import Fuzzer, instrumented, run

with instrumented(__name__):
    from containerkit.image import tar_from_tree
    from containerkit.image.compression.compression import Decompressed
    from containerkit.image.errors import ImageError
    from containerkit.image.files.opening import open_source
    from containerkit.image.ids import Ids
    from containerkit.image.limits import Limits
    from containerkit.image.tar import Entry, Writer, pax
    from containerkit.image.unpack.unpack import unpack

BLOCK = 512
SMALL = Limits(
    bytes=256 << 10, ratio=50, ratio_from=64 << 10, entries=100, pax=8 << 10, xattrs=16, extents=40, path=1000, depth=16, window=1 << 20
)
LARGER = Limits()  # for a tar that was written back: a path may be longer when it goes through no link
MINE = None if os.geteuid() == 0 else Ids.mine()
FORM = tar_from_tree.TarOptions(nanoseconds=True, ids=MINE or Ids(), epoch=1 << 40)
Whiteouts = Literal["overlay", "plain"]
WORDS = (
    b"../", b"/", b"..", b"./", b".wh.", b".wh..wh..opq", b".wh..wh.plnk", b"outside/canary", b"../outside/", b"ustar\x0000",
    b"ustar  \0", b"\x80", b"\xff", b"path=", b"linkpath=", b"size=", b"uid=", b"mtime=", b"SCHILY.xattr.", b"user.overlay.opaque",
    b"trusted.overlay.redirect", b"LIBARCHIVE.xattr.", b"GNU.sparse.major=1", b"GNU.sparse.map=", b"GNU.sparse.name=",
    b"GNU.sparse.size=", b"GNU.sparse.offset=", b"GNU.sparse.numblocks=", b"GNU.sparse.realsize=", b"security.capability",
    b"././@LongLink", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"index.json", b"oci-layout", b"manifest.json", b"blobs/sha256/",
)  # fmt: skip
FIELDS = {
    "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12), "kind": (156, 1),
    "link": (157, 100), "magic": (257, 8), "major": (329, 8), "minor": (337, 8), "prefix": (345, 155),
}  # fmt: skip
KINDS = b"01234567gxLKSDVZ\0"
NUMBERS = (
    b"0", b"1", b"7" * 7, b"7" * 11, b"", b"-1", b"\x80" + b"\0" * 10 + b"\1", b"\xff" * 12, b"\x80" + b"\x7f" * 11, b"9", b" 17 ", b"1000",
    b"2000",
)  # fmt: skip
NAMES = (
    b"a", b"a/", b"a/b", b"a/b/c", b"d", b"d/", b"d/f", b"..", b"../x", b"/", b"./", b"", b".", b"a/../b", b"../outside/canary",
    b"/outside", b".wh.a", b".wh.d", b"d/.wh.f", b".wh..wh..opq", b"d/.wh..wh..opq", b".wh.", b"l", b"l/x", b"l/.wh.x", b"\xff\xfe",
    b"n" * 100,
)  # fmt: skip


# Properties ------------------------------------------------------------------------------------------------------


def check(data: bytes) -> None:
    """Check the properties of any bytes."""
    with place() as scratch:
        before, open_before = watched(scratch), descriptors()
        try:
            unpacked(data, scratch, "overlay")
            unpacked(data, scratch, "plain")
            opened(data, scratch / "target.tar")
        finally:
            after = watched(scratch)
        assert after == before, f"beside the directory {after} came of {before}"
        if descriptors() != open_before:
            gc.collect()
        assert descriptors() == open_before, "a descriptor is left open"


def unpacked(data: bytes, scratch: Path, whiteouts: Whiteouts) -> None:
    target, again = scratch / f"target.{whiteouts}", scratch / f"target.{whiteouts}.again"
    target.mkdir()
    if whiteouts == "plain":
        older(target)
    try:
        into(target, io.BytesIO(data), whiteouts, SMALL)
    except ImageError:
        return
    written = back(target, whiteouts)
    again.mkdir()
    into(again, io.BytesIO(written), whiteouts, LARGER)
    assert back(again, whiteouts) == written, f"unpacked ({whiteouts}) and written back it is another tree"


def into(directory: Path, stream: io.BytesIO, whiteouts: Whiteouts, limits: Limits) -> None:
    unpack(Decompressed(stream, limits=limits), directory, whiteouts=whiteouts, ids=MINE, limits=limits, skip={"devices", "xattrs"})


def back(directory: Path, whiteouts: Whiteouts) -> bytes:
    """Write a directory as a tar."""
    made = io.BytesIO()
    write = tar_from_tree.write_upper if whiteouts == "overlay" else tar_from_tree.write_tree
    write(directory, made.write, FORM)
    return made.getvalue()


def opened(data: bytes, path: Path) -> None:
    """Open bytes as a layout or a docker-archive: the names are found, or the archive is refused."""
    path.write_bytes(data)
    with contextlib.suppress(ImageError), contextlib.ExitStack() as stack:
        source = open_source(path)
        stack.callback(getattr(source, "close", lambda: None))
        for entry in source.entries:
            with contextlib.suppress(ImageError):
                assert source.find(entry.digest).digest == entry.digest
                source.manifest(entry.digest)


def older(target: Path) -> None:
    """Make the tree of an older layer, with a link that leads out of the directory."""
    (target / "d").mkdir()
    (target / "d" / "f").write_bytes(b"older")
    (target / "l").symlink_to("../outside")


# The directory ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """Yield a directory for targets, beside files that must not change."""
    scratch = Path(tempfile.mkdtemp(prefix="ck-fuzz-tar-"))
    try:
        outside = scratch / "outside"
        (outside / "sub").mkdir(parents=True)
        (outside / "canary").write_bytes(b"the host's")
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if scratch.exists():
            shutil.rmtree(scratch, onerror=_make_way)


def _make_way(_: Any, path: str, __: Any) -> None:
    """Remove a path whose permissions keep even its owner out."""
    os.chmod(os.path.dirname(path), 0o700)
    os.chmod(path, 0o700) if not os.path.islink(path) else None
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def watched(scratch: Path) -> list[Any]:
    """Describe everything that must not change: the files beside the targets, the root of the filesystem, and our working directory."""
    found: list[Any] = [sorted(name for name in os.listdir(scratch) if not name.startswith("target"))]
    for path in (scratch / "outside", *sorted((scratch / "outside").rglob("*"))):
        status = path.lstat()
        kept = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_mtime_ns, status.st_size)
        found.append(
            (str(path), kept, path.read_bytes() if stat.S_ISREG(status.st_mode) else b"", os.listxattr(path, follow_symlinks=False))
        )
    return [*found, sorted(os.listdir("/")), os.getcwd()]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# Seeds -----------------------------------------------------------------------------------------------------------


def seeds() -> Iterator[bytes]:
    """Yield small tars of every supported form."""
    yield tar(*ENTRIES)
    yield gzip.compress(tar(*ENTRIES), mtime=0)
    yield tar((Entry(b"d", "directory", 0o755), b""), (Entry(b"d/.wh..wh..opq", size=0), b""), (Entry(b".wh.l", size=0), b""))
    yield tar((Entry(b"l", "symlink", linkname=b"../outside"), b""), (Entry(b"l/x", size=1), b"x"))
    yield tar((Entry(b"n" * 120 + b"/" + b"m" * 120, size=3, uid=1 << 30, mtime=1_600_000_000_123_456_789), b"abc"))
    yield tar((Entry(b"f", size=1, xattrs={b"user.a": b"b", b"security.capability": b"\1\0\0\2" + bytes(16)}), b"x"))
    for kind, body in ((b"L", b"long/" * 30 + b"\0"), (b"K", b"target\0"), (b"g", b"13 comment=x\n"), (b"x", b"15 path=d/../f\n")):
        yield extended(kind, body) + tar((Entry(b"l", "symlink", linkname=b"x"), b""))
    yield from (sparse(*each) for each in SPARSE)
    with tempfile.TemporaryDirectory() as scratch:
        yield from archives(Path(scratch))


ENTRIES: tuple[tuple[Entry, bytes], ...] = (
    (Entry(b".", "directory", 0o755, 1, 2, mtime=5 * 10**9), b""),
    (Entry(b"a", "directory", 0o2750, mtime=6 * 10**9), b""),
    (Entry(b"a/f", "file", 0o4755, size=700), b"f" * 700),
    (Entry(b"a/h", "hardlink", linkname=b"a/f"), b""),
    (Entry(b"s", "symlink", 0o777, linkname=b"a"), b""),
    (Entry(b"s/through", "file", size=2), b"ok"),
    (Entry(b"p", "fifo"), b""),
    (Entry(b"c", "char", major=1, minor=3), b""),
)  # fmt: skip
SPARSE = (
    ({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": b"s", b"GNU.sparse.realsize": b"9000"},
     b"1\n8000\n5\n".ljust(BLOCK, b"\0") + b"piece"),
    ({b"GNU.sparse.size": b"9000", b"GNU.sparse.map": b"0,2,8000,3", b"GNU.sparse.name": b"s"}, b"piece"),
    ({b"GNU.sparse.size": b"9000", b"GNU.sparse.numblocks": b"1", b"GNU.sparse.offset": b"100", b"GNU.sparse.numbytes": b"5"}, b"piece"),
)  # fmt: skip


def tar(*entries: tuple[Entry, bytes]) -> bytes:
    made = io.BytesIO()
    writer = Writer(made.write)
    for entry, data in entries:
        writer.add(entry, data)
    writer.close()
    return made.getvalue()


def extended(kind: bytes, body: bytes) -> bytes:
    """Build a header that describes the entry after it."""
    header, *rest = blocks(tar((Entry(b"more", size=len(body)), body)))
    return b"".join([summed(header[:156] + kind + header[157:]), *rest[:-2]])


def sparse(records: dict[bytes, bytes], body: bytes) -> bytes:
    return extended(b"x", pax.write(list(records.items()))) + tar((Entry(b"sparse", size=len(body)), body))


def archives(scratch: Path) -> Iterator[bytes]:
    """Yield an image as a layout and as a docker-archive."""
    from containerkit.image.image import Image
    from containerkit.image.layer import Layer

    layer = Layer.from_tar(io.BytesIO(tar(*ENTRIES[1:3])), compression="none")
    image = Image.scratch("linux/amd64").append(layer)
    for docker in (False, True):
        image.save(scratch / f"{docker}.tar", "kubia:1", docker=docker)
        yield (scratch / f"{docker}.tar").read_bytes()


# Mutations -------------------------------------------------------------------------------------------------------


def blocks(data: bytes) -> list[bytes]:
    return [data[at : at + BLOCK].ljust(BLOCK, b"\0") for at in range(0, len(data), BLOCK)]


def summed(header: bytes) -> bytes:
    """Return the header with its checksum corrected."""
    total = sum(header[:148]) + sum(header[156:]) + 8 * 0x20
    return header[:148] + b"%06o\0 " % total + header[156:]


def is_header(block: bytes) -> bool:
    return block[257:262] == b"ustar"


def mutate(data: bytes, chance: random.Random, raw: Callable[[bytes], bytes]) -> bytes:
    """Change fields and the order of entries, and correct the checksums; inside of gzip as well."""
    packed = data[:2] == b"\x1f\x8b"
    if packed:
        try:
            data = Decompressed(io.BytesIO(data), limits=SMALL).read()
        except ImageError:
            return raw(data)
    found = blocks(data)
    for _ in range(chance.randint(1, 4)):
        shuffled(found, chance, raw)
    made = b"".join(summed(block) if is_header(block) and chance.randrange(50) else block for block in found)
    return gzip.compress(made, 1, mtime=0) if packed ^ (not chance.randrange(40)) else made


def shuffled(found: list[bytes], chance: random.Random, raw: Callable[[bytes], bytes]) -> None:
    headers = [place for place, block in enumerate(found) if is_header(block)]
    if not headers:
        found.extend(blocks(tar(chance.choice(ENTRIES))))
        return
    at = chance.choice(headers)
    end = next((place for place in headers if place > at), len(found))
    match chance.randrange(9):
        case 0:
            found[chance.choice(headers) : 0] = found[at:end]
        case 1:
            del found[at:end]
        case 2:
            found[at:at] = blocks(tar(chance.choice(ENTRIES)))[:-2]
        case 3 if end > at + 1:
            body = b"".join(found[at + 1 : end])
            found[at + 1 : end] = blocks(raw(body))
        case _:
            found[at] = with_field(found[at], chance, raw)


def with_field(header: bytes, chance: random.Random, raw: Callable[[bytes], bytes]) -> bytes:
    name = chance.choice((*FIELDS, "kind", "name", "link"))
    start, width = FIELDS[name]
    if name == "kind":
        value = bytes([chance.choice(KINDS)])
    elif not chance.randrange(3):
        value = raw(header[start : start + width].rstrip(b"\0"))
    else:
        value = chance.choice(NAMES if name in ("name", "link", "prefix") else NUMBERS)
    return header[:start] + value[:width].ljust(width, b"\0") + header[start + width :]


FUZZER = Fuzzer(check, seeds, mutate, WORDS)

if __name__ == "__main__":
    run(FUZZER)
