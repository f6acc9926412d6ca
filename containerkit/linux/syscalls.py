"""The system calls a plan is made of: their arguments, their flags, their man pages.

A `Call` is a value.  Making one does nothing; printing one reads like strace.  Each function below makes one
call and checks what can be checked before there is a kernel to ask: no NUL in a string, no unknown flag.
"""

from __future__ import annotations

import functools
import operator
import os
import struct
from collections.abc import Callable, Sequence
from enum import IntFlag

from ..base.frozen import frozen
from ..base.pickling import Elsewhere, crosses
from ..base.protocols import Protocol
from ..errors import PlanError, WrongType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    F = TypeVar("F", bound=IntFlag)

AT_FDCWD = -100
SHOWN = 40  # characters of one word of an argv
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
ATIME = 0x70


class CLONE(IntFlag):
    """Flags of clone(2) that a plan may ask for."""

    NEWTIME = 0x80
    VM = 0x100
    PIDFD = 0x1000
    VFORK = 0x4000
    PARENT = 0x8000
    NEWNS = 0x20000
    PARENT_SETTID = 0x100000
    CHILD_CLEARTID = 0x200000
    NEWCGROUP = 0x2000000
    NEWUTS = 0x4000000
    NEWIPC = 0x8000000
    NEWUSER = 0x10000000
    NEWPID = 0x20000000
    NEWNET = 0x40000000
    CLEAR_SIGHAND = 0x100000000
    INTO_CGROUP = 0x200000000


class MS(IntFlag):
    """Flags of mount(2)."""

    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    REMOUNT = 32
    NOSYMFOLLOW = 256
    NOATIME = 1024
    NODIRATIME = 2048
    BIND = 4096
    MOVE = 8192
    REC = 16384
    UNBINDABLE = 1 << 17
    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20
    RELATIME = 1 << 21
    STRICTATIME = 1 << 24


class ATTR(IntFlag):
    """Mount attributes of fsmount(2) and mount_setattr(2)."""

    RDONLY = 0x1
    NOSUID = 0x2
    NODEV = 0x4
    NOEXEC = 0x8
    NOATIME = 0x10
    STRICTATIME = 0x20
    NODIRATIME = 0x80
    IDMAP = 0x100000
    NOSYMFOLLOW = 0x200000


class O(IntFlag):  # noqa: E742 - the kernel's own name
    """Flags of open(2)."""

    WRONLY = os.O_WRONLY
    RDWR = os.O_RDWR
    CREAT = os.O_CREAT
    EXCL = os.O_EXCL
    NOCTTY = os.O_NOCTTY
    TRUNC = os.O_TRUNC
    NONBLOCK = os.O_NONBLOCK
    DIRECTORY = os.O_DIRECTORY
    NOFOLLOW = os.O_NOFOLLOW
    CLOEXEC = os.O_CLOEXEC
    PATH = os.O_PATH


class RESOLVE(IntFlag):
    """How openat2(2) may walk a path."""

    NO_XDEV = 0x1
    NO_MAGICLINKS = 0x2
    NO_SYMLINKS = 0x4
    BENEATH = 0x8
    IN_ROOT = 0x10


class OPEN_TREE(IntFlag):
    """Flags of open_tree(2)."""

    CLONE = 1
    AT_EMPTY_PATH = AT_EMPTY_PATH
    AT_RECURSIVE = AT_RECURSIVE
    CLOEXEC = os.O_CLOEXEC


class MOVE_MOUNT(IntFlag):
    """Flags of move_mount(2)."""

    F_SYMLINKS = 0x1
    F_EMPTY_PATH = 0x4
    T_SYMLINKS = 0x10
    T_EMPTY_PATH = 0x40


class MNT(IntFlag):
    """Flags of umount2(2)."""

    FORCE = 1
    DETACH = 2
    EXPIRE = 4
    UMOUNT_NOFOLLOW = 8


class CLOSE_RANGE(IntFlag):
    """Flags of close_range(2)."""

    UNSHARE = 2
    CLOEXEC = 4


FSCONFIG = {"SET_FLAG": 0, "SET_STRING": 1, "SET_BINARY": 2, "SET_PATH": 3, "SET_PATH_EMPTY": 4, "SET_FD": 5, "CREATE": 6, "RECONFIGURE": 7}
PR = {"SET_PDEATHSIG": 1, "SET_DUMPABLE": 4, "SET_KEEPCAPS": 8, "CAPBSET_DROP": 24, "SET_NO_NEW_PRIVS": 38, "CAP_AMBIENT": 47}


