"""Owners of files on disk: a record names its owner, and the first process that finds the owner dead becomes the next one.

    record = Record.make(directory, "name")     this process owns it from here on
    record.write("text")                        what it is about
    record.hand_to("/path/to/another/lock")     now the holder of that lock does, as a container's monitor
    Record.take(directory, "name")              of a dead owner: mine now; None where the owner lives

A record is a file.  Its owner is the process that holds the file's lock, which the kernel drops with that process.  Where nobody
holds it, the last owner that its text names counts: a process, by its boot, its pid and the time when it began; or the holder
of another file's lock.  So there are three ways to hand a record on, and in none of them it is ownerless for a moment:

- to a process that inherits the descriptor: both hold the lock, until the first one closes its own
- to another lock, and to a process: the new owner is named while the old one still holds the lock

To sweep is to become the owner first.  So two sweepers never act on the same record, and the things that a killed sweeper has not
removed have a dead owner again.  A record is trusted only if it is this user's, and no other user may write to it.

:see: fcntl(2), open file description locks;  proc_pid_stat(5);  proc_sys_kernel(5), random
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import weakref
from collections.abc import Iterator
from functools import cache

from ..base.frozen import frozen
from ..base.pickling import OneProcess
from ..errors import LayerError
from .locks import hold, is_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Identity", "Record", "boot", "is_owned", "lines", "trusted"]

HERE = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
OWNER = "owner"
EXITING = 0x4  # PF_EXITING in linux/sched.h
MOST = 1 << 24  # bytes of a record that are read


@frozen
class Identity:
    """A process and the moment it began, for process ids are reused.

    :ivar boot: the kernel's name for the time since this machine was started
    :ivar started: when the process began, in clock ticks after that
    """

    boot: str
    pid: int
    started: int

    @classmethod
    def of(cls, pid: int | str = "self") -> Identity | None:
        """Return the process of this number, as the procfs at /proc counts; None where it has ended, be it collected or not.

        A process whose first thread has ended goes on with its other threads.
        """
        try:
            number, _, rest = _read(f"/proc/{pid}/stat").partition(" ")
        except OSError:
            return None
        state, *fields = rest.rpartition(")")[2].split()
        ended = state in "ZX" or int(fields[5]) & EXITING
        return None if ended and int(fields[16]) <= 1 else cls(boot(), int(number), int(fields[18]))

    @classmethod
    def parse(cls, text: str) -> Identity | None:
        """Return the identity in a text of `str`, or of version 0.1, which left the boot out; None for any other text."""
        with contextlib.suppress(ValueError):
            *before, pid, started = text.split(" ")
            if len(before) < 2:
                return cls(before[0] if before else boot(), int(pid), int(started))
        return None

    @property
    def alive(self) -> bool:
        """Whether that process still runs.  Another one that got its number is another one."""
        return Identity.of(self.pid) == self

    def __str__(self) -> str:
        return f"{self.boot} {self.pid} {self.started}"


@cache
def boot() -> str:
    """Return the kernel's name for the time since this machine was started; "-" where it does not say."""
    try:
        return _read("/proc/sys/kernel/random/boot_id").strip()
    except OSError:
        return "-"


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096).decode(errors="replace")
    finally:
        os.close(fd)


