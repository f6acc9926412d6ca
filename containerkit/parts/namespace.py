"""An existing namespace as a value: equal when the kernel says so, joined when it is a part of a plan.

`ns.Net()` asks for a new namespace; `Namespace.of(pid, "net")` is one that exists.  A namespace lives as long as a process is in it, or
holds a descriptor of it, or a file pins it.  This object holds a descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterable
from types import TracebackType

from ..base import checks
from ..base.frozen import frozen
from ..base.pickling import OneProcess
from ..core import mounting
from ..core.step import Part, Phase, Step
from ..core.timeline import OWN_IDS
from ..errors import PlanError, Unavailable
from ..linux import native, procfs, syscalls
from ..linux.ids import has_own_ids
from ..linux.syscalls import CLONE, MNT, MS, Call, Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, TypeVar

    T = TypeVar("T")

__all__ = ["KINDS", "Namespace"]

#: The kinds of namespaces, by their names under /proc/PID/ns, with the clone flag that makes one.
KINDS = {
    "user": CLONE.NEWUSER, "mnt": CLONE.NEWNS, "pid": CLONE.NEWPID, "net": CLONE.NEWNET,
    "ipc": CLONE.NEWIPC, "uts": CLONE.NEWUTS, "cgroup": CLONE.NEWCGROUP, "time": CLONE.NEWTIME,
}  # fmt: skip
NS_GET_USERNS, NS_GET_PARENT, NS_GET_NSTYPE, NS_GET_OWNER_UID = 0xB701, 0xB702, 0xB703, 0xB704
OWN_MEMORY = frozenset({"user", "mnt", "pid", "time"})
"""The kinds that a process must not join while it shares the caller's memory, or that the kernel then refuses."""

REFUSED = {
    "user": "setns(2) refuses it to processes with threads",
    "mnt": "an import inside would run files of that namespace with the caller's rights",
    "pid": "setns(2) changes it for children only",
    "time": "setns(2) refuses it to processes with threads",
}
REMEDY = "spawn a plan with this namespace in it"


def _flag(kind: str) -> CLONE:
    if kind not in KINDS:
        raise PlanError(f"no such kind of namespace: {kind!r}; known: {', '.join(KINDS)}")
    return KINDS[kind]


