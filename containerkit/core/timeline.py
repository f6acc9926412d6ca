"""Folding: from parts, in any order, to one timeline with two actors.

A caller writes a bag of parts; the kernel needs an order.  `fold` makes the order from the bag:
it checks that nothing is claimed twice and nothing is missing, sorts by phase, turns all clone contributions into one
call, decides where the child must be an image of its own, numbers the file descriptors, and puts a handshake at every
change of side.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from errno import EACCES, EAGAIN, EBADF, EBUSY, EINVAL, ENOSPC, EPERM, EUSERS
from functools import lru_cache
from operator import attrgetter

from ..base import checks
from ..base.frozen import field, frozen, replace
from ..errors import PlanError, WrongType
from ..linux import syscalls
from ..linux.procfs import PROC
from ..linux.syscalls import CLONE, Bytes, Call, Fd, HeaderAddress, Slot
from . import standard_steps, stream_owners, terminals
from .inherited import left_behind
from .mount_targets import ROOT, needed_places, through_mounts
from .remembered import Memory, value_of
from .standard_steps import CALLER, GUARDIAN, HELPER, OWN, PROGRAM, SYNC, Options
from .step import Composite, Joined, Part, Phase, Place, RootPart, Side, Step

WHEN = attrgetter("phase", "order")


@frozen
class Timeline:
    """All steps of the plan and its program, in order.

    :ivar steps: the parent's and the child's steps, handshakes included
    :ivar inputs: file descriptors the child gets: its number there -> its source
    :ivar autopsy: the steps that look at the file after a failed exec
    :ivar asks: the names of the inputs
    :ivar own_terminal: the child opens the terminal inside, and hands the caller's end over
    :ivar owner: the user and the group that the program becomes, as the caller has them; None where that is the caller
    """

    steps: Sequence[Step]
    inputs: Mapping[int, Fd]
    autopsy: tuple[Step, ...] = ()
    owner: tuple[int, int] | None = None
    own_terminal: bool = False
    asks: frozenset[str] = field(default=frozenset(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "asks", frozenset(source.name for source in self.inputs.values()))

    @property
    def what(self) -> str:
        """The program that the plan runs, as a message names it."""
        paths = [s.call.args[0] for s in self.steps if s.call.name == "execve"]
        return os.path.basename(os.fsdecode(paths[0])) if paths and isinstance(paths[0], bytes) else "the program"

    def with_program(self, last: Sequence[Step]) -> Timeline:
        """Return the same with the program's own steps."""
        execs = [s for s in self.steps if s.call.name == "execve"] if self.autopsy else []  # of a part of the caller's own
        autopsy = standard_steps.autopsy([*execs, *last])
        return Timeline(Joined(tuple(self.steps), tuple(last)), self.inputs, autopsy, self.owner, self.own_terminal)

    @property
    def needs_sync(self) -> bool:
        return SYNC.name in self.asks

    @property
    def needs_program_file(self) -> bool:
        return PROGRAM.name in self.asks

    @property
    def changes_ids(self) -> bool:
        """Whether the child changes its ids; where it shares the caller's memory, the kernel then forbids tracing either of them."""
        return any(s.side is Side.CHILD and s.call.name in ("setresuid", "setresgid") for s in self.steps)


def leaves(parts: Iterable[Part]) -> Iterator[tuple[Part, Sequence[Step]]]:
    """Yield the parts with their steps, each of which has the name of its part; those of plans instead of the plans.

    A root comes without steps: it must first know the files and directories that the others need in it.

    :raises PlanError: an object is no part
    """
    for part in parts:
        _check(part)
        kind = _kind(type(part))
        if kind is Composite:
            yield from part.leaves()  # type: ignore[attr-defined]
        else:
            yield part, () if kind is RootPart else _steps_of(part)


def _check(part: object) -> None:
    """Check a part.  :raises WrongType: it is no part"""
    if isinstance(part, type) or _kind(type(part)) is None:  # type: ignore[arg-type]
        raise WrongType(f"{checks.said(part)} is not a part: it has no steps()" + _meant(part))


def _steps_of(part: Part) -> Sequence[Step]:
    return _known.get(value_of(part), lambda: _named(part, part.steps()))


@lru_cache(maxsize=256)
def _kind(kind: type) -> type | None:
    known = (("leaves", Composite), ("root_steps", RootPart), ("steps", Part))
    return next((protocol for name, protocol in known if getattr(kind, name, None) is not None), None)


