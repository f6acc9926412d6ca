"""Device nodes of our own: a filesystem in memory with the usual device nodes, which no program can change.

Mode, owner and times of a device node belong to its inode.  A program that is the host's root could change those of the
host's own /dev/null through any mount or descriptor of it.  The filesystem of these nodes is read-only, but its devices
can still be read and written.  Only root of the machine could make it writable, not one of a user namespace.
:see: mknod(2), fsconfig(2)
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from errno import EPERM

from ..linux import kernel, syscalls
from ..linux.kept import FileId, file_of, is_still, keeps
from ..linux.syscalls import ATTR, Call, Slot
from .errors import StepError
from .step import Phase, Step

__all__ = ["DEVICES", "MEMORY", "Shared", "made", "open_null", "shared"]

#: The usual devices, with their major and minor numbers.
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
#: The slot of the filesystem with the nodes.
MEMORY = Slot("devices")
FS = Slot("devices.fs")
HINT = {EPERM: "this caller may make no device nodes: a device cgroup or a security module denies it; mounts.Dev(hosts=True) makes none"}


def made() -> Iterator[Step]:
    """Make the filesystem in memory, in the parent -> %devices, a mount that is attached nowhere."""
    options: list[tuple[Call, str, Slot | None]] = [
        (syscalls.fsopen("tmpfs"), "a memory for device nodes", FS),
        (syscalls.fsconfig(FS, "SET_STRING", "mode", "755"), "mode is 755", None),
        (syscalls.fsconfig(FS, "SET_STRING", "nr_inodes", "16"), "nr_inodes is 16", None),
        (syscalls.fsconfig(FS, "CREATE"), "the tmpfs comes to be", None),
        (syscalls.fsmount(FS, ATTR.NOSUID | ATTR.NOEXEC), "as a mount, attached nowhere", MEMORY),
    ]
    for name, (major, minor) in DEVICES.items():
        options.append((syscalls.mknodat(MEMORY, name, stat.S_IFCHR | 0o666, os.makedev(major, minor)), f"a new {name}", None))
        options.append((syscalls.fchmodat(MEMORY, name, 0o666), "for all users: the caller's umask does not count", None))
    options.append((syscalls.fsconfig(FS, "SET_FLAG", "ro"), "from now on", None))
    options.append((syscalls.fsconfig(FS, "RECONFIGURE"), "no program changes mode or owner of a node", None))
    options.append((syscalls.close(FS), "its configuration is done with", None))
    yield from (Step.parent(Phase.PREPARE, call, why=why, save=save, hint=HINT) for call, why, save in options)


class Shared:
    """The filesystem with the nodes that all plans of this process share, made when it is first wanted, and kept.

    There is one for each mount namespace that a thread of this process is in: only there can its mount be copied.

    :ivar is_denied: this process may make no nodes, as root of a user namespace may not
    """

    def __init__(self) -> None:
        self.is_denied = False
        self._kept: dict[int, tuple[int, FileId]] = {}  # inode of the namespace -> descriptor, and its device and inode
        self._forget_lock()
        os.register_at_fork(after_in_child=self._forget_lock)

    def _forget_lock(self) -> None:
        """Make a new lock after a fork: another thread may have held the old one."""
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return a descriptor of the filesystem's root.  :raises StepError: it cannot be made"""
        here = os.stat("/proc/thread-self/ns/mnt").st_ino
        with self._lock:
            if here not in self._kept or not is_still(*self._kept[here]):
                self._kept[here] = self._make()
            return self._kept[here][0]

    def kept(self) -> frozenset[int]:
        """Return the descriptors that stay open for as long as this process runs: one for each mount namespace."""
        with self._lock:
            return frozenset(fd for fd, inode in self._kept.values() if is_still(fd, inode))

    @staticmethod
    def _make() -> tuple[int, FileId]:
        from .parent import ParentExecutor  # which needs streams, which need this

        actor = ParentExecutor()
        fd = actor.perform([*made()], keep=MEMORY.name)
        return fd, file_of(fd)


#: The one filesystem of this process that all its containers bind their devices from.
shared = Shared()
keeps(shared.kept)


def open_null() -> int:
    """Open a null device for reading and writing; the caller closes it.  :see: null(4)

    An ordinary user, or a process that may make no nodes, opens the host's, of which it may change nothing.
    """
    if os.geteuid() or shared.is_denied or not kernel.has("fsopen"):
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return os.open(f"/proc/self/fd/{shared.fileno()}/null", os.O_RDWR | os.O_CLOEXEC)
    except StepError as error:
        if error.errno != EPERM:
            raise
        shared.is_denied = True
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