class Namespace(OneProcess):
    """A namespace that exists.  In a plan it is joined.  As a context manager it closes its descriptor at the end.

    :ivar kind: "user", "mnt", "pid", "net", "ipc", "uts", "cgroup" or "time"
    """

    stays = "its descriptor is open in this process alone; send a process id or a path, and take Namespace.of() or at() there"

    def __init__(self, fd: int) -> None:
        """Take over a descriptor.

        :param fd: an open file of /proc/PID/ns, or a pinned one
        """
        self._fd = fd
        try:
            flag = fcntl.ioctl(fd, NS_GET_NSTYPE)
        except OSError:
            os.close(fd)
            self._fd = -1
            raise PlanError("this file is no namespace") from None
        self.kind = next(kind for kind, value in KINDS.items() if value == flag)

    @classmethod
    def of(cls, pid: int, kind: str) -> Namespace:
        """Return the namespace of a kind that a process is in.

        :param pid: a process id, or 0 for this thread
        :raises ProcessLookupError: no such process
        :raises PermissionError: the caller may not inspect that process
        :raises Unavailable: /proc is no procfs, or that of another pid namespace
        """
        _flag(kind)
        checks.number(pid, "pid")
        who = str(pid) if pid else "thread-self"
        with procfs.proven(of_this_pid_namespace=bool(pid)) as proc:
            try:
                links = procfs.directory(proc, f"{who}/ns")
            except FileNotFoundError:
                raise ProcessLookupError(errno.ESRCH, f"no process {pid}") from None
            try:
                return cls(os.open(kind, os.O_RDONLY | os.O_CLOEXEC, dir_fd=links))
            except FileNotFoundError:
                if os.access(f"self/ns/{kind}", os.F_OK, dir_fd=proc, follow_symlinks=False):
                    raise ProcessLookupError(errno.ESRCH, f"no process {pid}") from None
                raise Unavailable(f"{kind} namespaces", probed=f"/proc/{who}/ns/{kind}", remedy="a kernel built with them") from None
            finally:
                os.close(links)

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> Namespace:
        """Return the namespace pinned at a path.

        :raises PlanError: the file at the path is no namespace
        """
        return cls(os.open(checks.path(path, "a namespace's path"), os.O_RDONLY | os.O_CLOEXEC))

    @classmethod
    def new(cls, kind: str) -> Namespace:
        """Make a namespace without a process in it.  Only this object keeps it alive.

        :raises Unavailable: a namespace of this kind needs a process in it to live
        :raises OSError: the kernel refuses
        """
        flag = _flag(kind)
        if kind in ("user", "pid", "time"):
            remedy = f"spawn a plan with ns.{kind.title()}() and take Namespace.of(process.pid, {kind!r})"
            raise Unavailable(f"a {kind} namespace without a process in it", remedy=remedy)

        def make() -> Namespace:
            native.call("unshare", flag)
            return cls.of(0, kind)

        return _in_thread(make)

    # --- properties ----------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the descriptor that keeps the namespace alive.

        :raises ValueError: the namespace was closed
        """
        if self._fd < 0:
            raise ValueError("this Namespace was closed")
        return self._fd

    @property
    def inode(self) -> int:
        """The number that /proc/PID/ns shows in brackets."""
        return os.fstat(self.fileno()).st_ino

    @property
    def owner(self) -> Namespace:
        """The user namespace that owns this one: its root has power over it.

        :see: ioctl_ns(2)
        """
        return Namespace(fcntl.ioctl(self.fileno(), NS_GET_USERNS))

    @property
    def owner_uid(self) -> int:
        """The user id of the process that made this user namespace.

        :raises OSError: the namespace is of another kind
        """
        answer = bytearray(4)
        fcntl.ioctl(self.fileno(), NS_GET_OWNER_UID, answer)
        return int.from_bytes(answer, "little")

    @property
    def parent(self) -> Namespace | None:
        """The parent of a user or pid namespace; None when the caller may not see it.

        :raises PlanError: the namespace is of another kind, which has no parents
        :see: ioctl_ns(2)
        """
        if self.kind not in ("user", "pid"):
            raise PlanError(f"{self.kind} namespaces have no parent: only user and pid namespaces are nested")
        try:
            return Namespace(fcntl.ioctl(self.fileno(), NS_GET_PARENT))
        except PermissionError:
            return None

    def _key(self) -> tuple[int, int]:
        status = os.fstat(self.fileno())
        return status.st_dev, status.st_ino

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Namespace) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def processes(self) -> list[int]:
        """Return the ids of the processes in the namespace, as far as the caller may inspect them."""
        key, found = self._key(), []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                status = os.stat(f"/proc/{name}/ns/{self.kind}")
                found += [int(name)] if (status.st_dev, status.st_ino) == key else []
        return sorted(found)

    # --- using it ------------------------------------------------------------------------------------------------

    def become(self, uid: int, gid: int) -> Part:
        """Return a part that joins this user namespace as a user other than its root.

        :raises PlanError: the namespace is of another kind
        """
        if self.kind != "user":
            raise PlanError(f"only a user namespace has users to become, not a {self.kind} namespace")
        return _As(self, uid, gid)

    def steps(self, uid: int = 0, gid: int = 0) -> Iterable[Step]:
        """Join the namespace; a user namespace as its root, see `become`."""
        flag = KINDS[self.kind]
        hint = {errno.EPERM: "joining needs CAP_SYS_ADMIN over it: join the user namespace that owns it in the same plan",
                errno.EINVAL: "the caller's kernel or thread cannot join this one"}  # fmt: skip
        name = f"{self.kind} namespace {self.inode}"
        helper: Literal["", "join"] = "join" if self.kind in OWN_MEMORY else ""
        more = {"joins": int(flag), "claims": f"{self.kind} namespace", "helper": helper, "hint": hint, "part": f"Namespace {self.kind}"}
        yield Step.child(Phase.IDENTITY, syscalls.setns(Fd(name, self), flag), why=f"join the {name}", **more)
        if self.kind == "user":
            yield from _become(uid, gid)
            if has_own_ids():
                yield from self._show(name)

    def _show(self, name: str) -> Iterable[Step]:
        """Keep the namespace's id map, so that a caller who is root of the machine can show the root's files through it."""
        why = "the joined namespace's map shows the files of the root"
        call = Call("dup", (Fd(name, self),))
        yield Step.parent(Phase.IDENTITY, call, why=why, save=mounting.IDS, only_with=str(mounting.IDS), order=mounting.TAKE)

    def call(self, function: Callable[[], T]) -> T:
        """Run a Python function inside, in a thread of its own, and return its result.

        The caller's thread stays in its namespaces.  An exception of the function is raised in the caller's thread.

        :raises Unavailable: a thread cannot enter a user, time or pid namespace, and must not enter a mount namespace,
            because an import inside would run foreign files: spawn a plan instead
        """
        if self.kind in OWN_MEMORY:
            raise Unavailable(f"a thread of this process in another {self.kind} namespace", probed=REFUSED[self.kind], remedy=REMEDY)

        def enter() -> T:
            native.call("setns", self.fileno(), KINDS[self.kind])
            return function()

        return _in_thread(enter)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Keep the namespace alive by a bind mount at `path`, which must not exist yet.

        :raises FileExistsError: a file exists already
        :raises PermissionError: mounting needs privilege
        :see: ip-netns(8)
        """
        with procfs.proven():  # the mount's source is a path below /proc
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
        try:
            native.call("mount", f"/proc/self/fd/{self.fileno()}\0".encode(), os.fsencode(path) + b"\0", 0, MS.BIND)
        except OSError:
            os.unlink(path)
            raise

    @staticmethod
    def unpin(path: str | os.PathLike[str]) -> None:
        """Remove the bind mount at `path`, and the file.

        :raises PlanError: no namespace is pinned there
        """
        Namespace.at(path).close()
        native.call("umount2", os.fsencode(path) + b"\0", MNT.DETACH | MNT.UMOUNT_NOFOLLOW)
        os.unlink(path)

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def __repr__(self) -> str:
        return f"<Namespace {self.kind}:[{self.inode}]>" if self._fd >= 0 else f"<Namespace {self.kind}, closed>"


