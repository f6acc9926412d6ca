"""A tar as a directory: any of its files, in any order.  It is looked through once, by headers; bodies are passed over."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import stat
import weakref
from collections.abc import Iterator
from typing import Any

from ...base.frozen import frozen
from .. import media
from ..compression.compression import Decompressed
from ..digest import CHUNK, Readable
from ..documents import LIMIT
from ..errors import Escape, InvalidLayer, LimitExceeded, Missing
from ..limits import Limits
from .tar import Reader

__all__ = ["Member", "Section", "Tarball"]

BLOCK = 512
MOST = 100_000  # members
HOPS = 40  # links that lead to links, as the kernel has it


@frozen
class Member:
    """One entry of a tarball.

    :ivar offset: the offset of its first byte
    :ivar link: for a link, the name it leads to, from the top of the tarball; "" for others
    """

    kind: str
    offset: int
    size: int
    link: str = ""


class Section(io.RawIOBase):
    """A stretch of a file, with a position of its own, so that several can be read at once.

    :param keep: the object that holds the descriptor, and must live as long as this
    """

    def __init__(self, fd: int, offset: int, size: int, keep: object = None) -> None:
        self._fd, self._at, self._end, self._keep = fd, offset, offset + size, keep

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")[: self._end - self._at]
        count = os.preadv(self._fd, [view], self._at) if view else 0
        self._at += count
        return count


class Tarball:
    """A tar on disk.  A compressed one is decompressed first, into a file without a name.

    :param path: the file
    :param limits: how large it may become
    :raises InvalidLayer: not a tar, or cut short;  :raises LimitExceeded: too large
    """

    def __init__(self, path: str | os.PathLike[str], limits: Limits | None = None) -> None:
        self.path, self._limits = os.fspath(path), limits or Limits.default()
        self._fd = _uncompressed(_opened(self.path), self._limits)
        self._finalizer = weakref.finalize(self, os.close, self._fd)
        self._size = os.fstat(self._fd).st_size
        self.twice: set[str] = set()
        self.members: dict[str, Member] = {}
        with self.closed_on_error():
            self._scan()

    def close(self) -> None:
        self._finalizer()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path: the other process opens the tarball again."""
        return Tarball, (os.path.abspath(self.path), self._limits)

    def __copy__(self) -> Tarball:
        return self

    def __deepcopy__(self, memo: object) -> Tarball:
        return self

    @contextlib.contextmanager
    def closed_on_error(self) -> Iterator[Tarball]:
        """Close the tarball when the `with` block fails; leave it open otherwise."""
        try:
            yield self
        except BaseException:
            self.close()
            raise

    def find(self, name: str) -> Member:
        """Return the file of this name, or the one its link leads to.

        :raises Missing: none, or no file;  :raises Escape: a link leads out of the tarball
        """
        first, member = name, None
        for _ in range(HOPS):
            member = self.members.get(_normal(name))
            if member is None:
                raise Missing(f"there is no {first} in {self.path}" + (f": it leads to {name}" if name != first else ""))
            if not member.link:
                break
            name = member.link
        if member is None or member.kind != "file":
            raise Missing(f"{first} in {self.path} is not a file")
        return member

    def __contains__(self, name: str) -> bool:
        try:
            return bool(self.find(name))
        except (Missing, Escape):
            return False

    def open(self, name: str) -> Section:
        """Return the bytes of a file.  :raises Missing: none"""
        member = self.find(name)
        return Section(self._fd, member.offset, member.size, self)

    def read(self, name: str, *, limit: int = LIMIT) -> bytes:
        """Return all bytes of a small file.

        :raises Missing: none;  :raises LimitExceeded: larger;  :raises InvalidLayer: there twice, so that readers would disagree
        """
        if self.find(name).size > limit:
            raise LimitExceeded(f"{name} in {self.path}", limit)
        if name in self.twice:
            raise InvalidLayer(f"{name} is in {self.path} twice")
        with self.open(name) as section:
            return section.readall()

    def _scan(self) -> None:
        at = 0
        while at < self._size:
            reader = Reader(_Blocks(Section(self._fd, at, self._size - at)), self._limits)
            entry = reader.next()
            if entry is None:
                return
            at += reader.total
            if entry.sparse is not None:
                raise InvalidLayer(f"{entry.name!r} in {self.path} is sparse: an image's parts are not")
            if at + entry.stored > self._size:
                raise InvalidLayer(f"{self.path} ends in the middle of a file")
            self._add(os.fsdecode(entry.name), Member(entry.kind, at, entry.stored, _target(entry.kind, entry.name, entry.linkname)))
            at += entry.stored + -entry.stored % BLOCK

    def _add(self, name: str, member: Member) -> None:
        try:
            name = _normal(name)
        except Escape:
            return  # no caller can ask for it
        if name in self.members and member.kind != "directory":
            self.twice.add(name)
        self.members[name] = member
        if len(self.members) > MOST:
            raise LimitExceeded(f"what is in {self.path}", MOST, "files")


class _Blocks:
    """Reads one block at a time, so that a reader's count tells its position."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(BLOCK)


def _normal(name: str) -> str:
    """Return a name from the top of the tarball.  :raises Escape: one from above it"""
    found = posixpath.normpath(name)
    if found.startswith(("/", "../")) or found == "..":
        raise Escape(f"{name!r} leads out of the archive")
    return found


def _target(kind: str, name: bytes, linkname: bytes) -> str:
    """Return the path that a link leads to: a symbolic link counts from its own directory, a hard link from the top."""
    link = os.fsdecode(linkname)
    if kind == "symlink":
        return posixpath.join(posixpath.dirname(os.fsdecode(name)), link)
    return link if kind == "hardlink" else ""


def _opened(path: str) -> int:
    """Return a file that is one: a fifo never ends.  :raises Missing: something else, or nothing"""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Missing(f"{path} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Missing(f"{path} is not a file")
    return fd


def _uncompressed(fd: int, limits: Limits) -> int:
    """Return the descriptor of a plain tar with the same content."""
    import tempfile

    if media.sniff(os.pread(fd, 6, 0)) == "none":
        return fd
    with open(fd, "rb", buffering=0) as file, tempfile.TemporaryFile() as plain:
        stream, size = Decompressed(file, limits=limits), 0
        while data := stream.read(CHUNK):
            size += len(data)
            limits.check("bytes", size, "an archive, not compressed")
            plain.write(data)
        plain.flush()
        return os.dup(plain.fileno())
