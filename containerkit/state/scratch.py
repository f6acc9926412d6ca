"""Directories that are gone when their owner is, even when it was killed.

A scratch directory holds a file `lock` that its owner keeps locked.  The kernel drops the lock with its owner, so
whoever makes the next scratch directory can tell the living from the dead, and sweeps the dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from ..base.pickling import OneProcess
from ..errors import LayerError
from . import temporary

__all__ = ["Scratch", "remove", "sweep"]

PREFIX = "containerkit-"
DEEP = 100  # directories
GRACE = 60.0  # seconds in which a directory without a lock may still be in the making

#: Ways to remove what belongs to ids that only a user namespace of the caller's reaches.  Each returns whether it could.
fallbacks: list[Callable[[Path], bool]] = []


class Scratch(OneProcess):
    """A temporary directory with a lock.

    :ivar path: the directory
    """

    stays = "it is removed by the process that made it; send its path"

    def __init__(self, kind: str, parent: str | os.PathLike[str] | None = None) -> None:
        """:param kind: a word for its name  :param parent: where; the directory for temporary files unless given"""
        base = Path(parent or temporary.directory()).resolve()
        sweep(base)
        self.path = Path(temporary.made(f"{PREFIX}{kind}-", base))
        self._lock = os.open(self.path / "locking", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.rename(self.path / "locking", self.path / "lock")  # from here on a sweeper may look

    def close(self) -> None:
        """Removes the directory.  :raises LayerError: something in it cannot be removed"""
        if self._lock >= 0:
            try:
                _remove_scratch(self.path)
            finally:
                self.let_go()

    def let_go(self) -> None:
        """Gives up the lock and leaves the directory to the next sweep."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __del__(self) -> None:
        if getattr(self, "_lock", -1) >= 0:
            with contextlib.suppress(Exception):
                self.close()


def sweep(base: str | os.PathLike[str] | None = None) -> list[Path]:
    """Removes the scratch directories of owners that ended without closing them.  Returns their paths."""
    swept = []
    for entry in os.scandir(base or temporary.directory()):
        if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False) and _abandoned(entry):
            with contextlib.suppress(LayerError):
                _remove_scratch(Path(entry.path))
                swept.append(Path(entry.path))
    return swept


def listed(base: str | os.PathLike[str] | None = None) -> list[tuple[Path, bool]]:
    """This user's scratch directories, and whether the owner of each has ended, so that `sweep` removes it."""
    found = []
    for entry in os.scandir(base or temporary.directory()):
        with contextlib.suppress(FileNotFoundError):
            if (
                entry.name.startswith(PREFIX)
                and entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            ):
                found.append((Path(entry.path), _abandoned(entry)))
    return sorted(found)


def _abandoned(entry: os.DirEntry[str]) -> bool:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # its owner removed it meanwhile
        return False
    if status.st_uid != os.geteuid():
        return False
    try:
        lock = os.open(os.path.join(entry.path, "lock"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time() - status.st_mtime > GRACE and set(os.listdir(entry.path)) <= {"locking"}
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _remove_scratch(path: Path) -> None:
    """The lock goes last: what is left by a removal that was cut short is still known as scratch."""
    with contextlib.suppress(FileNotFoundError):  # another sweeper was faster
        for name in os.listdir(path):
            if name != "lock":
                remove(path / name)
    remove(path)


def remove(path: Path) -> None:
    """Removes a tree, also one whose directories deny it.  What is gone already is no failure.

    Whoever may still write in there can rename a directory and put a link in its place.  So nothing is reached by a path:
    each directory is opened without following links, below one that is open already.

    :raises LayerError: something is still mounted there, or belongs to somebody else
    """
    try:
        _remove_at(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if os.path.lexists(path) and not any(fallback(path) for fallback in fallbacks):
            raise LayerError(error.errno, f"cannot remove {path}: {error.strerror}", error.filename) from error


def _remove_at(path: Path) -> None:
    parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.stat(path.name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(path.name, dir_fd=parent)
            return
        top = _open(parent, path.name)
        try:
            while _empty(top, top, 0):
                pass
        finally:
            os.close(top)
        os.rmdir(path.name, dir_fd=parent)
    finally:
        os.close(parent)


def _empty(directory: int, top: int, depth: int) -> bool:
    """Removes what is in an open directory.  Returns whether something was put into the topmost one, to be done next.

    A tree may be deeper than we may have files open: from a certain depth on its directories are moved up.
    """
    moved = False
    for name in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=directory)
            elif depth >= DEEP:
                os.rename(name, f"deep-{os.urandom(8).hex()}", src_dir_fd=directory, dst_dir_fd=top)
                moved = True
            else:
                moved |= _remove_directory(directory, name, top, depth)
    return moved


def _remove_directory(parent: int, name: str, top: int, depth: int) -> bool:
    inner = _open(parent, name)
    try:
        moved = _empty(inner, top, depth + 1)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=parent)
    return moved


def _open(parent: int, name: str) -> int:
    """Opens a directory for reading and changing, even one that denies its owner: overlayfs makes such ones."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(name, os.O_PATH | flags, dir_fd=parent)
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        if mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", mode | 0o700)
        return os.open(".", os.O_RDONLY | flags, dir_fd=handle)
    finally:
        os.close(handle)
