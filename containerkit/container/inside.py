"""Join a container as its program is in it: in the same namespaces, with the same privileges.

    ck.exec(process, ["ps", "-e"])                  what `docker exec` does
    ck.plan(ck.Inside(process), run=["sh"])         the same as a part

Namespaces alone are not a container: a program that only joins them has every capability there, no system call filter, and no limit.
So `Inside` takes the restrictions of the running program, and grants more only by name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from errno import EACCES, ENODEV, EPERM
from types import TracebackType

from ..cgroup.hierarchy import system
from ..core import standard_steps
from ..core.plan import Word
from ..core.process import Process
from ..core.run import Result, run
from ..core.standard_steps import SYNC, Options
from ..core.step import Part, Phase, Side, Step
from ..errors import PlanError, Unavailable
from ..linux import syscalls
from ..linux.status import ProcDirectory
from ..linux.syscalls import Call, Fd, Labelled, O
from ..parts.capabilities import AMBIENT, CAPSET, NAMES, Capabilities, drop_from_bounding, raise_ambient
from ..parts.credentials import Credentials
from ..parts.namespace import KINDS, Namespace
from ..parts.privileges import NoNewPrivileges
from ..parts.seccomp import Seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, NoReturn

    from typing_extensions import Unpack

    from ..core.coroutines import AsyncProcess
    from ..core.run import Terms

__all__ = ["Inside", "exec"]

EARLY = -10  # inside INSIDE: before a working directory of the plan's own; inside IDENTITY: before all else
SET_AGAIN = ("setgroups", "setresgid", "setresuid", "capset", "fchown")  # these calls are made anew, as the process is now
PRCTL_AGAIN = ("PR_SET_KEEPCAPS", "PR_CAPBSET_DROP", "PR_CAP_AMBIENT", "PR_SET_NO_NEW_PRIVS")
ROOT_IDS = (0, 0)


class Inside:
    """A part that puts a program where a running process is, with the same privileges.

    It joins all namespaces of the process that are not ours, its cgroup in every hierarchy, its root and its working directory.
    It takes its user, groups and capabilities, no-new-privileges, its system call filter; and of a `Process` the other steps of
    its plan before the program, such as resource limits.  A program that a user 0 runs gets no capability which that
    process does not have itself any more.

    All this is looked up when the part is made, so the process has to live then, and until the plan is spawned.  Settings that no
    process can see of another one are not taken: Landlock rules, and of a process that is no `Process` its resource limits.

    :param process: a `Process`, an `AsyncProcess`, a process id, or a pid `Namespace`, which stands for its process 1
    :param capabilities: others than its own
    :param credentials: another user than its own
    :param seccomp: another filter than its own, or "none".  Needed for the id of a process that has a filter, which cannot be read
    :param no_new_privileges: the setting in place of its own
    :raises ProcessLookupError: there is no such process any more
    :raises PermissionError: the caller may not look at it
    :raises Unavailable: it has a restriction that cannot be set again; the remedy names the argument to give
    """

    def __init__(
        self,
        process: Process | AsyncProcess | Namespace | int,
        *,
        capabilities: Capabilities | None = None,
        credentials: Credentials | None = None,
        seccomp: Seccomp | Literal["none"] | None = None,
        no_new_privileges: bool | None = None,
    ) -> None:
        self._opened: list[Namespace | _Opened] = []
        self._capabilities, self._credentials, self._seccomp = capabilities, credentials, seccomp
        target = process if isinstance(process, Process) else getattr(process, "process", process)
        self._repeated = _repeated(target, filters=seccomp is None) if isinstance(target, Process) else None
        try:
            with ProcDirectory(_pid(target)) as there, ProcDirectory(0) as here:
                self.pid, self._status, self._ours = there.pid, there.status(), here.status()
                self._look(there, here)
                self._check(there, here)
        except BaseException:
            self.close()
            raise
        self._no_new_privileges = self._status.no_new_privileges if no_new_privileges is None else no_new_privileges

    def _check(self, there: ProcDirectory, here: ProcDirectory) -> None:
        """Refuse a process with restrictions that we cannot set again."""
        if self._seccomp is None and self._repeated is None and self._status.filtered:
            remedy = "seccomp=Seccomp.default(), another filter, or seccomp='none'; or a Process of a plan instead of a number"
            raise Unavailable(f"the system call filter of process {self.pid}", probed="Seccomp in /proc/PID/status", remedy=remedy)
        if (label := there.label()) not in ("", here.label()):
            probed = f"/proc/PID/attr/current says {label}, ours {here.label()}"
            raise Unavailable(f"the security label of process {self.pid}", probed=probed, remedy="enter it with the tool that made it")

    def _look(self, there: ProcDirectory, here: ProcDirectory) -> None:
        self._namespaces: list[Namespace] = []
        for kind in KINDS:
            if (fd := there.namespace(kind)) >= 0:
                found = Namespace(fd)
                self._opened.append(found)
                with Namespace(here.namespace(kind)) as ours:
                    self._namespaces += [found] if found != ours else []
        kinds = {namespace.kind for namespace in self._namespaces}
        self._uids, self._gids = there.ids("uid"), there.ids("gid")
        self._root = self._keep(there.open("root", O.PATH | O.DIRECTORY)) if "mnt" in kinds or not there.same("root", here) else None
        self._cwd = there.working_directory() if self._root else None
        self._doors = [self._keep(os.open(path, os.O_WRONLY | os.O_CLOEXEC)) for path in _doors(there, here)]
        self._joins_user, self._may_set_groups = "user" in kinds, there.may_set_groups()

    def _keep(self, fd: int) -> _Opened:
        self._opened.append(_Opened(fd))
        return self._opened[-1]  # type: ignore[return-value]

    # --- as a part -----------------------------------------------------------------------------------------------

    def steps(self) -> Iterator[Step]:
        for namespace in self._namespaces:
            yield from namespace.become(*self._first_ids()).steps() if namespace.kind == "user" else namespace.steps()
        for door in self._doors:
            yield from _enter(door)
        yield from self._place()
        yield from self._walls()

    def _place(self) -> Iterator[Step]:
        if not self._root:
            return
        root = Fd("root", self._root)
        yield Step.child(Phase.INSIDE, syscalls.fchdir(root), why=f"the root of process {self.pid}", order=EARLY)
        yield Step.child(Phase.INSIDE, Call("chroot", (b".",)), why="is the root here too", order=EARLY, hint=_CHROOT_HINT)
        yield Step.child(Phase.INSIDE, syscalls.close(root), why="and let it go", order=EARLY)
        for number, step in enumerate(standard_steps.working_directory(Options(cwd=self._cwd))):
            yield step.with_(order=EARLY, claims="" if number else "working directory")

    def _walls(self) -> Iterator[Step]:
        yield from self._repeated or ()
        yield from self._ids()
        yield from self._capabilities.steps() if self._capabilities else self._same_capabilities()
        if self._no_new_privileges:
            yield from NoNewPrivileges().steps()
        if isinstance(self._seccomp, Seccomp):
            yield from self._seccomp.steps()

    # --- who it is -----------------------------------------------------------------------------------------------

    def _wanted(self) -> Credentials:
        """Return the process's user and groups, by their numbers inside."""
        if self._credentials:
            return self._credentials
        uid, gid = _inside(self._uids, self._status.uid, "user", self.pid), _inside(self._gids, self._status.gid, "group", self.pid)
        groups = [found for group in self._status.groups if (found := _found(self._gids, group)) is not None]
        return Credentials(uid, gid, tuple(groups) if self._may_set_groups else ())

    def _first_ids(self) -> tuple[int, int]:
        """Return the user who joins the user namespace: its root, with the rights for the rest; without one, the process's own user."""
        wanted = self._wanted()
        rooted = any(first == 0 for first, _, _ in self._uids) and any(first == 0 for first, _, _ in self._gids)
        return ROOT_IDS if rooted else (wanted.uid, wanted.gid)

    def _ids(self) -> Iterator[Step]:
        wanted = self._wanted()
        ours = self._ours
        now = Credentials(*self._first_ids()) if self._joins_user else Credentials(ours.uid, ours.gid, ours.groups)
        if wanted == now:
            return
        for step in wanted.steps():
            if step.call.name != "setgroups" or self._may_set_groups:
                yield step

    def _same_capabilities(self) -> Iterator[Step]:
        """Yield steps that keep the process's capabilities.  An exec gives user 0 the whole bounding set, so shrink that set for it."""
        has, root = self._status.capabilities, self._wanted().uid == 0
        bounding = has["Bnd"] & has["Prm"] if root else has["Bnd"]
        permitted, inheritable = has["Prm"], has["Inh"] & (has["Prm"] if root else ~0)
        yield from drop_from_bounding(bounding, None if self._joins_user else self._ours.capabilities["Bnd"])
        clear = syscalls.prctl("CAP_AMBIENT", Labelled(4, "PR_CAP_AMBIENT_CLEAR_ALL"))
        yield Step.child(Phase.DROP, clear, why="no capability passes to programs of ordinary users", order=CAPSET)
        names = ", ".join(name for number, name in enumerate(NAMES) if permitted >> number & 1)
        call = syscalls.capset(permitted, permitted, inheritable)
        why, hint = f"keep {names or 'no capability'}, as process {self.pid}", {EPERM: "the caller lacks one of these capabilities"}
        yield Step.child(Phase.DROP, call, why=why, order=CAPSET, claims="capabilities", hint=hint)
        yield from raise_ambient(has["Amb"] & permitted & inheritable, AMBIENT)

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the descriptors of the namespaces and directories.  Plans that have this part cannot be spawned any more."""
        while self._opened:
            self._opened.pop().close()

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Inside holds descriptors of this process alone; send a process id, and make one there")

    def __repr__(self) -> str:
        return f"<Inside process {self.pid}>"


def exec(
    process: Process | AsyncProcess | Namespace | int,
    argv: Sequence[Word],
    *parts: Part,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    **terms: Unpack[Terms],
) -> Result:
    """Run a program where another one runs, with the same privileges, and wait for it: `docker exec` does the same.

    For more privileges than the process has, give `run` an `Inside` that names them.

    :param process: see `Inside`
    :param parts: further parts
    :param cwd: the working directory, inside; that of the process unless given
    :param terms: `timeout`, `input`, `check`, `stdout`, ...: the other parameters of `run`
    :raises Unavailable: the process has a restriction that cannot be set again
    """
    with Inside(process) as inside:
        return run(argv, inside, *parts, env=env, cwd=cwd, **terms)


class _Opened:
    """A descriptor that is closed when no object needs it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """Return the descriptor.  :raises ValueError: it was closed"""
        if self._fd < 0:
            raise ValueError("this Inside was closed")
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    __del__ = close


