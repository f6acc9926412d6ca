"""Folding: from parts, in any order, to one timeline with two actors.

What a caller writes is a bag of parts.  What the kernel needs is an order.  `fold` makes the second from the first:
it checks that nothing is claimed twice and nothing is missing, sorts by phase, turns all clone contributions into one
call, decides where the child must be an image of its own, numbers the file descriptors, and puts a handshake at every
change of side.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from . import syscalls
from .errors import PlanError
from .step import Part, Phase, Side, Step
from .syscalls import AT_EMPTY_PATH, CLONE, Bytes, Call, Fd, Field, Shown, Slot, Space, Strings

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND = frozenset({2, 13, 20})  # ENOENT, EACCES, ENOTDIR: execvp(3) goes on to the next directory
SYNC, IMAGE, HELPER, CALLER = Fd("sync"), Fd("image"), Fd("helper"), Fd("caller")
ROOT = Slot("root")


@dataclass(frozen=True, slots=True)
class Options:
    """What belongs to the program rather than to a part.  Documented at `containerkit.plan`."""

    run: tuple[bytes, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    die_with_parent: bool = False
    new_session: bool = True
    share_memory: bool = True
    redirected: frozenset[int] = frozenset()
    passed: frozenset[int] = frozenset()
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that will happen, in order.

    :ivar steps: the parent's and the child's steps, handshakes included
    :ivar inputs: file descriptors the child gets: its number there -> who provides it
    :ivar autopsy: what the child looks at after a failed exec
    """

    steps: tuple[Step, ...]
    inputs: Mapping[int, Fd]
    autopsy: tuple[Step, ...] = ()

    @property
    def needs_sync(self) -> bool:
        return SYNC in self.inputs.values()

    @property
    def needs_image(self) -> bool:
        return IMAGE in self.inputs.values()


def flatten(parts: Iterable[Part]) -> list[Step]:
    """All steps of all parts, each with the name of the part that asked for it.  Raises PlanError for what is no part."""
    steps = []
    for part in parts:
        if not isinstance(part, Part) or isinstance(part, type):
            raise PlanError(f"{part!r} is not a part: it has no steps()" + (", did you forget the ()?" if isinstance(part, type) else ""))
        steps += [step if step.part else step.with_(part=part_name(part)) for step in part.steps()]
    return steps


def part_name(part: object) -> str:
    """`ns.Pid` for ours, `Nice` for a user's own."""
    kind = type(part)
    module = kind.__module__
    if not module.startswith("containerkit."):
        return kind.__name__
    last = module.rpartition(".")[2]
    return kind.__name__ if last == kind.__name__.lower() else f"{last}.{kind.__name__}"


def settle(steps: Iterable[Step]) -> list[Step]:
    """The steps that apply, in order.  Raises PlanError for a thing claimed twice or needed and missing."""
    steps = list(steps)
    sure = _present(s for s in steps if not s.only_with)
    kept = [s for s in steps if not s.only_with or s.only_with in sure]
    claimed: dict[str, Step] = {}
    for step in (s for s in kept if s.claims):
        if step.claims in claimed:
            raise PlanError(f"two parts claim the {step.claims}: {claimed[step.claims].part} and {step.part}")
        claimed[step.claims] = step
    present = _present(kept)
    for step in kept:
        if missing := step.needs - present:
            raise PlanError(
                f"{step.part} needs a {sorted(missing)[0]} in the same plan, to {step.why}: add {_REMEDIES.get(sorted(missing)[0], 'it')}"
            )
    return sorted(kept, key=lambda s: (s.phase, s.order))


_REMEDIES = {"new mnt namespace": "ns.Mount()"}


def _present(steps: Iterable[Step]) -> set[str]:
    steps = [s for s in steps if s.claims]
    return {s.claims for s in steps} | {f"new {s.claims}" for s in steps if not s.joins}