def flags(kind: type[F], value: int) -> F:
    """`value` as flags of `kind`.  Raise PlanError when it has a bit that `kind` does not know."""
    known = _known(kind)
    if value < 0 or int(value) & ~known:
        raise PlanError(f"unknown flag {int(value) & ~known:#x} for {kind.__name__}")
    return kind(value)


@functools.cache
def _known(kind: type[IntFlag]) -> int:
    """Return every bit that has a name."""
    return functools.reduce(operator.or_, map(int, kind.__members__.values()), 0)


_TEXT = (str, bytes, os.PathLike)


def text(value: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> bytes:
    """Return a string for the kernel.  Raise PlanError when it holds a NUL, where the kernel would stop reading."""
    if not isinstance(value, _TEXT):
        raise WrongType(f"the kernel wants text here, as str, bytes or a path, not {value!r} ({type(value).__name__})")
    data = os.fsencode(value)
    if b"\0" in data:
        raise PlanError(f"NUL byte in {value!r}")
    return data


class HasFileno(Protocol):
    """Anything that holds a file descriptor."""

    def fileno(self) -> int: ...


@frozen
class Slot:
    """A result kept for a later step, by name: ``fsopen -> %fs``, then ``fsmount(%fs)``."""

    name: str

    def __str__(self) -> str:
        return f"%{self.name}"


@frozen
class Fd:
    """A file descriptor that the child gets from the caller: `source`, or what spawn() makes under that name."""

    name: str
    source: int | HasFileno | None = None

    def __str__(self) -> str:
        return f"<{self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name without the descriptor, whose number means nothing in another process."""
        return Fd, (self.name, None if self.source is None else Elsewhere(f"the descriptor {self}"))

    def __deepcopy__(self, memo: object) -> Fd:
        return self

    def __copy__(self) -> Fd:
        return self


@frozen
class Bytes:
    """Memory that the kernel reads.

    :ivar words: offset -> a value that only the compiled program knows: the address of a `HeaderAddress` or of other
        `Bytes` (8 bytes), or the number that an `Fd` gets in the child, or that a `Slot` has in the parent (4 bytes)
    """

    data: bytes
    shown: str
    words: tuple[tuple[int, HeaderAddress | Fd | Slot | Bytes], ...] = ()

    def __str__(self) -> str:
        return self.shown


@frozen
class Deferred:
    """Memory that the kernel reads and that only compiling can fill: it depends on this machine's system call numbers.

    :ivar make: called once for each compiled program
    """

    make: Callable[[], Bytes]
    shown: str

    def __str__(self) -> str:
        return self.shown

    def __reduce__(self) -> tuple[Any, ...]:
        return Deferred, (self.make if crosses(self.make) else Elsewhere(self.shown), self.shown)

    def __deepcopy__(self, memo: object) -> Deferred:
        return self

    def __copy__(self) -> Deferred:
        return self


@frozen
class OutputBuffer:
    """Memory that the kernel writes: `size` bytes."""

    size: int
    name: str

    def __str__(self) -> str:
        return f"&{self.name}[{self.size}]"


@frozen
class Strings:
    """A NULL-terminated array of strings: argv or envp.

    :ivar secret: print only how many there are: an environment holds passwords
    :ivar deferred: the strings are names of values that only the compiled program knows
    """

    items: tuple[bytes, ...]
    secret: bool = False
    deferred: bool = False

    def __str__(self) -> str:
        if self.secret:
            return f"[{len(self.items)} variables]" if self.items else "[]"
        return "[" + ", ".join(_short(os.fsdecode(i)) for i in self.items) + "]"


@frozen
class HeaderAddress:
    """The address of a field in the program's header: the caller's signal mask, a pid the kernel writes."""

    name: str

    def __str__(self) -> str:
        return f"&{self.name}"


@frozen
class Labelled:
    """A plain number with the words a reader knows it by."""

    value: int
    words: str

    def __str__(self) -> str:
        return self.words


Arg = int | bytes | None | Slot | Fd | Bytes | Deferred | OutputBuffer | Strings | HeaderAddress | Labelled
FdArg = int | Slot | Fd
PathArg = str | bytes | os.PathLike[str]


@frozen
class Call:
    """A system call with its arguments: a value, not an act."""

    name: str
    args: tuple[Arg, ...]
    page: str = ""

    @property
    def man(self) -> str:
        """The man page that documents the call."""
        return self.page or f"{self.name}(2)"

    def __str__(self) -> str:
        return f"{self.name}({', '.join(_show(a) for a in self.args)})"


@frozen
class Tool:
    """A program the parent runs because the kernel wants its privilege: newuidmap(1).  ``{pid}`` is the child's."""

    argv: tuple[str, ...]
    remedy: str = ""
    args: tuple[Arg, ...] = ()

    @property
    def name(self) -> str:
        return os.path.basename(self.argv[0])

    @property
    def man(self) -> str:
        return f"{self.name}(1)"

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.argv[1:])})"