class Arranged:
    """The steps of all parts.

    :ivar leaves: the steps that each part brings along; those of the parts of a plan, for a plan
    :ivar steps: all of them, with those of the root
    :ivar selected: those that apply, in order
    :ivar inside: a root of its own means a working directory in it, unless a part chooses one
    :ivar parts: the parts that are no plans, unless this is kept
    :ivar kept: whether this object is used again for the same parts, as long as the host gives the same answers
    """

    __slots__ = ("inside", "kept", "leaves", "parts", "selected", "steps")

    def __init__(self, every: Sequence[tuple[Part, Sequence[Step]]]) -> None:
        places = needed_places(step for _, steps in every for step in steps)
        roots = {id(part): _root_steps(part, places) for part, _ in every if _kind(type(part)) is RootPart}
        self.leaves: tuple[Sequence[Step], ...] = tuple(steps for _, steps in every)
        self.steps = tuple(step for part, steps in every for step in roots.get(id(part), steps))
        chosen = any(s.claims == "working directory" for s in self.steps)
        self.inside = not chosen and any(s.claims == "root" or s.joins == CLONE.NEWNS for s in self.steps)
        self.selected = select_steps(self.steps)
        self.kept = False
        self.parts: tuple[Part, ...] = tuple(part for part, _ in every)


def arrange(parts: Sequence[Part]) -> Arranged:
    """Return the steps of all parts, of which the root gets the places that the others need.

    :raises PlanError: an object is no part, or the parts contradict each other
    """
    for part in parts:
        _check(part)  # before an image is unpacked
    values = tuple(value_of(part) for part in parts)
    key = None if None in values else values
    arranged = _arranged.get(key, lambda: Arranged([*leaves(parts)]))
    if _arranged.has(key, arranged):
        arranged.kept, arranged.parts = True, ()  # a part may hold an object that must not live on
    return arranged


def _is_small(steps: Sequence[Step]) -> bool:
    """Whether steps may be kept in memory."""
    return len(steps) <= MOST_STEPS and sum(len(a.data) for s in steps for a in s.call.args if isinstance(a, Bytes)) <= MOST_BYTES


MOST_STEPS, MOST_BYTES = 1000, 1 << 16
_known: Memory[Sequence[Step]] = Memory(128, _is_small)
_arranged: Memory[Arranged] = Memory(32, lambda arranged: _is_small(arranged.steps))


def _root_steps(part: Part, places: Sequence[Place]) -> list[Step]:
    assert isinstance(part, RootPart)
    return _named(part, part.root_steps(places))


def _named(part: Part, steps: Iterable[Step]) -> list[Step]:
    name = part_name(part)
    return [step if step.part else step.with_(part=name) for step in steps]


def _meant(part: object) -> str:
    """Return a guess at what the caller meant by giving this value as a part."""
    if isinstance(part, type):
        return ", did you forget the ()?"
    if callable(part):
        return ", did you forget to call it?"
    if isinstance(part, list | tuple):
        return ": give parts one by one, as *parts"
    if checks.is_path(part):
        return ": a root is LayerFS(path) or mounts.Root(path), and a directory in it mounts.Bind(path, target)"
    return ": a root of it is LayerFS(image)" if type(part).__name__ == "Image" else ""


def part_name(part: object) -> str:
    """Return a part's name: `ns.Pid` for one of ours, `Nice` for a user's own."""
    kind = type(part)
    module = kind.__module__
    if not module.startswith("containerkit."):
        return kind.__name__
    last = module.rpartition(".")[2]
    return kind.__name__ if last == kind.__name__.lower() else f"{last}.{kind.__name__}"


def select_steps(steps: Iterable[Step]) -> list[Step]:
    """Return the steps that apply, in order.

    :raises PlanError: the parts contradict each other: a thing is claimed twice, or needed and missing, or no process can do it
    """
    kept = _chosen(list(steps))
    claimed: dict[str, Step] = {}
    for step in kept:
        if step.claims:
            if step.claims in claimed:
                raise PlanError(f"two parts claim the {step.claims}: {claimed[step.claims].part} and {step.part}")
            claimed[step.claims] = step
    present = _present(kept)
    for step in kept:
        if not step.needs <= present:
            name = min(step.needs - present)
            raise PlanError(f"{step.part} needs a {name}{_REMEDIES.get(name, ' in the same plan, to {why}: add it').format(why=step.why)}")
        if step.phase < Phase.CLONE and step.side is Side.CHILD:
            raise PlanError(f"{step.part} asks the child for {step}, but in phase prepare there is no child yet")
    if any(s.helper == "init" for s in kept) and any(s.joins == CLONE.NEWPID for s in kept):
        raise PlanError("an init is pid 1 of a namespace, but this plan joins a pid namespace that has one")
    return sorted(kept, key=WHEN)