def fold(steps: Iterable[Step], options: Options) -> Timeline:
    """The timeline of a plan's flattened steps.  Touches nothing and needs no privilege.  Raises PlanError for a contradiction."""
    steps = settle(steps)
    made = [s for s in steps if s.phase is Phase.CLONE and s.call.name == "clone3"]
    others = [s for s in steps if s not in made]
    apart = not options.share_memory or any(s.helper == "join" for s in others)
    _check_pid_one(made, others)
    timeline = _Fold(options, made, apart)
    return timeline.fold(others)


def _check_pid_one(made: Sequence[Step], others: Sequence[Step]) -> None:
    joined = [s for s in others if s.joins == CLONE.NEWPID]
    if joined and any(s.helper == "init" for s in others):
        raise PlanError("an init is pid 1 of a namespace, but this plan joins a pid namespace that has one")


class _Fold:
    """One folding under way."""

    def __init__(self, options: Options, made: Sequence[Step], apart: bool) -> None:
        self.options, self.made, self.apart = options, made, apart

    def fold(self, steps: list[Step]) -> Timeline:
        before = [s for s in steps if s.side is Side.PARENT and s.phase < Phase.CLONE]
        rest = [s for s in steps if s not in before]
        joins = sorted((s for s in rest if s.joins), key=lambda s: s.joins != CLONE.NEWUSER)
        body = [s for s in rest if not s.joins and s.phase < Phase.EXEC]
        last = [s for s in rest if not s.joins and s.phase is Phase.EXEC]
        body = sorted([*self._session(), *body, *self._inside(rest)], key=lambda s: (s.phase, s.order))
        body = [*joins, *self._fork(joins), *_with_root(body)]
        exec_steps = self._exec(last)
        child = [*(self._become_helper("join", guarded=bool(joins)) if self.apart else ()), *body, *exec_steps]
        child = _with_handshakes(child)
        inputs = self._inputs([*before, *child])
        steps = [*before, self._clone(child), *self._stdio(inputs), *child]
        numbered = tuple(_numbered(s, inputs) for s in steps)
        return Timeline(numbered, inputs, _autopsy(numbered))

    def _clone(self, child: Sequence[Step]) -> Step:
        alone = not any(s.side is Side.PARENT for s in child)
        flags = CLONE.VM | CLONE.PIDFD | CLONE.CHILD_CLEARTID | CLONE.CLEAR_SIGHAND
        flags |= CLONE.VFORK if alone or self.apart else CLONE(0)
        cgroup = [s.call.args[1] for s in self.made if len(s.call.args) > 1]
        flags |= CLONE.INTO_CGROUP if cgroup else CLONE(0)
        if not self.apart:
            flags |= self._made_flags()
        call = syscalls.clone3(flags, cgroup[0] if cgroup else None)  # type: ignore[arg-type]
        return Step.parent(Phase.CLONE, call, why=self._clone_why(), hint=_CLONE_HINTS, part=_names(self.made))

    def _clone_why(self) -> str:
        if self.apart:
            return "a new process, which will be an image of its own before it meets anybody"
        whys = [s.why for s in self.made if s.why]
        return "a new process" + (" in " + ", ".join(whys) if whys else "")

    def _made_flags(self) -> CLONE:
        flags = CLONE(0)
        for step in self.made:
            value = step.call.args[0]
            flags |= CLONE(value) if isinstance(value, int) else CLONE(0)
        return flags & ~CLONE.INTO_CGROUP

    def _fork(self, joins: Sequence[Step]) -> list[Step]:
        """In an image of its own, the namespaces are made (and a joined pid namespace entered) by one more clone."""
        flags = self._made_flags()
        if not self.apart or not (flags or any(s.joins == CLONE.NEWPID for s in joins) or not self.options.share_memory):
            return []
        flags |= CLONE.PARENT | CLONE.PARENT_SETTID
        data = bytearray(88)
        data[0:8] = flags.to_bytes(8, "little")
        shown = syscalls.clone3(flags)
        call = Call("clone3", (Bytes(bytes(data), str(shown)[7:-1], ((24, Field("forked")),)), 88), "clone(2)")
        why = "the caller's child proper" + (": " + ", ".join(s.why for s in self.made if s.why) if self.made else "")
        return [Step.child(Phase.IDENTITY, call, why=why, hint=_CLONE_HINTS, at_most=0, part=_names(self.made))]

    def _stdio(self, inputs: Mapping[int, Fd]) -> list[Step]:
        """The file descriptors asked for, under their numbers; every other one is closed.

        The plan's own outlive an exec only when that is the helper's, which goes on with the plan.
        """
        steps, helped = [], HELPER in inputs.values()
        for number, source in inputs.items():
            keep = number in self.options.redirected | self.options.passed or (helped and source != HELPER)
            call = syscalls.dup3(Slot(f"caller.{source.name}"), number, 0 if keep else syscalls.O.CLOEXEC)
            steps.append(Step.child(Phase.CLONE, call, why=f"{source.name} becomes {number}"))
        kept = sorted({0, 1, 2, *inputs})
        gaps = [(a + 1, b - 1) for a, b in itertools.pairwise(kept) if b > a + 1] + [(kept[-1] + 1, 0xFFFFFFFF)]
        why = "nothing else of the caller's stays open"
        return steps + [Step.child(Phase.CLONE, syscalls.close_range(*gap), why=why) for gap in gaps]

    def _become_helper(self, kind: str, *, guarded: bool = True) -> list[Step]:
        """`guarded` where others are.  In new namespaces nobody is, and a user's own files in /proc would be out of its reach."""
        phase = Phase.CLONE if kind == "join" else Phase.EXEC
        why = "leave the caller's memory before joining others" if kind == "join" else "pid 1 is an image of its own"
        argv = Strings((b"ck-helper", b"IMAGE", b"SIZE"), deferred=True)
        run = Call("execveat", (HELPER, b"", argv, Strings(()), Shown(AT_EMPTY_PATH, "EMPTY_PATH")))
        own = syscalls.Call("mmap", (0, Shown(0, "SIZE"), Shown(3, "READ|WRITE"), Shown(1, "SHARED"), IMAGE, 0))
        guard = "nobody without rights over the caller's namespace may trace this"
        steps = [(run, why), (own, "go on with the plan where it stopped"),
                 *([(syscalls.prctl("SET_DUMPABLE", 0), guard)] if guarded else []),
                 (syscalls.close(IMAGE), "nobody else gets at the plan")]  # fmt: skip
        hint = {13: "the memfd may not be executed here: see sysctl vm.memfd_noexec"}
        return [Step.child(phase, call, why=w, hint=hint if call is run else "") for call, w in steps]

    def _session(self) -> list[Step]:
        steps = []
        if self.options.new_session or self.options.terminal:
            why = "no terminal of the caller's to type into"
            steps.append(Step.child(Phase.IDENTITY, syscalls.setsid(), why=why))
        if self.options.terminal:
            call = syscalls.ioctl(0, 0x540E, 0, shown="TIOCSCTTY")
            steps.append(Step.child(Phase.IDENTITY, call, why="the pseudo-terminal becomes the session's own"))
        return steps

    def _inside(self, steps: Sequence[Step]) -> list[Step]:
        """The working directory, never outside the root: a link through /proc to a descriptor is refused."""
        cwd = self.options.cwd
        if cwd is None:
            return []
        flag, how = syscalls.O.PATH | syscalls.O.DIRECTORY | syscalls.O.CLOEXEC, syscalls.RESOLVE.NO_MAGICLINKS
        hint = {2: f"there is no directory {cwd} in the root", 40: "a link on the way leads through /proc/PID/fd or in a circle"}
        here = Slot("cwd")
        return [
            Step.child(
                Phase.INSIDE, syscalls.openat2(syscalls.AT_FDCWD, cwd, flag, how), why="the working directory", hint=hint, save=here
            ),
            Step.child(Phase.INSIDE, syscalls.fchdir(here), why="work there"),
            Step.child(Phase.INSIDE, syscalls.close(here), why="and let it go"),
        ]

    def _exec(self, last: list[Step]) -> list[Step]:
        reset = [Step.child(Phase.EXEC, _default_action(n), why=f"{n.name}, which Python ignores, acts as usual again")
                 for n in (signal.SIGPIPE, signal.SIGXFSZ)]  # fmt: skip
        inits = [s for s in last if s.helper == "init"]
        steps = [*(s for s in last if s.helper != "init"), *reset]
        if inits and not self.apart:
            steps += self._become_helper("init")
        if inits or self.apart:
            first = max({2, *self.options.redirected, *self.options.passed}) + 1
            call = syscalls.close_range(first, flag=syscalls.CLOSE_RANGE.CLOEXEC)
            steps.append(Step.child(Phase.EXEC, call, why="the program gets none of the plan's own descriptors"))
        if self.options.die_with_parent:
            steps += _die_with_parent()
        mask = Call("rt_sigprocmask", (Shown(signal.SIG_SETMASK, "SETMASK"), Field("sigmask"), None, 8), "sigprocmask(2)")
        why = "signals arrive again as they did for the caller"
        steps = [*steps, *inits, Step.child(Phase.EXEC, mask, why=why)]
        return [*(s if s.hint else s.with_(hint=_FILTERED) for s in steps), *_program(self.options)]

    def _inputs(self, steps: Sequence[Step]) -> dict[int, Fd]:
        stdio = {0: Fd("stdin"), 1: Fd("stdout"), 2: Fd("stderr")}
        inputs = {n: f for n, f in stdio.items() if n in self.options.redirected}
        inputs |= {n: Fd(f"fd{n}") for n in sorted(self.options.passed) if n > 2}
        number = max({2, *inputs}) + 1
        saved: set[Slot] = set()
        for step in steps:
            if step.side is Side.PARENT:
                saved |= {step.save} if step.save else set()
                continue
            for source in _wanted(step, saved):
                if source not in inputs.values():
                    inputs[number] = source
                    number += 1
        if IMAGE in inputs.values() and SYNC not in inputs.values():
            inputs[number] = SYNC  # the helper's exec must not look like the program's: its end of this stays open
        return inputs


