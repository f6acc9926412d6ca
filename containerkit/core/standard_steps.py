"""The steps that every plan has, independent of its parts: descriptors, session, working directory, exec.

Here are also the two points where the child leaves the caller's memory, and the handshakes between the two actors.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Hashable, Mapping, Sequence
from errno import E2BIG, EACCES, ELOOP, ENOENT, ENOEXEC, ENOTDIR, EPERM, EPIPE, ETOOMANYREFS

from ..base.frozen import field, frozen
from ..errors import Unavailable
from ..linux import procfs, syscalls
from ..linux.facts import ask
from ..linux.syscalls import AT_EMPTY_PATH, Bytes, Call, Fd, HeaderAddress, Labelled, OutputBuffer, Slot, Strings
from .remembered import Inexact, exact
from .step import Phase, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND = frozenset({ENOENT, EACCES, ENOTDIR})  # execvp(3) goes on to the next directory
NONE: frozenset[int] = frozenset()
AT_ONCE = syscalls.O.NONBLOCK | syscalls.O.CLOEXEC
SYNC, PROGRAM, HELPER, CALLER = Fd("sync"), Fd("program"), Fd("helper"), Fd("caller")
GUARDIAN, OWN = Fd("guardian"), Fd("own")


@frozen(slots=False)
class Options:
    """The arguments that belong to the program rather than to a part.  Documented at `containerkit.core.plan`."""

    run: tuple[bytes, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    die_with_parent: bool = False
    new_session: bool = True
    share_memory: bool = True
    hide_executable: bool | None = None
    keep_keyring: bool = False
    redirected: frozenset[int] = frozenset()
    passed: frozenset[int] = frozenset()
    terminal: bool = False
    own_terminal: bool = False
    size: tuple[int, int] | None = None

    def changed(self, **changes: Any) -> Options:
        """Return the same, but for these."""
        made = object.__new__(Options)
        made.__dict__.update(self.__dict__, **changes)
        return made

    def way(self) -> Hashable | None:
        """Return the options that the steps before the program depend on.  None where one of them has no exact value."""
        try:
            odd = exact((self.hide_executable, self.passed, self.size))  # the other options were checked
            flags = self.die_with_parent, self.new_session, self.share_memory, self.keep_keyring, self.terminal, self.own_terminal
            return self.cwd, self.redirected, flags, odd
        except Inexact:
            return None


def descriptors(inputs: Mapping[int, Fd], options: Options) -> list[Step]:
    """Return the file descriptors asked for, under their numbers; every other one is closed.

    Internal descriptors survive exec only into the helper, which continues the plan.
    """
    steps, helped = [], HELPER in inputs.values()
    for number, source in inputs.items():
        keep = number in options.redirected | options.passed or (helped and source != HELPER)
        call = syscalls.dup3(Slot(f"caller.{source.name}"), number, 0 if keep else syscalls.O.CLOEXEC)
        steps.append(Step.child(Phase.CLONE, call, why=f"{source.name} becomes {number}"))
    kept = sorted({0, 1, 2, *inputs})
    gaps = [(a + 1, b - 1) for a, b in itertools.pairwise(kept) if b > a + 1] + [(kept[-1] + 1, 0xFFFFFFFF)]
    why = "no other descriptor of the caller's stays open"
    return steps + [Step.child(Phase.CLONE, syscalls.close_range(*gap), why=why) for gap in gaps]


_HELPER_WHYS = {
    "join": "leave the caller's memory before joining others",
    "init": "pid 1 is an image of its own",
    "hide": "/proc/self/exe is the caller's program no longer: the root may hold a link to it",
}


def become_helper(kind: str, *, guarded: bool = True) -> list[Step]:
    """Return the steps that become the helper, `guarded` against tracers.  New namespaces have none, and a guard hides /proc/self."""
    phase, why = Phase.CLONE if kind == "join" else Phase.EXEC, _HELPER_WHYS[kind]
    argv = Strings((b"ck-helper", b"PROGRAM", b"SIZE"), deferred=True)
    run = Call("execveat", (HELPER, b"", argv, Strings(()), Labelled(AT_EMPTY_PATH, "EMPTY_PATH")))
    own = syscalls.Call("mmap", (0, Labelled(0, "SIZE"), Labelled(3, "READ|WRITE"), Labelled(1, "SHARED"), PROGRAM, 0))
    guard = "no process without rights over the caller's namespace may trace this"
    steps = [(run, why), (own, "map the plan, to continue it"),
             *([(syscalls.prctl("SET_DUMPABLE", 0), guard)] if guarded else []),
             (syscalls.close(PROGRAM), "no other program gets at the plan")]  # fmt: skip
    hint = {EACCES: "the memfd may not be executed here: see sysctl vm.memfd_noexec"}
    return [Step.child(phase, call, why=w, hint=hint if call is run else "") for call, w in steps]


def session(options: Options) -> list[Step]:
    """Return a session of its own, and the pseudo-terminal as its terminal."""
    steps = []
    if options.new_session or options.terminal:
        why = "no terminal of the caller's to type into"
        steps.append(Step.child(Phase.IDENTITY, syscalls.setsid(), why=why))
    if options.terminal and not options.own_terminal:
        call = syscalls.ioctl(0, 0x540E, 0, shown="TIOCSCTTY")
        steps.append(Step.child(Phase.IDENTITY, call, why="the pseudo-terminal becomes the session's own"))
    return steps


def working_directory(options: Options) -> list[Step]:
    """Return the working directory, never outside the root: a link through /proc to a descriptor is refused."""
    cwd = options.cwd
    if cwd is None:
        return []
    flag, how = syscalls.O.PATH | syscalls.O.DIRECTORY | syscalls.O.CLOEXEC, syscalls.RESOLVE.NO_MAGICLINKS
    hint = {ENOENT: f"there is no directory {cwd} in the root", ELOOP: "a link on the way leads through /proc/PID/fd or in a circle"}
    here = Slot("cwd")
    return [
        Step.child(Phase.INSIDE, syscalls.openat2(syscalls.AT_FDCWD, cwd, flag, how), why="the working directory", hint=hint, save=here),
        Step.child(Phase.INSIDE, syscalls.fchdir(here), why="work there"),
        Step.child(Phase.INSIDE, syscalls.close(here), why="and let it go"),
    ]


def exposed(nobody: bool = False) -> bool:
    """Whether who executes /proc/self/exe as this process could go on to overwrite the file.

    :param nobody: the program has ids that own nothing here, so it may write only files that every user may write

    Until its exec a child that shares our memory *is* our program there, so a root whose program, or whose program's
    interpreter, is a link to /proc/self/exe would run the host's own file (CVE-2019-5736).
    """
    try:
        proc = procfs.opened()
    except Unavailable:  # the file cannot be looked up
        return True
    try:
        if nobody:
            return bool(os.stat("self/exe", dir_fd=proc).st_mode & 0o002)
        return os.access("self/exe", os.W_OK, dir_fd=proc, effective_ids=True)
    except FileNotFoundError:
        return True
    finally:
        os.close(proc)


def execute(last: Sequence[Step], options: Options, *, apart: bool, foreign: bool, nobody: bool = False) -> list[Step]:
    """Return the steps right before the program's own.

    :param last: the parts' steps of the phase
    :param apart: the child is the helper's image already
    :param foreign: the program comes out of a root of its own, which a stranger may have made
    :param nobody: it has ids that no user of the host has
    """
    reset = [Step.child(Phase.EXEC, _default_action(n), why=f"{n.name}, which Python ignores, acts as usual again")
             for n in (signal.SIGPIPE, signal.SIGXFSZ)]  # fmt: skip
    inits = [s for s in last if s.helper == "init"]
    if inits:
        why = "a caller may ignore its children's ends, but an init has to hear of them"
        reset.append(Step.child(Phase.EXEC, _default_action(signal.SIGCHLD), why=why))
    steps = [*(s for s in last if s.helper != "init"), *reset]
    hide = foreign and ask(exposed, nobody) if options.hide_executable is None else options.hide_executable
    helped = hide or inits
    if helped and not apart:
        steps += become_helper("init" if inits else "hide")
    if helped or apart:
        first = max({2, *options.redirected, *options.passed}) + 1
        call = syscalls.close_range(first, flag=syscalls.CLOSE_RANGE.CLOEXEC)
        steps.append(Step.child(Phase.EXEC, call, why="the program gets none of the plan's own descriptors"))
    if options.die_with_parent:
        steps += _die_with_parent()
    mask = Call("rt_sigprocmask", (Labelled(signal.SIG_SETMASK, "SETMASK"), HeaderAddress("sigmask"), None, 8), "sigprocmask(2)")
    why = "signals arrive again as they did for the caller"
    steps = [*steps, *inits, Step.child(Phase.EXEC, mask, why=why)]
    return [s if s.hint else s.with_(hint=_FILTERED) for s in steps]


def say(phase: Phase) -> Step:
    """Return the step by which the child says that its turn is over."""
    return Step.child(phase, syscalls.write(SYNC, b"."), why="handshake: the parent's turn", at_least=1)


def hear(phase: Phase) -> Step:
    """Return the step by which the child waits for the parent's turn to end."""
    hint = "the parent ended, or gave up, before it had done its part"
    return Step.child(phase, syscalls.read(SYNC, OutputBuffer(1, "sync")), why="handshake: wait for the parent", at_least=1, hint=hint)