@frozen
class _As:
    """A user namespace, joined as one of its users."""

    namespace: Namespace
    uid: int
    gid: int

    def steps(self) -> Iterable[Step]:
        return self.namespace.steps(self.uid, self.gid)


def _become(uid: int, gid: int) -> Iterable[Step]:
    """Yield the steps that take on ids of a joined user namespace.

    A process that joins a user namespace gets its capabilities but keeps its outside ids, which must not stay.  The caller's groups
    stay where the namespace denies setgroups(2), as one made by an unprivileged user does.
    """
    why = "drop the caller's groups, which may have access to files inside"
    claims = OWN_IDS if has_own_ids() else ""  # the map may be the caller's own, and then the files show unchanged
    more: dict[str, Any] = {"helper": "join", "order": mounting.BECOME}
    yield Step.child(Phase.IDENTITY, syscalls.setgroups(()), why=why, tolerates={errno.EPERM}, claims=claims, **more)
    for call, number in ((syscalls.setresgid(gid), gid), (syscalls.setresuid(uid), uid)):
        hint = {
            errno.EINVAL: f"{number} is not mapped in this user namespace: join it with become(uid, gid)",
            errno.EPERM: f"the caller may not take on {number}",
        }
        yield Step.child(Phase.IDENTITY, call, why="take on the id asked for, inside", hint=hint, **more)


def _in_thread(function: Callable[[], T]) -> T:
    """Run a function in a thread that ends with it, so that its changes to the thread end too."""
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name="containerkit namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