def _wanted(step: Step, saved: set[Slot]) -> list[Fd]:
    """What a child's step uses of the caller's: descriptors, and results that the parent's steps saved."""
    wanted = []
    for arg in step.call.args:
        wanted += [arg] if isinstance(arg, Fd) else []
        wanted += [Fd(arg.name)] if isinstance(arg, Slot) and arg in saved else []
        wanted += [w for _, w in arg.words if isinstance(w, Fd)] if isinstance(arg, Bytes) else []
    return wanted


def _numbered(step: Step, inputs: Mapping[int, Fd]) -> Step:
    """The poll for the caller's end has to name its descriptor inside a buffer: now the number is known."""
    if step.call.args != (CALLER,):
        return step
    number = next(n for n, f in inputs.items() if f == CALLER)
    return step.with_(call=syscalls.poll(number))


def _with_root(steps: list[Step]) -> list[Step]:
    """Mount targets are resolved from %root.  In a plan without a root of its own that is the host's `/`."""
    uses = [i for i, s in enumerate(steps) if ROOT in s.call.args]
    if not uses or any(s.save == ROOT for s in steps):
        return steps
    call = syscalls.openat("/", syscalls.O.PATH | syscalls.O.DIRECTORY | syscalls.O.CLOEXEC)
    first = Step.child(steps[uses[0]].phase, call, why="mounts are resolved from here", save=ROOT)
    done = Step.child(steps[uses[-1]].phase, syscalls.close(ROOT), why="and let it go")
    return [*steps[: uses[0]], first, *steps[uses[0] : uses[-1] + 1], done, *steps[uses[-1] + 1 :]]