def _chosen(steps: Sequence[Step]) -> Sequence[Step]:
    """Return the steps whose conditions hold.  A kept step may claim what another waits for, so repeat until no step is added."""
    sure = _present(s for s in steps if not s.only_with and not s.unless)
    while True:
        kept = [s for s in steps if (not s.only_with or s.only_with in sure) and not (s.unless and s.unless in sure)]
        if (found := _present(kept) | _results(kept)) <= sure:
            return kept
        sure |= found


def _results(steps: Iterable[Step]) -> set[str]:
    """Return the results that steps of the parent's pass on in memory."""
    found: set[str] = set()
    for step in steps:
        if step.side is Side.PARENT:
            memories = [arg for arg in step.call.args if isinstance(arg, Bytes) and arg.words]
            found.update(str(word) for memory in memories for _, word in memory.words if isinstance(word, Slot))
    return found


OWN_IDS = "range of ids of its own"
IDMAPPED = "kernel with idmapped mounts"
USER_ATTRIBUTES = "user namespace that may write trusted.* attributes"
_REMEDIES = {
    USER_ATTRIBUTES: ', and there is none but the host\'s: leave out ns.User(), or xattrs="trusted"',
    "new mnt namespace": " in the same plan, to {why}: add ns.Mount()",
    IDMAPPED: " (Linux 5.12, for layers 5.19), so that the files of root here are those of root inside, who is nobody outside; without it "
    "the container has the caller's own ids, when that is asked for: ns.User.same(), --userns=host",
}


def _present(steps: Iterable[Step]) -> set[str]:
    present: set[str] = set()
    for step in steps:
        if step.claims:
            present.add(step.claims)
            if not step.joins:
                present.add(f"new {step.claims}")
    return present


def fold(steps: Sequence[Step], options: Options) -> Timeline:
    """Return the timeline of a plan's selected steps, up to the program's own.  This touches nothing and needs no privilege."""
    made: list[Step] = []
    others: list[Step] = []
    for step in steps:
        (made if step.phase is Phase.CLONE and step.call.name == "clone3" else others).append(step)
    if options.terminal and terminals.has_own_devpts(others):
        options = replace(options, own_terminal=True)
        others = sorted([*others, *terminals.steps(others, options.size)], key=WHEN)
    apart = not options.share_memory or any(s.helper == "join" for s in others)
    return _Fold(options, made, apart).fold(others)


