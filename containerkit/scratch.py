"""Directories that are gone when their owner is, even when it was killed.

A scratch directory holds a file `lock` that its owner keeps locked.  The kernel drops the lock with its owner, so
whoever makes the next scratch directory can tell the living from the dead, and sweeps the dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import LayerError

__all__ = ["Scratch", "remove", "sweep"]

PREFIX = "containerkit-"
GRACE = 60.0  # seconds in which a directory without a lock may still be in the making

#: Ways to remove what belongs to ids that only a user namespace of the caller's reaches.  Each returns whether it could.
fallbacks: list[Callable[[Path], bool]] = []


class Scratch:
    """A temporary directory with a lock.

    :ivar path: the directory
    """

    def __init__(self, kind: str, parent: str | os.PathLike[str] | None = None) -> None:
        """:param kind: a word for its name  :param parent: where; the directory for temporary files unless given"""
        base = Path(parent or tempfile.gettempdir()).resolve()
        sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-", dir=base))
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
    for entry in os.scandir(base or tempfile.gettempdir()):
        if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False) and _abandoned(entry):
            with contextlib.suppress(LayerError):
                _remove_scratch(Path(entry.path))
                swept.append(Path(entry.path))
    return swept


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

    :raises LayerError: something is still mounted there, or belongs to somebody else
    """
    failures: list[OSError] = []

    def again(function: Callable[..., Any], name: str, info: Any) -> None:
        error = info[1]
        if isinstance(error, FileNotFoundError):
            return
        try:
            _open_up(path, Path(name).parent)
            _open_up(path, Path(name))
            shutil.rmtree(name) if os.path.isdir(name) and not os.path.islink(name) else os.unlink(name)
        except OSError as error:
            failures.append(error)

    shutil.rmtree(path, onerror=again)
    if failures and os.path.lexists(path) and not any(fallback(path) for fallback in fallbacks):
        first = failures[0]
        raise LayerError(first.errno, f"cannot remove {path}: {first.strerror}", first.filename)


def _open_up(top: Path, directory: Path) -> None:
    """A directory that denies its owner: overlayfs makes such ones, and programs do."""
    if directory.is_relative_to(top):
        with contextlib.suppress(OSError):
            mode = os.lstat(directory).st_mode
            if stat.S_ISDIR(mode):
                os.chmod(directory, stat.S_IMODE(mode) | 0o700)
