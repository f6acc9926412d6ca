"""Directories that are gone when their owner is, even when it was killed.

A scratch directory has a record in it, the file `lock` (see `owner`), and a line in its owner's journal that says where it is.  So
the next start of any process removes what a killed owner left, wherever it is.  A process without that journal, as in a container with
the same directory for temporary files, finds the directory where it lies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import time
from collections.abc import Iterator

from ..base.pickling import OneProcess
from ..errors import LayerError
from ..linux import native
from . import owner, temporary
from .journal import maybe, sweep_if_any
from .owner import Record, trusted
from .subids import remove_with_subids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    StrPath = str | os.PathLike[str]

__all__ = ["Scratch", "is_abandoned", "listed", "remove", "sweep", "sweep_one"]

PREFIX = "containerkit-"
LOCK = "lock"
DEEP = 100  # directories
GRACE = 60.0  # seconds in which a directory of version 0.1 without a lock may still be in the making
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Scratch(OneProcess):
    """A temporary directory that has an owner.

    :ivar place: the directory
    :ivar record: the record of its owner
    """

    stays = "it is removed by the process that made it; send its path"

    def __init__(self, kind: str, parent: str | os.PathLike[str] | None = None, *, prefix: str = PREFIX) -> None:
        """Make the directory.

        :param kind: a word for its name

        :param parent: the directory to make it in; that for temporary files unless given.  It is swept first
        :param prefix: the beginning of its name, and of the names that are swept
        """
        base = os.path.realpath(parent or temporary.directory())
        sweep_if_any()
        sweep(base, prefix)
        made = None
        while made is None:
            made = self._make(f"{base}/{prefix}{kind}-{os.urandom(4).hex()}")
        self.record = made

    @property
    def path(self) -> Path:
        """The directory, for whoever goes on from there."""
        return _as_path(self.place)

    def _make(self, path: str) -> Record | None:
        """Make the directory and its lock.  Return None where the name is taken, or a sweeper came in between."""
        self.place, self._entry, made = path, maybe("tree", path), None
        try:
            os.mkdir(path, 0o700)
            with contextlib.suppress(FileNotFoundError):
                made = Record.make(f"{path}/{LOCK}")
        except FileExistsError:
            return None
        finally:
            if made is None:
                with contextlib.suppress(OSError):
                    os.rmdir(path)
                self._entry.done()
        return made

    def close(self) -> None:
        """Remove the directory.  :raises LayerError: something in it cannot be removed"""
        if self.record.fd >= 0:
            try:
                _remove_scratch(self.place)
            finally:
                self.let_go()

    def let_go(self) -> None:
        """Give up the lock and leave the directory to the next sweep."""
        self.record.let_go()
        if not os.path.lexists(self.place):
            self._entry.done()

    def __del__(self) -> None:
        if getattr(self, "record", None) and self.record.fd >= 0:
            with contextlib.suppress(Exception):
                self.close()


def sweep(base: str | os.PathLike[str] | None = None, prefix: str = PREFIX) -> list[Path]:
    """Remove the scratch directories of owners that ended without closing them.  Return their paths."""
    return [_as_path(place) for place in _named(base, prefix) if sweep_one(place, young=GRACE)]


def listed(base: str | os.PathLike[str] | None = None) -> list[tuple[Path, bool]]:
    """Return this user's scratch directories, and whether the owner of each has ended, so that `sweep` removes it."""
    return [(_as_path(place), is_abandoned(place)) for place in sorted(_named(base, PREFIX))]


def _as_path(place: str) -> Path:
    from pathlib import Path

    return Path(place)


def _named(base: StrPath | None, prefix: str) -> Iterator[str]:
    with os.scandir(base or temporary.directory()) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if (
                    entry.name.startswith(prefix)
                    and entry.is_dir(follow_symlinks=False)
                    and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
                ):
                    yield entry.path


def sweep_one(path: StrPath, *, young: float = 0.0) -> bool:
    """Remove one scratch directory, unless its owner lives.  Return whether it was removed here.

    :param young: seconds in which a directory without a lock may still be in the making: 0 where its owner is known to be dead
    """
    with contextlib.suppress(OSError), _opened(path) as fd:
        if record := Record.take(LOCK, fd):
            try:
                _remove_scratch(path)
                return True
            finally:
                record.let_go()
        if _never_locked(fd, young):
            _remove_scratch(path)
            return True
    return False


def is_abandoned(path: StrPath) -> bool:
    """Whether the owner of a scratch directory has ended.  Takes nothing."""
    with contextlib.suppress(OSError), _opened(path) as fd:
        return _never_locked(fd, GRACE) or (os.path.lexists(os.path.join(path, LOCK)) and not owner.is_owned(LOCK, fd))
    return False


@contextlib.contextmanager
def _opened(path: StrPath) -> Iterator[int]:
    """Open a scratch directory.  :raises OSError: it is no directory, or not this user's alone"""
    fd = os.open(path, DIRECTORY)
    try:
        if not trusted(fd):
            raise PermissionError(1, "it belongs to another user, or others may write to it", str(path))
        yield fd
    finally:
        os.close(fd)


def _never_locked(fd: int, young: float) -> bool:
    """Whether its owner died before it put anything into it.  Version 0.1 put `locking` there first."""
    return set(os.listdir(fd)) <= {"locking"} and time.time() - os.fstat(fd).st_mtime >= young


def _remove_scratch(path: StrPath) -> None:
    """Remove the directory, its lock last: the rest of a removal that was cut short is still known as scratch."""
    with contextlib.suppress(FileNotFoundError):  # another sweeper was faster
        for name in os.listdir(path):
            if name != LOCK:
                remove(os.path.join(path, name))
    remove(path)


def remove(path: StrPath) -> None:
    """Remove a tree, also one whose directories deny it.  A file that is gone already is no failure.

    A process that may still write in there can rename a directory and put a link in its place.  So nothing is reached by a path:
    each directory is opened without following links, below one that is open already.

    :raises LayerError: something is still mounted there, or belongs to another user
    """
    try:
        _remove_at(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if os.path.lexists(path) and (error.errno == errno.EXDEV or not remove_with_subids(path)):
            raise LayerError(error.errno, f"cannot remove {path}: {error.strerror}", error.filename) from error


def _remove_at(path: StrPath) -> None:
    above, name = os.path.split(os.fspath(path).rstrip("/"))
    parent = os.open(above or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
            return
        top = _open(parent, name)
        try:
            while _empty(top, top, 0):
                pass
        finally:
            os.close(top)
        os.rmdir(name, dir_fd=parent)
    finally:
        os.close(parent)


def _empty(directory: int, top: int, depth: int) -> bool:
    """Remove the content of an open directory.  Return whether something was put into the topmost one, to be done next.

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
    """Open a directory for reading and changing, even one that denies its owner: overlayfs makes such ones.

    :raises OSError: EXDEV where something is mounted there: what is in it belongs to others, as the kept changes of an overlay do
    """
    from ..linux.syscalls import RESOLVE

    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    how = struct.pack("QQQ", os.O_PATH | flags, 0, RESOLVE.BENEATH | RESOLVE.NO_XDEV | RESOLVE.NO_SYMLINKS)
    try:
        handle = native.call("openat2", parent, os.fsencode(name) + b"\0", how, len(how))
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        if mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", mode | 0o700)
        return os.open(".", os.O_RDONLY | flags, dir_fd=handle)
    finally:
        os.close(handle)
