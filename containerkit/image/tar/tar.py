"""A tar as it streams by: entries, one after the other, and the bytes between them.

    reader = Reader(stream)
    for entry in reader:                    # Entry(name=b"etc/hosts", kind="file", mode=0o644, ...)
        data = reader.read()                # of this entry, while it is the current one

    writer = Writer(sink)                   # writer.add(entry, data); writer.close()

It reads the archives of GNU tar, bsdtar, star and Go: ustar, PAX, GNU long names, base-256 numbers, sparse files of all four kinds.
An archive that readers understand differently is refused: the tar that was scanned must be the tar that is unpacked.
:see: tar(5);  https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple
from zlib import adler32

from ..digest import CHUNK, Readable
from ..errors import InvalidLayer
from ..limits import Limits
from . import pax as _pax
from .sparse import Extents, check, map_of_header, map_of_pax, read_map_1_0
from .writing import Writer

__all__ = ["Entry", "Reader", "Writer"]

BLOCK = 512
HEADER = struct.Struct("100s24s12s12s8sc100s8s64x8s8s155s12s")  # mode and ids in one; without the names of owners
ZERO = bytes(BLOCK)
LATEST = _pax.SECOND << 40  # nanoseconds before or after 1970
NO_ID = (1 << 32) - 1  # stands for "leave as it is" in chown(2)
KINDS = {
    b"0": "file", b"\0": "file", b"7": "file", b"S": "file", b"1": "hardlink", b"2": "symlink", b"3": "char", b"4": "block",
    b"5": "directory", b"6": "fifo",
}  # fmt: skip
_NONE: Mapping[bytes, bytes] = {}
_HARMLESS_GLOBALS = (b"comment", b"charset", b"hdrcharset")


class Entry(NamedTuple):
    """One entry of a tar.

    :ivar name: as written, without slashes at its end
    :ivar kind: "file", "directory", "symlink", "hardlink", "char", "block" or "fifo"
    :ivar mode: the 12 bits of permission
    :ivar size: bytes of the file, its holes included
    :ivar mtime: nanoseconds since 1970
    :ivar linkname: the path that a link points to
    :ivar xattrs: extended attributes
    :ivar major, minor: numbers of a device
    :ivar pax: the records of its PAX header, unchanged
    :ivar sparse: (offset, length) of the pieces of a sparse file that are there; None for others
    :ivar stored: bytes it has in the tar
    """

    name: bytes
    kind: str = "file"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    linkname: bytes = b""
    xattrs: Mapping[bytes, bytes] = _NONE
    major: int = 0
    minor: int = 0
    pax: Mapping[bytes, bytes] = _NONE
    sparse: Extents | None = None
    stored: int = 0


class Reader:
    """Iterates over the entries of a tar.

    :param stream: the tar, not compressed
    :param limits: how much it may ask for
    :raises InvalidLayer: from iterating and reading: not a tar, cut short, or one that readers disagree about
    :raises LimitExceeded: too large in some way
    """

    def __init__(self, stream: Readable, limits: Limits | None = None) -> None:
        self.limits = limits or Limits.default()
        self.entries = self.total = self.apparent = 0
        self._stream, self._data, self._buffer, self._at = stream, b"", memoryview(b""), 0
        self._left = self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """Return the next entry, and skip the unread rest of the one before.  None at the end."""
        pax: dict[bytes, bytes] = {}
        more: _pax.Records = []
        while True:
            if self._left or self._padding:
                self._skip(self._left + self._padding)
                self._left = self._padding = 0
            header = self._take(BLOCK, end_allowed=True)
            if not header or header == ZERO:
                if pax:
                    raise InvalidLayer("the tar ends after the extended header of an entry that never comes")
                return None
            self.entries += 1
            if self.entries > self.limits.entries:
                self.limits.check("entries", self.entries, "entries of a layer", "of them")
            fields = HEADER.unpack(header)
            _check_sum(header, fields[4])
            kind = fields[5]
            if kind in KINDS:
                return self._entry(fields, pax, more)
            self._extended(kind, _pax.number(fields[2], "a size"), pax, more)

    def read(self, size: int = -1) -> bytes:
        """Return bytes of the current entry as it is stored; b"" at its end."""
        return b"".join(self.pieces(size))

    def pieces(self, size: int = -1) -> Iterator[memoryview]:
        """Yield the same bytes without a copy: each piece is valid until the next one is read."""
        wanted = self._left if size < 0 else min(size, self._left)
        while wanted:
            if self._at == len(self._buffer):
                self._fill()
            piece = self._buffer[self._at : self._at + wanted]
            if not piece:
                raise InvalidLayer("the tar ends in the middle of a file")
            self._at += len(piece)
            self._left -= len(piece)
            wanted -= len(piece)
            yield piece

    def write_to(self, fd: int) -> None:
        """Write what is left of the current entry to a file."""
        while self._left:
            if self._at == len(self._buffer) and not self._fill():
                raise InvalidLayer("the tar ends in the middle of a file")
            count = os.write(fd, self._buffer[self._at : self._at + self._left])
            self._at += count
            self._left -= count

    def drain(self) -> None:
        """Read and drop the bytes after the last entry, so that the streams that count and hash have seen all of the tar."""
        self._at = len(self._buffer)
        while self._fill():
            pass

    # --- headers -------------------------------------------------------------------------------------------------

    def _extended(self, kind: bytes, size: int, pax: dict[bytes, bytes], more: _pax.Records) -> None:
        """Read an extended header, which describes the entry after it."""
        if kind not in b"xgLK" or size < 0:
            raise InvalidLayer(f"an entry of the unknown type {kind!r}")
        self.limits.check("pax", size, "the extended header of one entry")
        body = bytes(self._take(size))
        self._skip(-size % BLOCK)
        name = b"path" if kind == b"L" else b"linkpath"
        found = [(name, body.split(b"\0", 1)[0])] if kind in b"LK" else _pax.records(body)
        if kind == b"g":
            if any(not key.startswith(_HARMLESS_GLOBALS) for key, _ in found):
                raise InvalidLayer("a global PAX header that changes the entries after it: readers disagree about those")
            return
        if any(key in pax for key, _ in found) or (kind == b"x" and more):
            raise InvalidLayer("two extended headers say different things of one entry: readers disagree about those")
        if kind == b"x":
            more += found
        pax.update(found)

    def _entry(self, fields: tuple[bytes, ...], pax: dict[bytes, bytes], more: _pax.Records) -> Entry:
        name, whose, size_, mtime, _, type_, link, magic, major, minor, prefix, _ = fields
        kind, number = KINDS[type_], _pax.number
        name, link = name.split(b"\0", 1)[0], link.split(b"\0", 1)[0]
        if magic == b"ustar\x0000" and prefix[0]:
            name = prefix.split(b"\0", 1)[0] + b"/" + name
        size, seconds = number(size_, "a size"), number(mtime, "a time")
        device = (number(major, "a device"), number(minor, "a device")) if type_ in b"34" else (0, 0)
        values = (name, kind, *_mode_and_ids(whose), size, seconds * _pax.SECOND, link, _NONE, *device, _NONE, None, size)
        entry = tuple.__new__(Entry, values)  # half the time of a call of Entry
        if pax:
            entry = _with_pax(entry, pax, self.limits)
        if type_ == b"S":
            entry = self._old_sparse(entry, fields)
        elif pax and entry.kind == "file":
            entry = self._pax_sparse(entry, more)
        return self._begin(_checked(entry, self.limits))

    def _begin(self, entry: Entry) -> Entry:
        """Begin the body of this entry."""
        if entry.sparse is not None:
            check(entry.sparse, entry.size, entry.stored)
        if not self._left and entry.stored:
            self._left, self._padding = entry.stored, -entry.stored % BLOCK
        self.apparent += entry.size
        if self.apparent > self.limits.bytes:
            self.limits.check("bytes", self.apparent, "the files of a layer")
        return entry

    def _old_sparse(self, entry: Entry, fields: tuple[bytes, ...]) -> Entry:
        def block() -> bytes:
            return bytes(self._take(BLOCK))

        size, extents = map_of_header(b"".join(fields[10:12]), block, self.limits)
        return entry._replace(size=size, sparse=extents)

    def _pax_sparse(self, entry: Entry, more: _pax.Records) -> Entry:
        """Read the sparse map in one of the three forms that GNU tar writes into PAX headers."""
        found = map_of_pax(entry.pax, more, self.limits)
        if not found:
            return entry
        name, size, extents = found
        entry = entry._replace(name=(name or entry.name).rstrip(b"/"), size=size)
        if extents is None:
            self._left, self._padding = entry.stored, -entry.stored % BLOCK
            extents = read_map_1_0(self.read, self.limits)
            entry = entry._replace(stored=self._left)
        return entry._replace(sparse=extents)

    # --- bytes ---------------------------------------------------------------------------------------------------

    def _fill(self) -> int:
        self._data = data = self._stream.read(CHUNK)
        self._buffer, self._at = memoryview(data), 0
        self.total += len(data)
        self.limits.check("bytes", self.total, "a layer, not compressed")
        return len(data)

    def _take(self, size: int, *, end_allowed: bool = False) -> bytes:
        """Return so many bytes; none where the stream ends and that is allowed."""
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        if len(piece) == size:
            return piece
        found = bytearray(piece)
        while len(found) < size and self._fill():
            piece = self._data[: size - len(found)]
            self._at = len(piece)
            found += piece
        if len(found) < size and (found or not end_allowed):
            raise InvalidLayer("the tar ends in the middle of a header")
        return bytes(found)

    def _skip(self, size: int) -> None:
        if self._at + size <= len(self._data):
            self._at += size
            return
        while size:
            if self._at == len(self._buffer) and not self._fill():
                raise InvalidLayer("the tar ends in the middle of a file")
            step = min(size, len(self._buffer) - self._at)
            self._at += step
            size -= step


@lru_cache(maxsize=256)  # most files of a layer have the same
def _mode_and_ids(field: bytes) -> tuple[int, int, int]:
    return _pax.number(field[:8], "a mode") & 0o7777, _pax.number(field[8:16], "a user"), _pax.number(field[16:], "a group")


def _check_sum(header: bytes, field: bytes) -> None:
    """Check the sum of a header, with its own field taken as spaces; some old programs took the bytes as signed."""
    said = _pax.number(field, "a checksum")
    # adler32 begins with a sum, exact up to 65520, and is ten times faster than sum()
    found = (adler32(header[:256]) & 0xFFFF) + (adler32(header[256:]) & 0xFFFF) - 2 - sum(field) + 8 * 0x20
    if said != found and said != found - 256 * sum(1 for byte in (*header[:148], *header[156:]) if byte > 127):
        raise InvalidLayer(f"the checksum of a tar header is {found}, and it says {said}: this is not a tar, or not one any more")


def _with_pax(entry: Entry, pax: dict[bytes, bytes], limits: Limits) -> Entry:
    """Return an entry with what its extended header says instead.  An empty value takes a record back."""
    said = {key: value for key, value in pax.items() if value or key.startswith((_pax.SCHILY, _pax.LIBARCHIVE))}
    changes: dict[str, object] = {"pax": said, "xattrs": _pax.xattrs(said, limits)}
    for key, field in ((b"path", "name"), (b"linkpath", "linkname")):
        if key in said:
            changes[field] = said[key]
    for key in (b"uid", b"gid", b"size"):
        if key in said:
            changes[key.decode()] = _pax.integer(said[key], key.decode())
    if b"mtime" in said:
        changes["mtime"] = _pax.nanoseconds(said[b"mtime"])
    changed = entry._replace(**changes)  # type: ignore[arg-type]
    return changed._replace(stored=changed.size)


def _checked(entry: Entry, limits: Limits) -> Entry:
    """Return an entry whose fields make sense together."""
    name, kind, _, uid, gid, size, mtime, link, _, major, minor, _, _, stored = entry
    if name[-1:] == b"/":
        kind = "directory" if kind == "file" else kind  # programs older than the type for directories wrote them so
        name = name.rstrip(b"/") or b"/"
    if size < 0 or stored < 0 or uid < 0 or gid < 0:
        raise InvalidLayer(f"{name[:200]!r}: a number is below zero")
    if not 0 <= major < 1 << 12 or not 0 <= minor < 1 << 20 or not -LATEST < mtime < LATEST:
        raise InvalidLayer(f"{name[:200]!r}: a device or a time that Linux does not have")
    if uid >= NO_ID or gid >= NO_ID:
        raise InvalidLayer(f"{name[:200]!r}: an owner that no user can be")
    if b"\0" in name or b"\0" in link:
        raise InvalidLayer(f"{name[:200]!r}: a name with a zero byte in it")
    if len(name) > limits.path or len(link) > limits.path:
        limits.check("path", max(len(name), len(link)), "a name in a layer")
    if kind in ("symlink", "hardlink"):
        size = 0  # some programs write the size of the link's target, and no bytes follow
    elif kind != "file" and size:
        raise InvalidLayer(f"{name[:200]!r}: a {kind} with {size} bytes in it")
    if kind == entry.kind and size == entry.size:
        return entry if name is entry.name else entry._replace(name=name)
    return entry._replace(name=name, kind=kind, size=size, stored=size)