def _pid(target: object) -> int:
    """Return the process's id.  :raises PlanError: the target stands for no process;  :raises ProcessLookupError: it has ended"""
    if isinstance(target, Process):
        if target.poll() is not None:
            raise ProcessLookupError(3, f"process {target.pid} has ended")
        return target.pid
    if isinstance(target, Namespace):
        return _first(target)
    if isinstance(target, int) and not isinstance(target, bool) and target > 0:
        return target
    raise PlanError(f"to join: a Process, a process id, or a pid Namespace, not {target!r}")


def _first(namespace: Namespace) -> int:
    if namespace.kind != "pid":
        raise PlanError(f"of all namespaces only a pid namespace has a first process; this is a {namespace.kind} namespace")
    for pid in namespace.processes():
        with ProcDirectory(pid) as there:
            if there.status().pid_inside == 1:
                return pid
    raise ProcessLookupError(3, "this pid namespace has no process 1 in sight")


def _repeated(process: Process, *, filters: bool) -> list[Step]:
    """Return the last steps of a process's plan, without those that are read from the running process.  :param filters: its filters too"""
    steps = [step for step in process.trace.steps if step.phase is Phase.DROP and step.side is Side.CHILD and SYNC not in step.call.args]
    return [step for step in steps if not _set_again(step) and (filters or step.call.name != "seccomp")]


