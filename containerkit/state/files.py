"""What reaches the disk, and when: locks the kernel drops with their holder, files that appear whole, one sync for a tree."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from ..linux import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["locked", "rename", "sync_directory", "sync_filesystem", "try_lock", "write_whole"]


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], *, shared: bool = False) -> Iterator[int]:
    """Holds an flock(2) on a file.  Waits for it.  Threads count as strangers.

    :param path: a file, which is made where it is missing, or a directory
    :param shared: many may hold it at once, while nobody holds it alone
    :see: flock(2)
    """
    flags = os.O_RDONLY | os.O_DIRECTORY if os.path.isdir(path) else os.O_RDWR | os.O_CREAT
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def try_lock(path: str | os.PathLike[str], *, shared: bool = False) -> int | None:
    """The descriptor of a directory that nobody holds, now held by the caller; or None.

    :param shared: as for `locked`
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Makes the names in a directory last.  :see: fsync(2)"""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(path: str | os.PathLike[str]) -> None:
    """Makes all that was written last: one call for a tree of many files.  :see: syncfs(2)"""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        native.call("syncfs", fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    finally:
        os.close(fd)


def rename(source: Path, target: Path) -> None:
    """Gives a thing that is already on disk its name, for good."""
    os.rename(source, target)
    sync_directory(target.parent)


def write_whole(path: Path, data: bytes, staging: Path, *, mode: int = 0o644) -> None:
    """A file that has the old bytes or the new ones, whatever happens.

    :param staging: a path of the same file system that nobody else uses
    """
    fd = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with open(fd, "wb") as file:
        file.write(data)
        os.fchmod(fd, mode)  # the umask does not count
        file.flush()
        os.fsync(fd)
    rename(staging, path)