class Record(OneProcess):
    """A file that has an owner, and is owned by this process now.

    :ivar name: the file's name in `directory`
    :ivar directory: a descriptor, closed with this; None where `name` is a path
    """

    stays = "it is owned by one process; `hand_to` gives it to another one"

    def __init__(self, fd: int, name: str, directory: int | None = None) -> None:
        self.fd, self.name = fd, name
        self.directory = None if directory is None else os.dup(directory)
        self._keys = {each: _key(each) for each in self.descriptors}
        _held.add(self)

    @classmethod
    def make(cls, name: str, directory: int | None = None) -> Record | None:
        """Return a new, empty record.  None where a sweeper took the file before it was locked: try another name.

        :raises FileExistsError: there is one of that name
        """
        fd = os.open(name, HERE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
        if hold(fd) and _is(fd, name, directory):
            return cls(fd, name, directory)
        os.close(fd)
        return None

    @classmethod
    def take(cls, name: str, directory: int | None = None, *, plain: bool = False) -> Record | None:
        """Take over a dead owner's record.  Return None where the owner lives, or the record is gone, or not this user's.

        :param plain: the file is the thing itself, whose text names no owner
        """
        with contextlib.suppress(OSError):
            fd = os.open(name, HERE, dir_fd=directory)
            # asked twice: since the first look the owner may have named another one, or a sweeper may have taken the record
            if _is_dead(fd, plain) and hold(fd) and _is(fd, name, directory) and (plain or not _named_owner_lives(fd)):
                return cls(fd, name, directory)
            os.close(fd)
        return None

    @classmethod
    def receive(cls, name: str, named: Identity | str, directory: int | None = None) -> Record:
        """Take over a record that another process has handed to this one by name.

        :param named: the name that it was handed to: the identity of this process, or the path of a lock that it holds
        :raises LayerError: it was handed to another owner, or does not exist
        """
        try:
            fd = os.open(name, HERE, dir_fd=directory)
        except OSError as error:
            raise LayerError(error.errno, f"cannot take over the record: {error.strerror}", name) from None
        hold(fd, wait=True)
        if _is(fd, name, directory) and trusted(fd) and _named(fd) == _as_line(named):
            return cls(fd, name, directory)
        os.close(fd)
        raise LayerError(errno.EPERM, f"the record was not handed to {named}", name)

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that it keeps open."""
        return [fd for fd in (self.fd, self.directory) if fd is not None and fd >= 0]

    @property
    def owned(self) -> bool:
        """Whether this process still owns it: a caller that closes descriptors it does not know may have closed this one."""
        return self.fd >= 0 and _key(self.fd) == self._keys[self.fd]

    def write(self, *line: object) -> int:
        """Write one more line.  On return the next sweep sees it.  Return its number of bytes.  :raises OSError: the disk is full"""
        data = _json(line).encode() + b"\n"
        if os.write(self.fd, data) < len(data):
            os.write(self.fd, b"\n")  # so that the next line is no part of this one
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name)
        return len(data)

    def lines(self) -> Iterator[list[Any]]:
        """Return all lines but those that name owners."""
        return (line for line in lines(self.fd) if line[0] != OWNER)

    def hand_to(self, named: Identity | str | os.PathLike[str]) -> None:
        """Give the record to a living process, or to the holder of a lock.  This process no longer owns it.

        :param named: a process; or the path of a file whose lock another process holds for as long as it lives
        :raises LayerError: the new owner does not live: this process still owns the record
        """
        named = named if isinstance(named, Identity) else os.path.abspath(named)
        if not _lives(_as_line(named)):
            raise LayerError(errno.ESRCH, f"the new owner of the record does not live: {named}", self.name)
        self.write(*_as_line(named))
        self.let_go()

    def let_go(self) -> None:
        """Leave the record to the next sweep, unless another process holds it too or is named in it."""
        fds, self.fd, self.directory = self.descriptors, -1, None
        for fd in fds:
            if _key(fd) == self._keys[fd]:
                os.close(fd)

    def remove(self) -> None:
        """Remove the file, and with it the record."""
        if self.owned:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self.directory)
        self.let_go()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.let_go()


def is_owned(name: str, directory: int | None = None) -> bool:
    """Whether a record is there and has a living owner.  Takes nothing."""
    try:
        fd = os.open(name, HERE, dir_fd=directory)
    except OSError:
        return False
    try:
        return trusted(fd) and not _is_dead(fd, plain=False)
    finally:
        os.close(fd)


def lines(fd: int) -> Iterator[list[Any]]:
    """Yield the lines of a record.  The last one of an owner that was killed while writing it may be cut short: it says nothing."""
    import json

    *whole, _ = os.pread(fd, MOST, 0).split(b"\n")
    for text in whole:
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, list) and line:
                yield line


def _json(value: object) -> str:
    """The text that `json.dumps` gives.  It is asked itself for what needs a second look: to load it takes longer than most lines."""
    match value:
        case None:
            return "null"
        case str() if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
            return f'"{value}"'
        case int() if type(value) is int:
            return str(value)
        case tuple() | list():
            return f"[{', '.join(map(_json, value))}]"
    import json

    return json.dumps(value)


def trusted(fd: int) -> bool:
    """Whether a file, or a directory, is this user's, and nobody else may write to it."""
    status = os.fstat(fd)
    regular = stat.S_ISREG(status.st_mode) and status.st_nlink <= 1
    return (regular or stat.S_ISDIR(status.st_mode)) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _key(fd: int) -> tuple[int, int] | None:
    """Return the identity of an open file; None where the descriptor is closed."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is(fd: int, name: str, directory: int | None) -> bool:
    """Whether the name still is that of the open file."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _is_dead(fd: int, plain: bool) -> bool:
    """Return whether the record's owner is dead.  Ask the lock first: an owner that names the next one holds the lock while it writes."""
    return trusted(fd) and not is_held(fd) and (plain or not _named_owner_lives(fd))


def _named(fd: int) -> list[Any] | None:
    return next((line for line in reversed([*lines(fd)]) if line[0] == OWNER), None)


def _named_owner_lives(fd: int) -> bool:
    named = _named(fd)
    return named is not None and _lives(named)


def _as_line(named: Identity | str) -> list[Any]:
    return [OWNER, "process", str(named)] if isinstance(named, Identity) else [OWNER, "lock", named]


def _lives(line: list[Any]) -> bool:
    """Whether the owner that a line names is there."""
    match line:
        case [_, "process", str(text)]:
            named = Identity.parse(text)
            return named is not None and named.alive
        case [_, "lock", str(path)]:
            with contextlib.suppress(OSError):
                fd = os.open(path, HERE)
                try:
                    return trusted(fd) and is_held(fd)
                finally:
                    os.close(fd)
    return False


_held: weakref.WeakSet[Record] = weakref.WeakSet()
guard = threading.RLock()


def _forked() -> None:
    """Close the parent's locks in a child of os.fork(): they must not outlive the parent in us."""
    global guard
    guard = threading.RLock()
    for record in [*_held]:
        record.let_go()
    _held.clear()


os.register_at_fork(after_in_child=_forked)