def _default_action(number: signal.Signals) -> Call:
    action = Bytes(bytes(32), "SIG_DFL")
    return Call("rt_sigaction", (Labelled(number, number.name), action, None, 8), "sigaction(2)")


def _die_with_parent() -> list[Step]:
    """Return the steps, in this order: the kernel notices a parent that ends after the first call, the poll one that ended before it."""
    call = Call("prctl", (Labelled(1, "PR_SET_PDEATHSIG"), Labelled(9, "SIGKILL")))
    gone = Call("ppoll", (CALLER,), "poll(2)")
    return [
        Step.child(Phase.EXEC, call, why="end when the thread that spawned this ends"),
        Step.child(Phase.EXEC, gone, why="unless it has ended already", at_most=0),
    ]


def register(options: Options) -> list[Step]:
    """Return the steps that send the guardian two pidfds: of the thread that spawns, and of this child, which will be the program.

    A program can take a death signal back, but not the guardian's SIGKILL.
    """
    if not options.die_with_parent:
        return []
    pid, pidfd = Slot("own pid"), Slot("own pidfd")
    rights = (24).to_bytes(8, "little") + b"\1\0\0\0" * 2 + bytes(8)  # SOL_SOCKET, SCM_RIGHTS, two descriptors
    control = Bytes(rights, "[<caller>, <own>]", ((16, CALLER), (20, OWN)))
    part = Bytes(bytes(8) + (1).to_bytes(8, "little"), "iov", ((0, Bytes(b".", ".")),))
    size = [value.to_bytes(8, "little") for value in (1, 24)]
    header = bytes(24) + size[0] + bytes(8) + size[1] + bytes(8)
    message = Bytes(header, "{SCM_RIGHTS [<caller>, <own>]}", ((16, part), (32, control)))
    send = Call("sendmsg", (GUARDIAN, message, Labelled(0x4000, "NOSIGNAL")), "unix(7)")
    hint = {
        EPIPE: "the guardian of this process was killed a moment ago: spawn again",
        ETOOMANYREFS: "too many descriptors of this user are on their way: raise the limit of open files (RLIMIT_NOFILE)",
    }
    steps: list[tuple[Call, str, dict[str, Any]]] = [
        (Call("getpid", ()), "the child's own number, in its pid namespace", {"save": pid}),
        (Call("pidfd_open", (pid, 0)), "a descriptor of the child itself", {"save": pidfd}),
        (syscalls.dup3(pidfd, OWN, syscalls.O.CLOEXEC), "under a number that a message can name", {}),
        (send, "the guardian kills this child when the thread that spawned it has ended", {"hint": hint}),
    ]
    return [Step.child(Phase.IDENTITY, call, why=why, **more) for call, why, more in steps]


