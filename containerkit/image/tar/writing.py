"""Writing a tar: ustar headers, and PAX headers only where a value does not fit.  The same entries give the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..digest import CHUNK, Readable
from ..errors import InvalidLayer
from . import pax
from .holes import pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .tar import Entry

BLOCK = 512
TYPES = {"file": b"0", "hardlink": b"1", "symlink": b"2", "char": b"3", "block": b"4", "directory": b"5", "fifo": b"6"}
_TAIL = b"ustar\x0000" + bytes(64)
_ZEROS = bytes(20 * BLOCK)
Sink = Callable[[bytearray], object]


class Writer:
    """Makes a tar of entries.

    :param sink: a function that is called with blocks of CHUNK bytes, which it may keep, and once more with the rest
    """

    def __init__(self, sink: Sink) -> None:
        self._sink, self._block, self._at, self.size = sink, bytearray(CHUNK), 0, 0

    def add(self, entry: Entry, data: bytes | Readable | int | None = None) -> None:
        """Write one entry.  A file with `entry.sparse` is written as a sparse one; the zeros of a descriptor's file are left out.

        :param data: the bytes of a file, a stream, or a file descriptor that stands at its beginning; of a sparse file the pieces
        :raises InvalidLayer: there is more data than `entry.size` says, or less
        """
        if entry.kind == "file" and isinstance(data, int) and entry.sparse is None and (found := pieces(data, entry.size)) is not None:
            entry = entry._replace(sparse=found, stored=sum(length for _, length in found))
        if entry.kind == "file" and entry.sparse is not None and data is not None:
            self._sparse(entry, data)
            return
        self._write(header(entry))
        if entry.kind != "file" or data is None:
            if entry.kind == "file" and entry.size:
                raise InvalidLayer(f"{entry.name[:200]!r}: {entry.size} bytes are missing")
            return
        self._body(entry, data)
        self._write(memoryview(_ZEROS)[: -entry.size % BLOCK])

    def close(self) -> None:
        """Write the end.  Nothing can be added after it."""
        self._write(memoryview(_ZEROS)[: 2 * BLOCK])
        del self._block[self._at :]
        self._sink(self._block)
        self.size += self._at

    def _sparse(self, entry: Entry, data: bytes | Readable | int) -> None:
        """Write the map before the pieces, in the newest of GNU tar's forms, which Go, bsdtar and Python read as well."""
        found = entry.sparse or ()
        if not found or sum(found[-1]) < entry.size:
            found = (*found, (entry.size, 0))  # the hole at the end: GNU tar wants to see it
        numbers = [len(found), *(number for piece in found for number in piece)]
        plan = b"".join(b"%d\n" % number for number in numbers)
        plan += bytes(-len(plan) % BLOCK)
        self._write(header(entry, len(plan)))
        self._write(plan)
        stored = sum(length for _, length in found)
        if isinstance(data, int):
            for offset, length in found:
                os.lseek(data, offset, os.SEEK_SET)
                self._body(entry._replace(size=length), data)
        else:
            self._body(entry._replace(size=stored), data)
        self._write(memoryview(_ZEROS)[: -stored % BLOCK])

    def _body(self, entry: Entry, data: bytes | Readable | int) -> None:
        if isinstance(data, bytes):
            count = len(data)
            self._write(data)
        elif isinstance(data, int):
            count = self._from_file(data, entry.size)
        else:
            count = self._from_stream(data, entry.size)
        if count != entry.size:
            raise InvalidLayer(f"{entry.name[:200]!r} changed while it was read: {entry.size} bytes became {count}")

    def _from_file(self, fd: int, size: int) -> int:
        """Read straight into the block; nothing is copied twice."""
        left = size
        while left:
            with memoryview(self._block) as view, view[self._at : self._at + left] as room:
                count = os.readv(fd, [room])
            if not count:
                return size - left
            left -= count
            self._advance(count)
        return size

    def _from_stream(self, stream: Readable, size: int) -> int:
        left = size
        while left and (piece := stream.read(min(left, CHUNK))):
            self._write(piece)
            left -= len(piece)
        return size - left + len(stream.read(1))

    def _write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            count = min(len(view), CHUNK - self._at)
            self._block[self._at : self._at + count] = view[:count]
            self._advance(count)
            view = view[count:]

    def _advance(self, count: int) -> None:
        self._at += count
        if self._at == CHUNK:
            self._sink(self._block)
            self.size += CHUNK
            self._block, self._at = bytearray(CHUNK), 0


def header(entry: Entry, plan: int = 0) -> bytes:
    """Return the header of an entry, with the PAX header it needs before it.

    :param plan: bytes of the map of a sparse file
    """
    sparse = _sparse(entry) if plan else {}
    if plan:
        entry = entry._replace(name=b"GNUSparseFile.0/" + entry.name[-80:].lstrip(b"/"), size=plan + entry.stored)
    name = entry.name + b"/" if entry.kind == "directory" and not entry.name.endswith(b"/") else entry.name
    seconds, fraction = divmod(entry.mtime, pax.SECOND)
    if (
        len(name) <= 100 and len(entry.linkname) <= 100 and not fraction and 0 <= seconds < 1 << 33 and not entry.xattrs
        and not sparse and 0 <= entry.uid < 1 << 21 and 0 <= entry.gid < 1 << 21 and entry.size < 1 << 33
    ):  # fmt: skip
        return _ustar(entry, TYPES[entry.kind], name, entry.linkname, entry.size, seconds)
    records = sparse | {pax.SCHILY + key: value for key, value in entry.xattrs.items()}
    for key, value in ((b"path", name), (b"linkpath", entry.linkname)):
        if len(value) > 100:
            records[key] = value
    for key, number, limit in ((b"uid", entry.uid, 21), (b"gid", entry.gid, 21), (b"size", entry.size, 33)):
        if number >= 1 << limit:
            records[key] = b"%d" % number
    if fraction or not 0 <= seconds < 1 << 33:
        records[b"mtime"] = pax.time(entry.mtime)
    if any(b"\0" in value for key, value in records.items() if not key.startswith(pax.SCHILY)) or any(b"=" in key for key in records):
        raise InvalidLayer(f"{name[:200]!r} cannot be written down in a tar")
    body = pax.write(sorted(records.items()))
    fits = entry._replace(uid=min(entry.uid, (1 << 21) - 1), gid=min(entry.gid, (1 << 21) - 1))
    main = _ustar(
        fits, TYPES[entry.kind], name[:100], entry.linkname[:100], min(entry.size, (1 << 33) - 1), min(max(seconds, 0), (1 << 33) - 1)
    )
    outer = _ustar(fits._replace(mode=0o644, uid=0, gid=0), b"x", b"PaxHeaders/" + name.rstrip(b"/")[-80:], b"", len(body), 0)
    return outer + body + bytes(-len(body) % BLOCK) + main


def _sparse(entry: Entry) -> dict[bytes, bytes]:
    words = {b"major": b"1", b"minor": b"0", b"name": entry.name, b"realsize": b"%d" % entry.size}
    return {b"GNU.sparse." + key: value for key, value in words.items()}


def _ustar(entry: Entry, kind: bytes, name: bytes, link: bytes, size: int, seconds: int) -> bytes:
    start = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), entry.mode, entry.uid, entry.gid, size, seconds)
    rest = kind + link.ljust(100, b"\0") + _TAIL
    device = b"%07o\0%07o\0" % (entry.major, entry.minor) if kind in b"34" else b"0000000\x000000000\0"
    return b"%s%06o\0 %s%s%s" % (start, sum(start) + sum(rest) + sum(device) + 256, rest, device, bytes(167))
