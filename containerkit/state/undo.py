"""Write down what the steps of a plan have to undo, before they are made, so that the undo happens even after a SIGKILL.

A step's undo is a `Call`.  Three kinds of calls undo effects that outlive a process: those that remove a name, those that remove a
directory, and umount2.  They are written down as a path, with the file that was there before and the one that is there afterwards: the
sweep, which may come much later, undoes only what the dead owner made.  Effects that end with a descriptor or a process need no line.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Callable
from errno import EINVAL, ENOENT, ENOTDIR, ENOTEMPTY

from ..errors import PlanError
from ..linux import native
from ..linux.syscalls import AT_FDCWD, MNT, Bytes, Call, Tool
from .journal import JournalEntry, Line, maybe
from .owner import Identity, boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Undo", "check", "undo"]

VERB, AS, CLONING, CHILD = "undo", "as", "cloning", "child"
REMOVEDIR, SYMLINK_NOFOLLOW = 0x200, 0x100  # AT_*
BTIME = 0x800  # STATX_BTIME
UNLINK, RMDIR, UMOUNT = "unlink", "rmdir", "umount"
GONE = (ENOENT, ENOTDIR, ENOTEMPTY)  # nothing of the owner's is there, or more than that
NOT_MOUNTED = (ENOENT, EINVAL)


def check(call: Call | Tool) -> None:
    """:raises PlanError: the undo of a step cannot be written down"""
    _kind(call)


def _kind(call: Call | Tool) -> tuple[str, Any, Any, int] | None:
    """Which kind it is, of which directory, which name in it, and with which flags; None where it ends with the process anyway."""
    match call.name, call.args:
        case "close", _:
            return None
        case "unlinkat", (where, bytes() | Bytes() as name, int(flags)):
            return RMDIR if flags & REMOVEDIR else UNLINK, where, name, 0
        case "unlink", (bytes() | Bytes() as name,):
            return UNLINK, AT_FDCWD, name, 0
        case "rmdir", (bytes() | Bytes() as name,):
            return RMDIR, AT_FDCWD, name, 0
        case "umount2", (bytes() | Bytes() as name, int(flags)):
            return UMOUNT, AT_FDCWD, name, int(flags)
    raise PlanError(
        f"{call} cannot be a step's undo: after a SIGKILL of this process the next one has to do it, and that can only remove a name or"
        " a directory (unlinkat, unlink, rmdir), unmount (umount2), or close"
    )


class Undo:
    """The undo of one step.

    :param made: the step's call  :param call: its undo
    :param value: gives an argument of a call as a number
    :param pid: of the child; -1 where there is none yet
    """

    def __init__(self, made: Call | Tool, call: Call, value: Callable[[Any], int], pid: int) -> None:
        self._entry, self._path, self._kind = JournalEntry(None), "", ""
        self._link: str | None = None
        if kind := _kind(call):
            self._kind, where, name, flags = kind
            self._path = _path(where, name, value, pid)
            self._link = _leads_to(made)
            space = _space() if self._kind == UMOUNT else ""
            self._entry = maybe(VERB, self._kind, self._path, flags, self._link, self._look(), space)
            if pid > 0:
                self.child(pid)

    def _look(self) -> Any:
        return look(self._kind, self._path, link=self._link is not None)

    def made(self) -> None:
        """Write down that the step is made."""
        if self._kind and self._link is None:  # a link is known by where it leads to
            self._entry.add(AS, self._look())

    def cloning(self) -> None:
        """Write down that a child is about to be cloned, which may outlive this process and needs what was made."""
        self._entry.add(CLONING, "")

    def child(self, pid: int) -> None:
        """Write down the child's process: nothing is undone before it has ended."""
        self._entry.add(CHILD, str(Identity.of(pid) or "ended"))

    def done(self) -> None:
        """Write down that the call is undone, or was never made."""
        self._entry.done()


def _leads_to(made: Call | Tool) -> str | None:
    """Return the path that a call's new symbolic link leads to; None for other calls."""
    match made.name, made.args:
        case "symlinkat", (bytes() | Bytes() as target, *_):
            return os.fsdecode(_text(target))
    return None


def _text(name: bytes | Bytes) -> bytes:
    return name if isinstance(name, bytes) else name.data.rstrip(b"\0")


