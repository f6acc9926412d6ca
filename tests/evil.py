"""Evil layers: tars made byte by byte, as no honest program makes them; and a store that they must not harm."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import os
import shutil
import stat
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from containerkit.image.errors import CannotUnpack, Escape, ImageError, InvalidLayer, LimitExceeded
from containerkit.image.ids import Ids
from containerkit.image.image import Image
from containerkit.image.limits import Limits
from containerkit.store.store import Store

SMALL = Limits(
    bytes=8 << 20, ratio=20, ratio_from=1 << 20, entries=2000, pax=4096, xattrs=20, extents=50, path=1000, depth=20, window=1 << 20
)
END = bytes(1024)


def header(
    name: bytes, kind: bytes = b"0", size: int | bytes = 0, *, link: bytes = b"", mode: int | bytes = 0o644, uid: int | bytes = 0,
    mtime: int | bytes = 0,
    device: tuple[int, int] = (0, 0), prefix: bytes = b"", magic: bytes = b"ustar\x0000", checksum: int | None = None,
) -> bytes:  # fmt: skip
    """One header; every field may be wrong."""

    def octal(value: int | bytes, width: int) -> bytes:
        return value.ljust(width, b"\0") if isinstance(value, bytes) else b"%0*o\0" % (width - 1, value)

    block = name[:100].ljust(100, b"\0") + octal(mode, 8) + octal(uid, 8) + octal(0, 8) + octal(size, 12) + octal(mtime, 12)
    block += b" " * 8 + kind + link[:100].ljust(100, b"\0") + magic + bytes(64)
    block += octal(device[0], 8) + octal(device[1], 8) + prefix.ljust(155, b"\0") + bytes(12)
    assert len(block) == 512, len(block)
    found = sum(block) if checksum is None else checksum
    return block[:148] + b"%06o\0 " % found + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def file(name: bytes, data: bytes = b"evil\n", **fields: object) -> bytes:
    return header(name, size=len(data), **fields) + padded(data)  # type: ignore[arg-type]


def directory(name: bytes, **fields: object) -> bytes:
    return header(name, b"5", mode=0o755, **fields)  # type: ignore[arg-type]


def symlink(name: bytes, to: bytes) -> bytes:
    return header(name, b"2", link=to, mode=0o777)


def hardlink(name: bytes, to: bytes) -> bytes:
    return header(name, b"1", link=to)


def fifo(name: bytes) -> bytes:
    return header(name, b"6")


def record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    size = rest + len(str(rest + len(str(rest))))
    return b"%d %s=%s\n" % (size, key, value)


def pax(body: bytes, kind: bytes = b"x") -> bytes:
    return header(b"pax", kind, len(body)) + padded(body)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    return header(b"././@LongLink", kind, len(name)) + padded(name)


def sparse_1_0(name: bytes, map_: bytes, realsize: int, data: bytes = b"") -> bytes:
    body = padded(map_) + data
    said = record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0") + record(b"GNU.sparse.realsize", b"%d" % realsize)
    return pax(said) + file(name, body)


def sparse_0_1(name: bytes, map_: bytes, size: int, data: bytes = b"") -> bytes:
    return pax(record(b"GNU.sparse.size", b"%d" % size) + record(b"GNU.sparse.map", map_)) + file(name, data)


@dataclass(frozen=True)
class Evil:
    """One evil layer.

    :ivar error: what unpacking it raises; None where it is to be unpacked, and must stay inside
    :ivar plain: what unpacking it onto a tree raises, where that differs
    """

    name: str
    data: bytes = field(repr=False)
    error: type[ImageError] | None
    plain: type[ImageError] | str | None = "the same"

    def expected(self, whiteouts: str) -> type[ImageError] | None:
        return self.error if whiteouts == "overlay" or isinstance(self.plain, str) else self.plain


def tar(*parts: bytes) -> bytes:
    return b"".join(parts) + END


def names(outside: bytes) -> Iterator[Evil]:
    """Names that climb, and parts that are none."""
    for name in (
        b"../outside/x", b"a/../../outside/x", b"..", b"a/..", b"./..", b"/..", b"/../outside/x", b"a/./b", b"a//b", b"//etc/x", b"././x",
        b"./a/../../x", b"a/../b",
    ):  # fmt: skip
        yield Evil(f"name {name.decode()}", tar(file(name)), Escape)
    yield Evil("absolute name lands inside", tar(file(outside + b"/x")), None)
    yield Evil("empty name", tar(file(b"")), Escape)
    yield Evil("the root as a file", tar(file(b"./", b"")), None)  # a slash makes it a directory
    yield Evil("the root as a link", tar(symlink(b".", outside)), Escape)
    yield Evil("the root as a hard link", tar(hardlink(b"/", b"a")), Escape)
    yield Evil("climbing by the prefix field", tar(file(b"outside/x", prefix=b"..")), Escape)
    yield Evil("climbing by PAX path", tar(pax(record(b"path", b"../outside/x")) + file(b"x")), Escape)
    yield Evil("climbing by GNU long name", tar(long_name(b"../outside/x\0") + file(b"x")), Escape)
    yield Evil("climbing by GNU.sparse.name", tar(
        pax(record(b"GNU.sparse.name", b"../outside/x") + record(b"GNU.sparse.size", b"5") + record(b"GNU.sparse.map", b"0,5")) + file(b"x")
    ), Escape)  # fmt: skip
    yield Evil("zero byte in a PAX path", tar(pax(record(b"path", b"a\0b")) + file(b"x")), InvalidLayer)
    yield Evil("a part of 300 bytes", tar(long_name(b"n" * 300) + file(b"x")), InvalidLayer)
    yield Evil("a name of 2000 bytes", tar(long_name(b"n/" * 1000) + file(b"x")), LimitExceeded)
    yield Evil("too deep", tar(file(b"d/" * 40 + b"x")), LimitExceeded)


def links(outside: bytes) -> Iterator[Evil]:
    """Links, and then something through them."""
    through = (
        ("absolute", outside), ("relative", b"../outside"), ("climbing", b"../../../../../../../../.." + outside),
        ("proc root", b"/proc/self/root" + outside), ("proc cwd", b"/proc/self/cwd"), ("proc fd", b"/proc/self/fd/3"),
    )  # fmt: skip
    for what, target in through:
        yield Evil(f"file through a {what} link", tar(symlink(b"l", target), file(b"l/x")), InvalidLayer)
        yield Evil(f"directory through a {what} link", tar(symlink(b"l", target), directory(b"l/sub/")), InvalidLayer)
        yield Evil(f"file over a {what} link", tar(symlink(b"l", target + b"/canary"), file(b"l")), None)
        yield Evil(f"hard link to what a {what} link leads to", tar(symlink(b"l", target), hardlink(b"h", b"l/canary")), InvalidLayer)
        yield Evil(f"whiteout through a {what} link", tar(symlink(b"l", target), file(b"l/.wh.canary", b"")), InvalidLayer)
        yield Evil(f"opaque through a {what} link", tar(symlink(b"l", target), file(b"l/.wh..wh..opq", b"")), InvalidLayer)
    yield Evil("link made inside, then into it", tar(directory(b"d/"), symlink(b"d/l", b"/" + outside), file(b"d/l/../x")), Escape)
    yield Evil("directory becomes a link", tar(directory(b"d/"), file(b"d/x"), symlink(b"d", outside), file(b"d/y")), InvalidLayer)
    yield Evil("late mode through a link", tar(directory(b"d/", mtime=9), symlink(b"d", outside)), None)
    yield Evil("late mode through a link in the middle", tar(directory(b"d/"), directory(b"d/sub"), symlink(b"d", outside)), None)
    yield Evil("link in a circle", tar(symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/x")), Escape)
    yield Evil("link to itself", tar(symlink(b"a", b"a"), file(b"a/x")), Escape)
    yield Evil("file as a directory", tar(file(b"a"), file(b"a/b")), InvalidLayer)
    yield Evil("hard link to outside", tar(hardlink(b"h", outside + b"/canary")), InvalidLayer)
    yield Evil("hard link climbing", tar(hardlink(b"h", b"../outside/canary")), Escape)
    yield Evil("hard link to nothing", tar(hardlink(b"h", b"")), Escape)
    yield Evil("hard link to itself", tar(hardlink(b"h", b"h")), InvalidLayer)
    yield Evil("hard link to a directory", tar(directory(b"d/"), hardlink(b"h", b"d")), InvalidLayer)
    yield Evil("hard link over what holds its target", tar(directory(b"d/"), file(b"d/f"), hardlink(b"d", b"d/f")), InvalidLayer)
    yield Evil("written through a hard link to a link", tar(symlink(b"l", outside + b"/canary"), hardlink(b"h", b"l"), file(b"h")), None)
    yield Evil("symbolic link to nothing", tar(symlink(b"l", b"")), InvalidLayer)


def whiteouts(outside: bytes) -> Iterator[Evil]:
    for name in (b".wh.", b".wh..", b".wh...", b".wh..wh.", b".wh..wh.plnk", b"d/.wh..."):
        yield Evil(f"whiteout {name.decode()}", tar(file(name, b"")), Escape)
    yield Evil("whiteout climbing", tar(file(b"../.wh.outside", b"")), Escape)
    yield Evil("whiteout with content", tar(file(b".wh.x", b"content")), InvalidLayer)
    yield Evil("whiteout that is a directory", tar(directory(b".wh.x/")), InvalidLayer)
    yield Evil("whiteout that is a link", tar(symlink(b".wh.x", outside)), InvalidLayer)
    yield Evil("file in a whiteout", tar(file(b".wh.x/y")), InvalidLayer)
    yield Evil("overlayfs' own whiteout", tar(header(b"w", b"3")), InvalidLayer)
    yield Evil("hard link to a whiteout", tar(file(b".wh.x", b""), hardlink(b"h", b"x")), InvalidLayer)
    for name in (b"user.overlay.redirect", b"trusted.overlay.redirect", b"user.overlay.opaque", b"trusted.overlay.metacopy"):
        yield Evil(f"attribute {name.decode()}", tar(pax(record(b"SCHILY.xattr." + name, outside)) + file(b"f")), InvalidLayer)


def numbers() -> Iterator[Evil]:
    """Fields that lie."""
    yield Evil("not a tar", b"this is no tar " * 100, InvalidLayer)
    yield Evil("wrong checksum", tar(header(b"x", checksum=1)), InvalidLayer)
    yield Evil("no octal", tar(header(b"x", size=b"9z")), InvalidLayer)
    yield Evil("negative size", tar(header(b"x", size=b"\xff" * 12)), InvalidLayer)
    yield Evil("size beyond everything", tar(header(b"x", size=b"\x80" + b"\x7f" * 11)), LimitExceeded)
    yield Evil("8 exabytes by PAX", tar(pax(record(b"size", b"9223372036854775807")) + file(b"x")), LimitExceeded)
    yield Evil("negative size by PAX", tar(pax(record(b"size", b"-5")) + file(b"x")), InvalidLayer)
    yield Evil("negative owner", tar(header(b"x", uid=b"\xff" * 8)), InvalidLayer)
    yield Evil("owner without an id", tar(pax(record(b"uid", b"4294967295")) + file(b"x")), InvalidLayer)
    yield Evil("owner of 20 digits", tar(pax(record(b"uid", b"9" * 20)) + file(b"x")), InvalidLayer)
    yield Evil("time after the end", tar(header(b"x", mtime=b"\x80" + b"\x7f" * 11)), InvalidLayer)
    yield Evil("time that is none", tar(pax(record(b"mtime", b"nan")) + file(b"x")), InvalidLayer)
    yield Evil("directory with bytes", tar(header(b"d/", b"5", 5) + padded(b"bytes")), InvalidLayer)
    yield Evil("fifo with bytes", tar(header(b"p", b"6", 5) + padded(b"bytes")), InvalidLayer)
    yield Evil("impossible device", tar(header(b"dev", b"3", device=(5000, 0))), InvalidLayer)
    yield Evil("unknown type", tar(header(b"x", b"Z")), InvalidLayer)
    yield Evil("cut in a header", header(b"x")[:300], InvalidLayer)
    yield Evil("cut in a file", header(b"x", size=5000) + b"short", InvalidLayer)
    yield Evil("cut after a long name", tar(long_name(b"x" * 200)), InvalidLayer)
    yield Evil("malformed PAX record", tar(pax(b"99 path=x\n") + file(b"x")), InvalidLayer)
    yield Evil("PAX record of length 0", tar(pax(b"0 path=x\n") + file(b"x")), InvalidLayer)
    yield Evil("PAX record of endless digits", tar(pax(b"1" * 3000) + file(b"x")), InvalidLayer)
    yield Evil("PAX record without =", tar(pax(b"7 path\n") + file(b"x")), InvalidLayer)
    yield Evil("global path", tar(pax(record(b"path", b"everything"), b"g") + file(b"x")), InvalidLayer)
    yield Evil("two names", tar(long_name(b"one") + pax(record(b"path", b"two")) + file(b"x")), InvalidLayer)
    yield Evil("two PAX headers", tar(pax(record(b"uid", b"1")) + pax(record(b"gid", b"1")) + file(b"x")), InvalidLayer)
    yield Evil("attribute without a name", tar(pax(record(b"SCHILY.xattr.", b"v")) + file(b"x")), InvalidLayer)
    yield Evil("attribute that is no base64", tar(pax(record(b"LIBARCHIVE.xattr.user.a", b"!")) + file(b"x")), InvalidLayer)
    yield Evil("attribute of no namespace", tar(pax(record(b"SCHILY.xattr.nowhere.a", b"v")) + file(b"x")), CannotUnpack)


def bombs() -> Iterator[Evil]:
    zeros = bytes(8 << 20)
    yield Evil("gzip bomb", gzip.compress(tar(file(b"x", zeros)), 9), LimitExceeded)
    yield Evil("too many bytes", tar(file(b"x", zeros), file(b"y", zeros)), LimitExceeded)
    yield Evil("too many entries", tar(header(b"x") * 3000), LimitExceeded)
    yield Evil("too many long names", tar(b"".join(pax(b"", b"g") for _ in range(2001)), file(b"x")), LimitExceeded)
    yield Evil("long PAX header", tar(pax(record(b"comment", b"c" * 5000)) + file(b"x")), LimitExceeded)
    yield Evil("long name without end", tar(header(b"L", b"L", 1 << 32)), LimitExceeded)
    many = b"".join(record(b"SCHILY.xattr.user.%d" % n, b"") for n in range(30))
    yield Evil("too many attributes", tar(pax(many) + file(b"x")), LimitExceeded)
    yield Evil("sparse file of 8 exabytes", tar(sparse_0_1(b"s", b"", 1 << 62)), LimitExceeded)
    yield Evil("sparse pieces that overlap", tar(sparse_0_1(b"s", b"0,5,3,5", 100, b"0123456789")), InvalidLayer)
    yield Evil("sparse piece outside", tar(sparse_0_1(b"s", b"99,5", 100, b"01234")), InvalidLayer)
    yield Evil("sparse map with half a piece", tar(sparse_0_1(b"s", b"0,5,7", 100, b"01234")), InvalidLayer)
    yield Evil("sparse map that lies about the bytes", tar(sparse_0_1(b"s", b"0,50", 100, b"01234")), InvalidLayer)
    yield Evil("sparse map of endless pieces", tar(sparse_1_0(b"s", b"99999999\n0\n1\n", 100)), LimitExceeded)
    yield Evil("sparse map cut short", tar(sparse_1_0(b"s", b"40\n0\n1\n", 100)), InvalidLayer)
    yield Evil("sparse map without numbers", tar(sparse_1_0(b"s", b"x\ny\n", 100)), InvalidLayer)
    chain = header(b"s", b"S", 0, magic=b"ustar  \0")
    chain = chain[:386] + struct.pack("12s12s", b"0" * 11, b"0" * 11) * 4 + b"\1" + b"0" * 11 + b"\0" + chain[495:]
    chain = chain[:148] + b"%06o\0 " % sum(chain[:148] + b" " * 8 + chain[156:]) + chain[156:]
    more = struct.pack("12s12s", b"0" * 11, b"0" * 11) * 21 + b"\1" + bytes(7)
    yield Evil("old sparse map without end", chain + more * 100, LimitExceeded)


def streams() -> Iterator[Evil]:
    """Damage below the tar."""
    good = gzip.compress(tar(file(b"x", b"fine" * 5000)), mtime=0)
    yield Evil("gzip cut short", good[:-12], InvalidLayer)
    yield Evil("gzip without its end", good[:-4], InvalidLayer)
    yield Evil("gzip with a wrong checksum", good[:-8] + b"\0\0\0\0" + good[-4:], InvalidLayer)
    yield Evil("gzip and then something else", good + b"something else", InvalidLayer)
    yield Evil("gzip damaged in the middle", good[:15] + b"\xff\xff\xff\xff" + good[19:], InvalidLayer)
    yield Evil("gzip header and nothing", good[:10], InvalidLayer)
    yield Evil("xz", b"\xfd7zXZ\0" + bytes(100), InvalidLayer)
    yield Evil("bzip2", b"BZh9" + bytes(100), InvalidLayer)
    yield Evil("deflate without gzip", zlib.compress(tar(file(b"x"))) + bytes(512), InvalidLayer)
    yield Evil("gzip in gzip", gzip.compress(good), InvalidLayer)


def corpus(outside: bytes) -> list[Evil]:
    """All of them; `outside` is the directory they reach for."""
    return [evil for generator in (names, links, whiteouts) for evil in generator(outside)] + _same_everywhere()


@functools.cache
def _same_everywhere() -> list[Evil]:
    """Those that reach for nothing outside, and are large."""
    return [evil for generator in (numbers, bombs, streams) for evil in generator()]


def stream(evil: Evil) -> io.BytesIO:
    return io.BytesIO(evil.data)


# A store to put them into ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def stocked(*images: Image) -> Iterator[Path]:
    """A store in memory that has images already, unpacked; as a directory, to be copied by `restocked`."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="ck-evil-", dir=memory) as directory:
        made = _store(Path(directory, "stocked"))
        for number, image in enumerate(images):
            made.put(image, f"good:{number}")
            made.layers(f"good:{number}")
        yield made.directory


@contextlib.contextmanager
def restocked(directory: Path) -> Iterator[Store]:
    """A copy of it, which takes no large layers."""
    with tempfile.TemporaryDirectory(prefix="copy-", dir=directory.parent) as copy:
        yield _store(shutil.copytree(directory, Path(copy, "store"), symlinks=True))


def _store(directory: Path) -> Store:
    return Store(directory, limits=SMALL, ids=None if os.geteuid() == 0 else Ids(chown=False))


def content(store: Store) -> dict[str, tuple[int, int, int, bytes]]:
    """The store, file by file.  Locks are files that say nothing."""
    found = {}
    for path in sorted(store.directory.rglob("*")):
        name = str(path.relative_to(store.directory))
        if not name.startswith("locks"):
            status = path.lstat()
            data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            found[name] = (status.st_mode, status.st_uid, status.st_nlink if data else 0, data)
    return found