class _Fold:
    """One folding under way."""

    def __init__(self, options: Options, made: Sequence[Step], apart: bool) -> None:
        self.options, self.made, self.apart = options, made, apart

    def fold(self, steps: list[Step]) -> Timeline:
        count = sum(s.phase < Phase.CLONE and s.side is Side.PARENT for s in steps)
        before, rest = steps[:count], steps[count:]
        joins = sorted((s for s in rest if s.joins), key=lambda s: s.joins != CLONE.NEWUSER)
        body = [s for s in rest if not s.joins and s.phase < Phase.EXEC]
        last = [s for s in rest if not s.joins and s.phase is Phase.EXEC]
        body = sorted([*standard_steps.session(self.options), *body, *standard_steps.working_directory(self.options)], key=WHEN)
        left = left_behind([*self.made, *steps], self.options, apart=self.apart)
        body = [*left, *joins, *self._fork(joins), *standard_steps.register(self.options), *_with_root(through_mounts(body))]
        body = _closed_after_use(body, {step.save.name for step in before if step.save}, self.options)
        foreign, nobody = (any(s.claims == claim for s in steps) for claim in ("root", OWN_IDS))
        helper = standard_steps.become_helper("join", guarded=bool(joins)) if self.apart else []
        child = [*helper, *body, *standard_steps.execute(last, self.options, apart=self.apart, foreign=foreign, nobody=nobody)]
        child = _with_handshakes(child)
        inputs = self._inputs([*before, *child])
        steps = [*before, self._clone(child), *standard_steps.descriptors(inputs, self.options), *child]
        numbered = tuple(_numbered(s, inputs) for s in steps)
        return Timeline(numbered, inputs, standard_steps.autopsy(numbered), stream_owners.outside(numbered), self.options.own_terminal)

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
            return "a new process, which will be an image of its own before it meets another process"
        whys = [s.why for s in self.made if s.why]
        return "a new process" + (" in " + ", ".join(whys) if whys else "")

    def _made_flags(self) -> CLONE:
        flags = CLONE(0)
        for step in self.made:
            value = step.call.args[0]
            flags |= CLONE(value) if isinstance(value, int) else CLONE(0)
        return flags & ~CLONE.INTO_CGROUP

    def _fork(self, joins: Sequence[Step]) -> list[Step]:
        """Return the steps by which a child that left our memory makes its namespaces, or enters a joined pid namespace."""
        flags = self._made_flags()
        if not self.apart or not (flags or any(s.joins == CLONE.NEWPID for s in joins) or not self.options.share_memory):
            return []
        flags |= CLONE.PARENT | CLONE.PARENT_SETTID
        data = bytearray(88)
        data[0:8] = flags.to_bytes(8, "little")
        shown = syscalls.clone3(flags)
        call = Call("clone3", (Bytes(bytes(data), str(shown)[7:-1], ((24, HeaderAddress("forked")),)), 88), "clone(2)")
        why = "the caller's child proper" + (": " + ", ".join(s.why for s in self.made if s.why) if self.made else "")
        return [Step.child(Phase.IDENTITY, call, why=why, hint=_CLONE_HINTS, at_most=0, part=_names(self.made))]

    def _inputs(self, steps: Sequence[Step]) -> dict[int, Fd]:
        stdio = {0: Fd("stdin"), 1: Fd("stdout"), 2: Fd("stderr")}
        inputs = {n: f for n, f in stdio.items() if n in self.options.redirected}
        inputs |= {n: Fd(f"fd{n}") for n in sorted(self.options.passed) if n > 2}
        fixed = _fixed(steps) - ({0, 1, 2} if self.options.own_terminal else set())  # which the terminal takes over
        if taken := fixed & inputs.keys():
            raise PlanError(f"a step of this plan uses descriptor {min(taken)} itself: give the program another number")
        numbers = (n for n in itertools.count(max({2, *inputs}) + 1) if n not in fixed)
        wanted = list(_all_wanted(steps))
        if PROC in wanted:
            inputs[next(numbers)] = PROC  # first, for the order of parts must not show in its number
        for source in wanted:
            if source not in inputs.values():
                inputs[next(numbers)] = source
        if PROGRAM in inputs.values() and SYNC not in inputs.values():
            inputs[next(numbers)] = SYNC  # the helper's exec must not look like the program's: its end of this stays open
        return inputs


def _fixed(steps: Sequence[Step]) -> set[int]:
    """Return the numbers of descriptors that the child's steps choose for themselves."""
    calls = (step.call for step in steps if step.side is Side.CHILD and step.call.name == "dup3")
    return {number for call in calls if isinstance(number := call.args[1], int)}


def _all_wanted(steps: Iterable[Step]) -> Iterator[Fd]:
    """Yield what the child's steps use of the caller's: descriptors, and results that earlier steps of the parent saved."""
    saved: set[str] = set()
    for step in steps:
        if step.side is Side.CHILD:
            yield from _wanted(step, saved)
        elif step.save:
            saved.add(step.save.name)


def _wanted(step: Step, saved: Container[str]) -> Sequence[Fd]:
    """Return what one of the child's steps uses of the caller's.  :param saved: names of results of the parent's steps before it"""
    found: list[Fd] = []
    for arg in step.call.args:
        kind = type(arg)
        if kind is Slot:
            if arg.name in saved:  # type: ignore[union-attr]
                found.append(Fd(arg.name))  # type: ignore[union-attr]
        elif kind is Fd:
            found.append(arg)  # type: ignore[arg-type]
        elif kind is Bytes and arg.words:  # type: ignore[union-attr]
            found += _named_in(arg)  # type: ignore[arg-type]
    return found


def _named_in(memory: Bytes) -> list[Fd]:
    """Return the descriptors whose numbers stand in memory, or in memory that it points to."""
    named: list[Fd] = []
    for _, word in memory.words:
        named += [word] if isinstance(word, Fd) else _named_in(word) if isinstance(word, Bytes) else []
    return named


def _numbered(step: Step, inputs: Mapping[int, Fd]) -> Step:
    """Fill in the numbers of descriptors that stand inside a buffer, as poll(2) wants them: they are known only now."""
    if len(step.call.args) != 1 or step.call.args[0] != CALLER:
        return step
    number = next(n for n, f in inputs.items() if f == CALLER)
    return step.with_(call=syscalls.poll(number))