def _short(word: str) -> str:
    return repr(word if len(word) <= SHOWN else word[: SHOWN - 3] + "...")


def _show(arg: Arg) -> str:
    match arg:
        case None:
            return "NULL"
        case bytes():
            return repr(os.fsdecode(arg))
        case IntFlag():
            return "|".join(m.name or "" for m in type(arg) if m in arg) or "0"
        case int():
            return "AT_FDCWD" if arg == AT_FDCWD else str(arg)
    return str(arg)


# --- making the process ------------------------------------------------------------------------------------------


def clone3(flag: int, cgroup: FdArg | None = None) -> Call:
    """Make a new process.  Every part's flags are folded into one call.  :see: clone(2)"""
    return Call("clone3", (flags(CLONE, flag),) if cgroup is None else (flags(CLONE, flag), cgroup), "clone(2)")


def setns(fd: FdArg, kind: CLONE) -> Call:
    """Join the namespace that `fd` refers to.  :see: setns(2)"""
    return Call("setns", (fd, kind))


def execve(path: PathArg, argv: Sequence[PathArg], env: Sequence[PathArg] = ()) -> Call:
    """Become another program.  :see: execve(2)"""
    return Call("execve", (text(path), Strings(tuple(map(text, argv))), Strings(tuple(map(text, env)), secret=True)))


def prctl(option: str, *args: int | Labelled) -> Call:
    """Set an attribute of this process.  :see: prctl(2)"""
    return Call("prctl", (Labelled(PR[option], f"PR_{option}"), *args))


def capset(effective: int, permitted: int, inheritable: int) -> Call:
    """Set this process's capabilities: three sets, bit n for capability n.  :see: capset(2)"""
    header = Bytes(struct.pack("Ii", 0x20080522, 0), "{VERSION_3, self}")  # the version with 64 bits a set
    words = [half >> shift & 0xFFFFFFFF for shift in (0, 32) for half in (effective, permitted, inheritable)]
    shown = f"{{effective={effective:#x}, permitted={permitted:#x}, inheritable={inheritable:#x}}}"
    return Call("capset", (header, Bytes(struct.pack("6I", *words), shown)))


def seccomp(filter: Deferred | Bytes) -> Call:
    """Put every later system call to `filter` first, a struct sock_fprog.  :see: seccomp(2)"""
    return Call("seccomp", (Labelled(1, "SET_MODE_FILTER"), 0, filter))


def prlimit64(resource: Labelled, soft: int, hard: int) -> Call:
    """Set a resource limit of this process; 2**64 - 1 is none.  :see: prlimit(2)"""
    shown = ["unlimited" if n == 0xFFFFFFFFFFFFFFFF else str(n) for n in (soft, hard)]
    return Call("prlimit64", (0, resource, Bytes(struct.pack("QQ", soft, hard), f"{{{', '.join(shown)}}}"), None), "prlimit(2)")


def setpriority(which: int, who: int, value: int) -> Call:
    """Set the nice value, -20 to 19.  :see: setpriority(2)"""
    return Call("setpriority", (which, who, value))


def setsid() -> Call:
    """Lead a new session, without a terminal.  :see: setsid(2)"""
    return Call("setsid", ())


def ioctl(fd: FdArg, request: int, arg: Arg, *, shown: str) -> Call:
    """Ask a device or a file for something of its own.  :see: ioctl(2)"""
    return Call("ioctl", (fd, Labelled(request, shown), arg))


def socket(family: int, kind: int, *, shown: str) -> Call:
    """Make an endpoint; here only to reach the kernel's network settings.  :see: socket(2)"""
    return Call("socket", (Labelled(family, shown), kind, 0))


def setresuid(uid: int) -> Call:
    """Become user `uid`: real, effective and saved.  :see: setresuid(2)"""
    return Call("setresuid", (uid, uid, uid))


def setresgid(gid: int) -> Call:
    """Become group `gid`: real, effective and saved.  :see: setresgid(2)"""
    return Call("setresgid", (gid, gid, gid), "setresuid(2)")


