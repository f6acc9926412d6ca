"""Groups that are gone when their owner is, even when it was killed.

A process that makes groups holds a lock on one byte of a file.  The kernel drops the lock with the process, so that a sweep can
tell the living from the dead.  The byte's number is in the name of each of its groups, and so is the file's own tag: a sweep
with another file (another /run) does not take what is not its own.  The file's lines say in which directories to look.
:see: fcntl(2), open file description locks
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
import threading
from collections.abc import Iterator

from ..errors import CgroupError
from ..linux.ids import is_machine_root, machine_uid

__all__ = ["PREFIX", "Owner", "abandoned", "living"]

PREFIX = "containerkit."
FIRST = 1 << 20  # byte to lock, the first: behind the text of the file


def register() -> int:
    """Opens the file; makes it where it is the first time.  It stays: a file of a few lines.

    :raises CgroupError: somebody else owns it, or its directory
    """
    path = _place()
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        why = f"cannot open the register of groups: {error.strerror}; /run, or XDG_RUNTIME_DIR, must be this user's to write"
        raise CgroupError(error.errno, why, path) from None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        os.close(fd)
        raise CgroupError(1, "the register of groups must belong to this user alone", path)
    if not status.st_size:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if not os.fstat(fd).st_size:
            import secrets

            os.write(fd, f"{secrets.token_hex(4)}\n".encode())
        fcntl.flock(fd, fcntl.LOCK_UN)
    return fd


def _place() -> str:
    """For root in /run; for others in their own runtime directory, or in the one for temporary files."""
    import tempfile

    if is_machine_root():
        return "/run/containerkit.cgroups"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return (
        os.path.join(runtime, "containerkit.cgroups")
        if runtime
        else os.path.join(tempfile.gettempdir(), f".containerkit.cgroups.{machine_uid()}")
    )


def _content(fd: int) -> tuple[str, set[str]]:
    """The file's tag, and the directories in which groups were ever made."""
    tag, *homes = os.pread(fd, os.fstat(fd).st_size, 0).decode().splitlines()
    return tag, set(homes)


def _locked(fd: int, byte: int) -> bool:
    """Locks one byte, unless another has."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhxxxxqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
    except OSError:
        return False
    return True


def _any_byte() -> int:
    return max(FIRST, int.from_bytes(os.urandom(4)))


class Owner:
    """This process as an owner of groups, from its first group to its last.

    :ivar mark: what the names of its groups begin with, while it has some
    """

    def __init__(self) -> None:
        self.mark = f"{PREFIX}new."
        self._fd, self._count, self._homes = -1, 0, set[str]()
        self._guard = threading.Lock()

    def hold(self) -> None:
        """One group more: from here on the lock is held."""
        with self._guard:
            if self._fd < 0:
                self._open()
            self._count += 1

    def note(self, homes: set[str]) -> None:
        """Writes down where its groups are, before they are made."""
        with self._guard:
            if new := homes - self._homes:
                os.write(self._fd, "".join(f"{home}\n" for home in sorted(new)).encode())
                self._homes |= new

    def give(self) -> None:
        """One group less; the lock goes with the last."""
        with self._guard:
            self._count -= 1
            if not self._count and self._fd >= 0:
                self._close()

    def _open(self) -> None:
        self._fd = register()
        tag, self._homes = _content(self._fd)
        byte = _any_byte()
        while not _locked(self._fd, byte):
            byte = _any_byte()
        self.mark = f"{PREFIX}{tag}-{byte:08x}-{os.getpid()}."

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1

    def forked(self) -> None:
        """In a child of os.fork(): the groups are the parent's, and its lock must not outlive it in us."""
        if self._fd >= 0:
            self._close()
        self._count, self._guard = 0, threading.Lock()


def _marked(homes: set[str], tag: str) -> Iterator[tuple[int, str]]:
    """The byte and the directory of every group that bears the tag."""
    for home in sorted(homes):
        with contextlib.suppress(OSError), os.scandir(home) as entries:
            for entry in entries:
                if entry.name.startswith(f"{PREFIX}{tag}-"):
                    with contextlib.suppress(ValueError, IndexError):
                        yield int(entry.name.split("-")[1], 16), entry.path


def abandoned() -> Iterator[str]:
    """The groups whose owner is dead; as long as one is being looked at, nobody else can be its owner."""
    yield from _of_owners(living=False)


def living() -> Iterator[str]:
    """The groups whose owner lives, of this user's."""
    yield from _of_owners(living=True)


def _of_owners(living: bool) -> Iterator[str]:
    fd = register()
    try:
        tag, homes = _content(fd)
        for byte, path in _marked(homes, tag):
            if _locked(fd, byte) != living:
                yield path
    finally:
        os.close(fd)