def _with_root(steps: list[Step]) -> list[Step]:
    """Open %root, from which mount targets are resolved: in a plan without a root of its own it is the host's `/`."""
    uses = [i for i, s in enumerate(steps) if ROOT in s.call.args]
    if not uses or any(s.save == ROOT for s in steps):
        return steps
    call = syscalls.openat("/", syscalls.O.PATH | syscalls.O.DIRECTORY | syscalls.O.CLOEXEC)
    first = Step.child(steps[uses[0]].phase, call, why="mounts are resolved from here", save=ROOT)
    done = Step.child(steps[uses[-1]].phase, syscalls.close(ROOT), why="and let it go")
    return [*steps[: uses[0]], first, *steps[uses[0] : uses[-1] + 1], done, *steps[uses[-1] + 1 :]]


_TO_THE_END = frozenset({SYNC, PROGRAM, HELPER, CALLER, GUARDIAN, OWN})
"""Descriptors that may stay open to the end, as no path leads through them: sockets, pidfds and memory."""
_OPENERS = frozenset({"openat", "openat2", "open_tree", "fsmount", "dup", "fcntl"})


def _closed_after_use(steps: Sequence[Step], saved: set[str], options: Options) -> list[Step]:
    """Close each descriptor of the plan's own after its last use, where its part does not do that.

    Close-on-exec is too late: while the kernel looks for the program, a path such as /proc/self/fd/3/../bin/sh, which an image
    names as its program or interpreter, leads through a directory that is still open to the host (CVE-2024-21626).

    :param saved: names of results of the parent's steps before the clone
    """
    stays = {"stdin", "stdout", "stderr", *(f"fd{n}" for n in options.passed), *(fd.name for fd in _TO_THE_END)}
    last: dict[tuple[str, str], tuple[int, Fd | Slot]] = {}
    open_slots: set[str] = set()
    for place, step in enumerate(steps):
        if step.side is Side.PARENT:
            saved = saved | ({step.save.name} if step.save else set())
            continue
        if step.call.name == "close":
            last.pop(_key(step.call.args[0], saved), None)
            continue
        for source in _wanted(step, saved):
            if source.name not in stays:
                last[_key(source, saved)] = (place, source)
        for arg in step.call.args:
            if type(arg) is Slot and (arg.name in saved or arg.name in open_slots):
                last[_key(arg, saved)] = (place, arg)
        if step.save and step.call.name in _OPENERS:
            open_slots.add(step.save.name)
            last[_key(step.save, saved)] = (place, step.save)
    ends: dict[int, list[Fd | Slot]] = {}
    for place, name in last.values():
        ends.setdefault(place, []).append(name)
    return [each for place, step in enumerate(steps) for each in (step, *(_let_go(step, name) for name in ends.get(place, ())))]


def _key(arg: object, saved: Container[str]) -> tuple[str, str]:
    """Return a descriptor's key: its name, among the caller's or among the child's own.  Its source may be closed by now."""
    is_callers = isinstance(arg, Fd) or (isinstance(arg, Slot) and arg.name in saved)
    return "caller's" if is_callers else "own", str(getattr(arg, "name", arg))


def _let_go(step: Step, name: Fd | Slot) -> Step:
    tolerated = {EBADF} if step.save == name and step.tolerates else set()  # there may be none
    why = f"{name} is done with: nothing leads through it"
    return Step.child(step.phase, syscalls.close(name), why=why, part=step.part, order=step.order, tolerates=tolerated)


def _with_handshakes(steps: Sequence[Step]) -> list[Step]:
    """Add handshakes: at each change of side, the actor that has made its steps writes one byte, and the other waits for it."""
    out: list[Step] = []
    side = Side.CHILD
    for step in steps:
        if step.side is not side:
            out.append(standard_steps.say(step.phase) if side is Side.CHILD else standard_steps.hear(step.phase))
            side = step.side
        out.append(step)
    return out


def _names(steps: Iterable[Step]) -> str:
    return ", ".join(dict.fromkeys(s.part for s in steps if s.part))


_CLONE_HINTS = {
    EPERM: "making these namespaces needs CAP_SYS_ADMIN, or a user namespace made along with them (ns.User()); "
       "where ns.User() is asked for, user namespaces are switched off for this user: see containerkit doctor",
    EACCES: "the cgroup is not delegated to this user, or not together with the one it is in: begin inside a delegated one",
    EAGAIN: "no more processes for this user, or in this cgroup (RLIMIT_NPROC, pids.max, kernel.pid_max)",
    EINVAL: "this kernel does not know one of the flags",
    ENOSPC: "a limit on namespaces is reached: see /proc/sys/user/max_*_namespaces",
    EUSERS: "a limit on namespaces is reached: see /proc/sys/user/max_*_namespaces",
    EBUSY: "the cgroup holds controllers for its children (no-internal-process rule): use a leaf",
}  # fmt: skip
