"""A directory that nothing leads out of: names are looked up by openat2 with RESOLVE_BENEATH, and held by descriptor.

No link is followed: `meaning` decides before, without the file system, which links a layer may go through.
:see: openat2(2)
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from functools import lru_cache
from typing import Any

from ...linux.descriptor import DIRECTORY
from ...linux.native import extension, number
from ..errors import Escape, InvalidLayer
from ..limits import Limits

RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x04, 0x08
CACHED = 32
RACES = 64  # a rename anywhere on the machine makes openat2 give up a path with ".." in it; see EAGAIN in openat2(2)
INSIDE = {
    errno.ELOOP: "goes through a link",
    errno.ENOTDIR: "goes through something that is no directory",
    errno.EXDEV: "leaves the directory",
    errno.ENAMETOOLONG: "is too long",
}


class Root:
    """Directories below one, by descriptor; the last ones are kept open."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._cache = dict[bytes, int]()
        self._stale: list[int] = []
        self._last: tuple[bytes | None, int] = None, -1
        self.fd = os.open(directory, DIRECTORY)
        ffi, lib = extension().ffi, extension().lib
        self._how = ffi.new("char[]", struct.pack("QQQ", DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS))
        self._trace, self._call, self._number = ffi.new("struct ck_trace *"), lib.ck_call, number("openat2")
        self._ffi: Any = ffi
        self._how_at = int(ffi.cast("uintptr_t", self._how))

    def close(self) -> None:
        self.forget()
        self._close_stale()
        os.close(self.fd)

    def forget(self) -> None:
        """Forget looked-up directories after one, or a link, is removed: the paths through it may lead elsewhere now.

        A descriptor that a caller holds stays open until the next call of `directory`.
        """
        self._stale += self._cache.values()
        self._cache.clear()
        self._last = None, -1

    def _close_stale(self) -> None:
        while self._stale:
            os.close(self._stale.pop())

    def find(self, path: bytes) -> int:
        """Open a directory; the caller closes it.  :raises OSError: there is none"""
        name = self._ffi.new("char[]", path or b".")
        for _ in range(RACES):
            fd = self._call(self._trace, self._number, self.fd, int(self._ffi.cast("uintptr_t", name)), self._how_at, 24, 0, 0)
            if fd != -errno.EAGAIN:
                break
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd))
        return int(fd)

    def directory(self, path: bytes) -> int:
        """Return a directory that stays open for a while, and is not the caller's to close."""
        last, fd = self._last
        if path == last:  # entries come directory by directory
            return fd
        self._close_stale()
        fd = self._cache.pop(path, -1)
        if fd < 0:
            fd = self.find(path)
            if len(self._cache) >= CACHED:
                os.close(self._cache.pop(next(iter(self._cache))))
        self._cache[path] = fd
        self._last = path, fd
        return fd

    def remove(self, directory: int, name: bytes) -> None:
        """Remove the file or the whole tree that has that name.  Links are removed, never followed."""
        status = os.lstat(name, dir_fd=directory)
        if stat.S_ISDIR(status.st_mode):
            import shutil

            shutil.rmtree(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
        if stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode):
            self.forget()


def join(path: bytes, name: bytes) -> bytes:
    """Return a name below a path; the root has none."""
    return path + b"/" + name if path else name


def split(name: bytes, limits: Limits) -> tuple[bytes, bytes]:
    """Return a name of a layer as its parent and its last part; the root itself has neither.

    One ``./`` or ``/`` at the beginning is allowed: many programs write "from the root" so.

    :raises Escape: a part is empty, "." or ".."
    """
    path = name[2:] if name.startswith(b"./") else name[1:] if name.startswith(b"/") else name
    if path in (b"", b".") and name:
        return b"", b""
    parent, _, last = path.rpartition(b"/")
    if last in (b"", b".", b"..") or (parent and not _clean(parent, limits.depth)) or path.startswith(b"/"):
        raise Escape(f"{name[:200]!r}: a name with an empty part, '.' or '..' in it")
    if len(last) > 255:
        raise InvalidLayer(f"{name[:200]!r}: a part of the name has more than 255 bytes")
    return parent, last


@lru_cache(maxsize=1024)  # entries come directory by directory
def _clean(parent: bytes, depth: int) -> bool:
    parts = parent.split(b"/")
    if len(parts) > depth:
        Limits(depth=depth).check("depth", len(parts), f"the way to {parent[:200]!r}", "directories")
    return not any(part in (b"", b".", b"..") for part in parts)


def explain(error: OSError) -> str:
    """Return the words for a refusal of openat2 to look a name up."""
    return INSIDE.get(error.errno or 0, os.strerror(error.errno or 0))