def setgroups(groups: Sequence[int]) -> Call:
    """Replace the supplementary groups.  :see: setgroups(2)"""
    data = b"".join(g.to_bytes(4, "little") for g in groups)
    return Call("setgroups", (len(groups), Bytes(data, str(list(groups)))))


def sethostname(name: str) -> Call:
    """Name this uts namespace: at most 64 bytes.  :see: sethostname(2)"""
    return Call("sethostname", (text(name), len(text(name))))


def setdomainname(name: str) -> Call:
    """Give this uts namespace an NIS domain: at most 64 bytes.  :see: setdomainname(2)"""
    return Call("setdomainname", (text(name), len(text(name))))


# --- files -------------------------------------------------------------------------------------------------------


def openat(path: PathArg, flag: int, mode: int = 0, *, at: FdArg = AT_FDCWD) -> Call:
    """Open a file.  :see: open(2)"""
    args: tuple[Arg, ...] = (at, text(path), flags(O, flag))
    return Call("openat", (*args, Labelled(mode, f"{mode:#o}")) if mode else args, "open(2)")


def openat2(at: FdArg, path: PathArg, flag: int, resolve: RESOLVE) -> Call:
    """Open a path without letting it leave where it belongs.  :see: openat2(2)"""
    return Call("openat2", (at, text(path), _open_how(flag, resolve), 24))


@functools.lru_cache(maxsize=64)  # a plan has dozens, of a few kinds
def _open_how(flag: int, resolve: int) -> Bytes:
    how = b"".join(v.to_bytes(8, "little") for v in (flags(O, flag), 0, flags(RESOLVE, resolve)))
    return Bytes(how, f"{{{_show(O(flag))}, {_show(RESOLVE(resolve))}}}")


def close(fd: FdArg) -> Call:
    """Close a file descriptor.  :see: close(2)"""
    return Call("close", (fd,))


def close_range(first: int, last: int = 0xFFFFFFFF, flag: int = 0) -> Call:
    """Close, or mark close-on-exec, every file descriptor from `first` to `last`.  :see: close_range(2)"""
    end = Labelled(last, "~0") if last == 0xFFFFFFFF else last
    return Call("close_range", (first, end, flags(CLOSE_RANGE, flag)))


def dup3(old: FdArg, new: int | Fd, flag: int = 0) -> Call:
    """Make `new` another name for `old`.  :see: dup(2)"""
    return Call("dup3", (old, new, flags(O, flag)), "dup(2)")


def write(fd: FdArg, data: bytes) -> Call:
    """Write `data`, whole: a step that writes less has failed.  :see: write(2)"""
    return Call("write", (fd, Bytes(data, repr(os.fsdecode(data))), len(data)))


def read(fd: FdArg, space: OutputBuffer) -> Call:
    """Read at most the size of `space`.  :see: read(2)"""
    return Call("read", (fd, space, space.size))


def poll(fd: int) -> Call:
    """Ask, without waiting, whether `fd` is readable: for a pidfd, whether its process has ended.  :see: poll(2)"""
    entry = Bytes(fd.to_bytes(4, "little") + b"\1\0\0\0", f"[{fd}: POLLIN]")
    return Call("ppoll", (entry, 1, Bytes(bytes(16), "0s"), None, 0), "poll(2)")


def mkdirat(at: FdArg, path: PathArg, mode: int = 0o755) -> Call:
    """Make a directory.  :see: mkdir(2)"""
    return Call("mkdirat", (at, text(path), Labelled(mode, f"{mode:#o}")), "mkdir(2)")


def mknodat(at: FdArg, path: PathArg, mode: int, device: int = 0) -> Call:
    """Make an empty file or a device.  :see: mknod(2)"""
    return Call("mknodat", (at, text(path), Labelled(mode, f"{mode:#o}"), device), "mknod(2)")


def symlinkat(target: PathArg, at: FdArg, path: PathArg) -> Call:
    """Make a symbolic link.  :see: symlink(2)"""
    return Call("symlinkat", (text(target), at, text(path)), "symlink(2)")


def fchmodat(at: FdArg, path: PathArg, mode: int) -> Call:
    """Set permissions; the umask does not count.  :see: chmod(2)"""
    return Call("fchmodat", (at, text(path), Labelled(mode, f"{mode:#o}")), "chmod(2)")


def fstatfs(fd: FdArg, space: OutputBuffer) -> Call:
    """Ask what filesystem an open file is in: the first word of the answer is its magic number.  :see: statfs(2)"""
    return Call("fstatfs", (fd, space), "statfs(2)")