def _with_handshakes(steps: Sequence[Step]) -> list[Step]:
    """At each change of side, who has done its part says so with one byte, and the other waits for it."""
    out: list[Step] = []
    side = Side.CHILD
    for step in steps:
        if step.side is not side:
            out.append(_say(step.phase) if side is Side.CHILD else _hear(step.phase))
            side = step.side
        out.append(step)
    return out


def _say(phase: Phase) -> Step:
    return Step.child(phase, syscalls.write(SYNC, b"."), why="handshake: the parent's turn", at_least=1)


def _hear(phase: Phase) -> Step:
    hint = "the parent ended, or gave up, before it had done its part"
    return Step.child(phase, syscalls.read(SYNC, Space(1, "sync")), why="handshake: wait for the parent", at_least=1, hint=hint)


def _default_action(number: signal.Signals) -> Call:
    action = Bytes(bytes(32), "SIG_DFL")
    return Call("rt_sigaction", (Shown(number, number.name), action, None, 8), "sigaction(2)")


def _die_with_parent() -> list[Step]:
    """The order matters: who ends after the first call is noticed by the kernel, who ended before it by the second."""
    call = Call("prctl", (Shown(1, "PR_SET_PDEATHSIG"), Shown(9, "SIGKILL")))
    gone = Call("ppoll", (CALLER,), "poll(2)")
    return [
        Step.child(Phase.EXEC, call, why="end when the thread that spawned this ends"),
        Step.child(Phase.EXEC, gone, why="unless it has ended already", at_most=0),
    ]