def program(options: Options) -> list[Step]:
    """Return the steps that execute the program, from the first directory that has it.  No earlier step depends on the program."""
    if not options.run:
        return []
    name, env = options.run[0], options.env
    directories = [] if b"/" in name else env.get("PATH", DEFAULT_PATH).split(":")
    paths = [os.fsencode(os.path.join(d, os.fsdecode(name))) for d in directories] or [name]
    argv, variables = Strings(options.run), Strings(tuple(syscalls.text(f"{k}={v}") for k, v in env.items()), secret=True)
    last, steps = len(paths) - 1, []
    for i, path in enumerate(paths):
        why, tolerates = "or the one found here" if i else "become the program", NOT_FOUND if i < last else NONE
        call = Call("execve", (syscalls.text(path), argv, variables))
        steps.append(Step.child(Phase.EXEC, call, why=why, tolerates=tolerates, hint=_EXEC_HINTS))
    return steps


def autopsy(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps after a failed exec, which read the file's first bytes: they name the interpreter that may be missing."""
    out: list[Step] = []
    for i, step in enumerate(s for s in steps if s.call.name == "execve"):
        fd, path = Slot("autopsy"), step.call.args[0]
        assert isinstance(path, bytes)
        call = syscalls.openat(path, AT_ONCE)
        out.append(Step.child(Phase.EXEC, call, why="is it there?", save=fd))
        out.append(Step.child(Phase.EXEC, syscalls.read(fd, OutputBuffer(4096, f"program{i}")), why="what does it want?"))
    return tuple(out)


_FILTERED = {EPERM: "a seccomp filter, of this plan or of the caller, refuses a call that the plan still has to make"}
_EXEC_HINTS = {
    EPERM: "a seccomp filter, of this plan or of the caller, refuses execve; or a security module does",
    ENOENT: "no such program in this root",
    EACCES: "the file is not executable for this user, or its mount is noexec",
    ENOEXEC: "not a program: neither ELF nor a script that begins with #!",
    E2BIG: "arguments and environment are longer than the kernel takes",
    ENOTDIR: "a part of the path is not a directory",
    ELOOP: "too many links on the way to the program",
}