def compare(space: OutputBuffer, value: int, words: str) -> Call:
    """Succeed when the first four bytes of `space` are `value`, and fail with EAGAIN otherwise.

    The kernel compares before it moves waiters from one futex to another; here no process waits.  :see: futex(2)
    """
    return Call("futex", (space, Labelled(4 | 128, "CMP_REQUEUE|PRIVATE"), 0, 0, space, Labelled(value, words)))


def chdir(path: PathArg) -> Call:
    """Change the working directory by path.  :see: chdir(2)"""
    return Call("chdir", (text(path),))


def fchdir(fd: FdArg) -> Call:
    """Change the working directory to an open directory.  :see: chdir(2)"""
    return Call("fchdir", (fd,), "chdir(2)")


# --- mounts ------------------------------------------------------------------------------------------------------


def mount(source: PathArg | None, target: PathArg, fstype: str | None, flag: int, data: str | None = None) -> Call:
    """Make, bind, move or change a mount by path, with the classic call.  :see: mount(2)"""
    words = [None if w is None else text(w) for w in (source, target, fstype, data)]
    return Call("mount", (words[0], words[1], words[2], flags(MS, flag), words[3]))


def umount2(target: PathArg, flag: int) -> Call:
    """Take a mount away.  :see: umount(2)"""
    return Call("umount2", (text(target), flags(MNT, flag)), "umount(2)")


def pivot_root(new_root: PathArg, put_old: PathArg) -> Call:
    """Make `new_root` the root of this mount namespace and keep the old one at `put_old`.  :see: pivot_root(2)"""
    return Call("pivot_root", (text(new_root), text(put_old)))


def fsopen(fstype: str) -> Call:
    """Begin a new filesystem; the result is its configuration.  :see: fsopen(2)"""
    return Call("fsopen", (text(fstype), Labelled(1, "CLOEXEC")))


def fsconfig(fs: FdArg, command: str, key: str | None = None, value: PathArg | None = None, aux: FdArg = 0) -> Call:
    """Give the filesystem a parameter, or create it.  :see: fsconfig(2)"""
    strings = [None if w is None else text(w) for w in (key, value)]
    return Call("fsconfig", (fs, Labelled(FSCONFIG[command], command), strings[0], strings[1], aux))


def fsmount(fs: FdArg, attributes: int = 0) -> Call:
    """Make a mount of the created filesystem, attached nowhere yet.  :see: fsmount(2)"""
    return Call("fsmount", (fs, Labelled(1, "CLOEXEC"), flags(ATTR, attributes)))


def open_tree(at: FdArg, path: PathArg, flag: int) -> Call:
    """Make a copy of a mount, attached nowhere yet.  :see: open_tree(2)"""
    return Call("open_tree", (at, text(path), flags(OPEN_TREE, flag)))


def move_mount(source: FdArg, at: FdArg, path: PathArg = "") -> Call:
    """Attach a mount at a directory or file that is open already, or at `path` below it.  :see: move_mount(2)"""
    how = MOVE_MOUNT.F_EMPTY_PATH | (MOVE_MOUNT.T_EMPTY_PATH if not os.fsencode(path) else MOVE_MOUNT(0))
    return Call("move_mount", (source, b"", at, text(path), how))


def mount_setattr(
    at: FdArg, attr: int, *, recursive: bool = False, userns: Fd | Slot | None = None, propagation: int = 0, path: PathArg = "",
) -> Call:  # fmt: skip
    """Add attributes to a mount that is open, or at `path`, and with `recursive` to every mount below it, and set its propagation.

    :see: mount_setattr(2)
    """
    words = [f"set={_show(ATTR(attr))}"] + ([f"propagation={_show(MS(propagation))}"] if propagation else [])
    words += [f"userns={userns}"] if userns else []
    cleared = ATIME if attr & ATIME else 0  # one of several ways to keep access times: the kernel wants the others named
    data = int(flags(ATTR, attr)).to_bytes(8, "little") + cleared.to_bytes(8, "little") + int(propagation).to_bytes(8, "little") + bytes(8)
    words_of = {"EMPTY_PATH": AT_EMPTY_PATH if not os.fsencode(path) else 0, "RECURSIVE": AT_RECURSIVE if recursive else 0}
    how = Labelled(sum(words_of.values()), "|".join(word for word, value in words_of.items() if value) or "0")
    memory = Bytes(data, "{" + ", ".join(words) + "}", ((24, userns),) if userns else ())
    return Call("mount_setattr", (at, text(path), how, memory, 32))
