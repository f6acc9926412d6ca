"""Durable files: files that appear whole, and one sync for a whole tree."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..linux import native
from .journal import maybe
from .owner import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Unfinished", "appearing_file", "rename", "replace", "sync_directory", "sync_filesystem", "write_all"]

NEW = ".new-"


class Unfinished:
    """A file that is written under a temporary name, until it gets its own.  It is locked meanwhile: see `owner`.

    :param directory: the directory that the file is made in
    :param prefix: the beginning of its temporary name
    :ivar fd: a descriptor, open for writing
    """

    def __init__(self, directory: str | os.PathLike[str], prefix: str) -> None:
        made = None
        while made is None:
            self.path = os.path.join(os.path.abspath(directory), f"{prefix}{os.urandom(6).hex()}")
            self._entry = maybe("file", self.path)
            try:
                made = Record.make(self.path)
            except FileExistsError:
                continue
            finally:
                if made is None:
                    self._entry.done()
        self.record, self.fd = made, made.fd

    def finish(self, path: str | os.PathLike[str], *, mode: int = 0o644, sync: bool = False) -> None:
        """Give the file its name.  A file that had that name is replaced.

        :param sync: wait until the disk has the file and its name
        """
        os.fchmod(self.fd, mode)
        if sync:
            os.fsync(self.fd)
        os.rename(self.path, path)
        if sync:
            sync_directory(os.path.dirname(os.path.abspath(path)))
        self.record.let_go()
        self._entry.done()

    def close(self) -> None:
        """Remove the file, unless it is finished."""
        self.record.remove()
        self._entry.done()


@contextlib.contextmanager
def appearing_file(path: str | os.PathLike[str], *, mode: int = 0o644, sync: bool = False) -> Iterator[int]:
    """Give a new file, open for writing, which gets its name when the `with` block ends well; an old file stays until then.

    :param sync: wait until the disk has it
    """
    directory, name = os.path.split(os.path.abspath(path))
    unfinished = Unfinished(directory, f".{name}-")
    try:
        yield unfinished.fd
        unfinished.finish(path, mode=mode, sync=sync)
    finally:
        unfinished.close()


def replace(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
    """Write a small file so that it has the old bytes or the new ones after any crash.  Any number of processes may do so at once.

    :param sync: wait until the disk has it
    """
    unfinished = Unfinished(os.path.dirname(os.path.abspath(path)), NEW)
    try:
        write_all(unfinished.fd, data)
        unfinished.finish(path, mode=mode, sync=sync)
    finally:
        unfinished.close()


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of the data, however much the kernel takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Write the names in a directory to the disk.  :see: fsync(2)"""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(path: str | os.PathLike[str]) -> None:
    """Write everything to the disk that was written: one call for a tree of many files.  :see: syncfs(2)"""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        native.call("syncfs", fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    finally:
        os.close(fd)


def rename(source: Path, target: Path) -> None:
    """Give a file that is already on disk its name, and write the name to the disk."""
    os.rename(source, target)
    sync_directory(target.parent)