def _set_again(step: Step) -> bool:
    option = step.call.args[0] if step.call.args else None
    return step.call.name in SET_AGAIN or (step.call.name == "prctl" and isinstance(option, Labelled) and option.words in PRCTL_AGAIN)


def _enter(door: _Opened) -> Iterator[Step]:
    fd = Fd(f"cgroup.procs {door.fileno()}", door)
    hint = {EACCES: "moving a process wants write access to the cgroup", ENODEV: "the cgroup was removed meanwhile"}
    yield Step.child(Phase.IDENTITY, syscalls.write(fd, b"0"), why="join its cgroup", at_least=1, hint=hint, order=EARLY)
    yield Step.child(Phase.IDENTITY, syscalls.close(fd), why="and let it go", order=EARLY)


def _doors(there: ProcDirectory, here: ProcDirectory) -> Iterator[str]:
    """Yield the files through which one joins its cgroups, where they are not ours.  :raises Unavailable: one is out of sight"""
    theirs, ours = there.cgroups(), here.cgroups()
    for controllers, path in theirs.items():
        if path == ours.get(controllers):
            continue
        names = set(controllers.split(",")) - {""}
        for hierarchy in system().hierarchies:
            if (hierarchy.version == 2 and not names) or (hierarchy.version == 1 and names & _v1_names(hierarchy.controllers)):
                inside = os.path.relpath(path, hierarchy.root)
                if not inside.startswith(".."):
                    yield os.path.join(hierarchy.mount, inside, "cgroup.procs")
                    break
        else:
            remedy = "mount that hierarchy below /sys/fs/cgroup, or begin outside of this cgroup namespace"
            raise Unavailable(f"the cgroup {path} of {controllers or 'v2'}", probed="/proc/self/mountinfo", remedy=remedy)


def _v1_names(controllers: frozenset[str]) -> set[str]:
    return {*controllers, *({"blkio"} if "io" in controllers else ())}


def _found(ranges: Sequence[tuple[int, int, int]], outside: int) -> int | None:
    return next((first + outside - out for first, out, count in ranges if out <= outside < out + count), None)


def _inside(ranges: Sequence[tuple[int, int, int]], outside: int, what: str, pid: int) -> int:
    if (found := _found(ranges, outside)) is None:
        probed = f"/proc/{pid}/status says {outside}, which its user namespace does not map"
        raise Unavailable(f"the {what} of process {pid}", probed=probed, remedy="credentials=Credentials(uid, gid)")
    return found


_CHROOT_HINT = {EPERM: "taking another root needs CAP_SYS_CHROOT in the user namespace of the process"}