def _program(options: Options) -> list[Step]:
    if not options.run:
        return []
    name, env = options.run[0], options.env
    directories = [] if b"/" in name else env.get("PATH", DEFAULT_PATH).split(":")
    paths = [os.fsencode(os.path.join(d, os.fsdecode(name))) for d in directories] or [name]
    variables = [f"{k}={v}" for k, v in env.items()]
    calls = [syscalls.execve(os.fsdecode(p), [os.fsdecode(a) for a in options.run], variables) for p in paths]
    whys = ["become the program", *["or the one found here"] * (len(calls) - 1)]
    steps = [Step.child(Phase.EXEC, c, why=w, tolerates=NOT_FOUND, hint=_EXEC_HINTS) for c, w in zip(calls, whys, strict=True)]
    return [*steps[:-1], steps[-1].with_(tolerates=frozenset())]


def _autopsy(steps: Sequence[Step]) -> tuple[Step, ...]:
    """After a failed exec: is the file there?  Its first bytes name the interpreter that may be missing."""
    out: list[Step] = []
    for i, step in enumerate(s for s in steps if s.call.name == "execve"):
        fd, path = Slot("autopsy"), step.call.args[0]
        assert isinstance(path, bytes)
        call = syscalls.openat(path, syscalls.O.NONBLOCK | syscalls.O.CLOEXEC)
        out.append(Step.child(Phase.EXEC, call, why="is it there?", save=fd))
        out.append(Step.child(Phase.EXEC, syscalls.read(fd, Space(4096, f"program{i}")), why="what does it want?"))
    return tuple(out)


def _names(steps: Iterable[Step]) -> str:
    return ", ".join(dict.fromkeys(s.part for s in steps if s.part))


_CLONE_HINTS = {
    1: "making these namespaces needs CAP_SYS_ADMIN, or a user namespace made along with them (ns.User()); "
       "where ns.User() is asked for, user namespaces are switched off for this user: see containerkit doctor",
    11: "no more processes for this user, or in this cgroup (RLIMIT_NPROC, pids.max, kernel.pid_max)",
    22: "this kernel does not know one of the flags",
    28: "a limit on namespaces is reached: see /proc/sys/user/max_*_namespaces",
    87: "a limit on namespaces is reached: see /proc/sys/user/max_*_namespaces",
    16: "the cgroup holds controllers for its children (no-internal-process rule): use a leaf",
}  # fmt: skip
_FILTERED = {1: "a seccomp filter, of this plan or of the caller, refuses a call that the plan still has to make"}
_EXEC_HINTS = {
    1: "a seccomp filter, of this plan or of the caller, refuses execve; or a security module does",
    2: "no such program in this root",
    13: "the file is not executable for this user, or its mount is noexec",
    8: "not a program: neither ELF nor a script that begins with #!",
    7: "arguments and environment are longer than the kernel takes",
    20: "a part of the path is not a directory",
    40: "too many links on the way to the program",
}
