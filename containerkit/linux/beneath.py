"""Paths below a directory that a program could have written: reached through descriptors, never through a link.

    with Beneath(upper) as top:
        with top.parent(b"etc/resolv.conf") as (directory, name):
            os.unlink(name, dir_fd=directory)
        for path, directory, entries in top.walk(): ...

A program may put a link to the host in the place of a directory, and what cleans up after it would follow the link
(CVE-2024-23652).  openat2 refuses instead: with ELOOP a link, with EXDEV a way out.
:see: openat2(2), "RESOLVE_NO_SYMLINKS", "RESOLVE_BENEATH"
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

from . import native
from .syscalls import RESOLVE

__all__ = ["Beneath"]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
HOW = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS


class Beneath:
    """A directory, held open, and what is below it.  Close it, or use it in a ``with`` block.

    :param directory: a path that only we could have written
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.fd = os.open(directory, DIRECTORY)

    def open(self, path: bytes, flags: int = os.O_PATH) -> int:
        """Open something below; the caller closes it.

        :param path: b"" for the directory itself
        :raises OSError: ELOOP where a link is on the way or at its end, EXDEV where the path leads out
        """
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, HOW)
        try:
            return native.call("openat2", self.fd, (path or b".") + b"\0", how, len(how))
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fsdecode(path)) from None

    @contextlib.contextmanager
    def opened(self, path: bytes, flags: int = DIRECTORY) -> Iterator[int]:
        """Open something below, as `open` does, and close it at the end of the block."""
        fd = self.open(path, flags)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """Give the directory that a file is in, and its name there, for calls that take ``dir_fd``.  The file may be a link itself."""
        above, _, name = path.rpartition(b"/")
        with self.opened(above) as fd:
            yield fd, name

    def walk(self) -> Iterator[tuple[bytes, int, list[os.DirEntry[str]]]]:
        """Yield every directory, itself first: its path, a descriptor for as long as it is looked at, what is in it.

        A directory that cannot be opened is passed over, as `os.walk` does.
        """
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            with contextlib.suppress(OSError), self.opened(path) as fd:
                entries = list(os.scandir(fd))
                yield path, fd, entries
                names = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
                waiting += [path + b"/" + name if path else name for name in names]

    def close(self) -> None:
        """Close the directory."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Beneath:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