def _path(where: Any, name: bytes | Bytes, value: Callable[[Any], int], pid: int) -> str:
    """Return the path from the root, of what a call names in a directory."""
    text = os.fsdecode(_text(name).replace(b"{pid}/", b"%d/" % pid))
    if text.startswith("/"):
        return text
    directory = os.getcwd() if where == AT_FDCWD else os.readlink(f"/proc/self/fd/{value(where)}")
    return os.path.join(directory, text)


def _space() -> str:
    """Return the boot and the mount namespace of this process."""
    return f"{boot()} {os.readlink('/proc/self/ns/mnt')}"


# Afterwards -----------------------------------------------------------------------------------------------------


def look(kind: str, path: str, *, link: bool = False) -> Any:
    """Return the identity of the file at a path, which differs from that of a later file there; None where there is none.

    :param link: only where a link leads to is asked
    """
    if link:
        return _leads_there(path, None)
    if kind == UMOUNT:
        return _mount(path)
    with contextlib.suppress(OSError), _parent(path) as (directory, name):
        return _seen(directory, name)
    return None


def _leads_there(path: str, directory: int | None) -> str | None:
    """Return the path that a symbolic link leads to; None where there is no link."""
    try:
        return os.readlink(path, dir_fd=directory)
    except OSError:
        return None


def _seen(directory: int, name: str) -> list[Any]:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return [status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode), _birth(directory, name)]


def _birth(directory: int, name: str) -> int:
    """Return when a file was made, since inode numbers are reused; 0 where the file system does not say.  :see: statx(2)"""
    found = bytearray(256)
    try:
        native.call("statx", directory, os.fsencode(name) + b"\0", SYMLINK_NOFOLLOW, BTIME, found)
    except OSError:
        return 0
    (mask,), (seconds, nanoseconds) = struct.unpack_from("I", found), struct.unpack_from("qI", found, 80)
    return int(seconds * 10**9 + nanoseconds) if mask & BTIME else 0


def _mount(path: str) -> list[Any] | None:
    """Return the line of the topmost mount at a path.  Its propagation may change meanwhile, so that is left out."""
    shown = os.path.realpath(path).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    found = None
    with open("/proc/self/mountinfo", errors="surrogateescape") as table:
        for line in table:
            fields = line.rstrip("\n").split(" ")
            if fields[4] == shown:
                found = [*fields[:6], *fields[fields.index("-") :]]
    return found


@contextlib.contextmanager
def _parent(path: str) -> Any:
    """Give the directory that a path's last name is in, held open."""
    parent, name = os.path.split(path.rstrip("/"))
    fd = os.open(parent or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd, name
    finally:
        os.close(fd)


def undo(line: Line) -> bool:
    """Undo what a dead owner had made.  Return False where it is to be tried again later.

    :raises OSError: the kernel refuses
    """
    kind, path, flags, link, before, space = line.words
    known = line.more
    child = Identity.parse(known.get(CHILD, ""))
    if child and child.alive:
        return False
    if kind == UNLINK and CLONING in known and CHILD not in known:
        return True  # a child may be there or not: the next one who wants the name judges that
    if kind == UMOUNT:
        return _unmount(path, flags, before, known, space)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), _parent(path) as (directory, name):
        seen = _seen(directory, name) if link is None else _leads_there(name, directory)
        made = known.get(AS, link)
        if seen not in (None, before) and made in (None, seen):
            try:
                (os.rmdir if kind == RMDIR else os.unlink)(name, dir_fd=directory)
            except OSError as error:
                if error.errno not in GONE:
                    raise
    return True


def _unmount(path: str, flags: int, before: list[Any] | None, known: dict[str, Any], space: str) -> bool:
    """Unmount in this mount namespace.  A mount of another one ends with the last process in that one."""
    if space.split(" ")[0] != boot():
        return True
    if space != _space():
        return not _is_inhabited(space.split(" ")[1])
    seen = _mount(path)
    if seen not in (None, before) and known.get(AS) in (None, seen):
        try:
            native.call("umount2", os.fsencode(path) + b"\0", int(flags | MNT.UMOUNT_NOFOLLOW))
        except OSError as error:
            if error.errno not in NOT_MOUNTED:
                raise OSError(error.errno, error.strerror, path) from None
    return True


def _is_inhabited(namespace: str) -> bool:
    """Whether a process that this one may look at is in a mount namespace."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{name}/ns/mnt") == namespace:
                return True
    return False
