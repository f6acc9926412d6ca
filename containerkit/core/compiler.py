"""Compiling: from a timeline to the program that csrc/spawn.h describes.

A program is bytes.  It can be made once and run many times, by several threads at once: the values that differ between
two runs (descriptor numbers, the signal mask) are filled in when it is loaded.

All but its last steps are the same for every program in the same parts: they are the `Body`, which is compiled once.  The
steps that execute the file, with its arguments and its environment, are put after them for each plan.

    header | the body's memory | the body's steps | the last steps | traces | the last steps' memory | addresses
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import groupby

from ..base.frozen import field, frozen
from ..errors import PlanError
from ..linux.native import extension, number
from ..linux.procfs import PROC
from ..linux.syscalls import Arg, Bytes, Call, Deferred, Fd, HeaderAddress, Labelled, OutputBuffer, Slot, Strings
from .step import Joined, Side, Step
from .timeline import Timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SLOTS = 512  # CK_SLOTS of csrc/spawn.h


class Prepared:
    """A call of the parent's, as far as it is known before it is made.

    :ivar call: the call itself
    :ivar number: the number of the system call
    :ivar values: its six arguments, 0 where one is not known yet
    :ivar holes: index -> an argument known only when the call is made: a result of another step, a path with the child's number in it
    :ivar closes: the slot whose descriptor it closes
    """

    __slots__ = ("_alive", "call", "closes", "holes", "number", "values")

    def __init__(self, call: Call) -> None:
        self.call, self.number = call, number(call.name)
        self._alive: list[Any] = []
        self.holes = [(place, arg) for place, arg in enumerate(call.args) if _is_open(arg)]
        values = [0 if _is_open(arg) else self._known(arg) for arg in call.args]
        self.values = [*values, *NOTHING[len(values) :]]
        self.closes = call.args[0].name if call.name == "close" and isinstance(call.args[0], Slot) else None

    def _known(self, arg: Arg) -> int:
        if isinstance(arg, bytes | Bytes):
            self._alive.append(extension().ffi.from_buffer(arg + b"\0" if isinstance(arg, bytes) else arg.data))
            return int(extension().ffi.cast("uintptr_t", self._alive[-1]))
        number = arg.value if isinstance(arg, Labelled) else arg
        assert number is None or isinstance(number, int), number
        return int(number or 0) & WORD


def _is_open(arg: Arg) -> bool:
    """Whether only the moment of the call tells what an argument is, or whether it can be passed at all."""
    if isinstance(arg, bytes):
        return b"{pid}/" in arg
    if isinstance(arg, Bytes):
        return bool(arg.words) or b"{pid}/" in arg.data
    return not (arg is None or isinstance(arg, int | Labelled))


@frozen
class Turn:
    """The parent's turn, when the child has said so.

    :ivar places: the indexes of its steps, among all
    :ivar answered: the child waits for the end of the turn
    """

    places: tuple[int, ...]
    answered: bool


@frozen
class Program:
    """A compiled timeline.

    :ivar code: the bytes to load
    :ivar child_steps: the steps of the program, in the trace's order, without the autopsy
    :ivar slots: slot name -> index
    :ivar spaces: name -> offset and size of memory the child fills in
    :ivar clone: the index of the clone among all steps
    :ivar execs: which of the child's steps try to become the program
    :ivar forks: the helper clones the caller's child proper
    :ivar trusts_proc: a path in it begins with /proc, which must be a procfs
    :ivar changes_ids: the child may become another user while it shares the caller's memory
    :ivar calls: index among all steps -> the parent's call there
    :ivar turns: when the parent has to act after the clone
    :ivar talks_of_proc: the parent names the child by its number in /proc then
    """

    timeline: Timeline
    code: bytes
    child_steps: Sequence[Step]
    traces: int
    slots: dict[str, int]
    spaces: dict[str, tuple[int, int]]
    clone: int
    execs: tuple[int, ...]
    forks: bool
    trusts_proc: bool = False
    changes_ids: bool = False
    calls: Mapping[int, Prepared] = field(default_factory=dict)
    turns: Sequence[Turn] = ()
    talks_of_proc: bool = False


def compile_timeline(timeline: Timeline) -> Program:
    """Return the program of a timeline.  Raise PlanError when it does not fit, Unavailable without the extension."""
    return Body(timeline).program(timeline)


STEP = struct.Struct("q6QQqqIi")  # struct ck_step
ADDRESS = struct.Struct("Q")
NOTHING = (0, 0, 0, 0, 0, 0)
FORGIVEN, NO_MOST = (1 << 64) - 1, (1 << 63) - 1
WORD = (1 << 64) - 1


@cache
def _sizes() -> tuple[int, int, int]:
    """Return the sizes of the header, of a step and of a trace entry."""
    header, step, trace = (int(extension().ffi.sizeof(f"struct ck_{name}")) for name in ("program", "step", "trace"))
    assert step == STEP.size
    return header, step, trace


@cache
def _field(name: str) -> int:
    """Return a field's offset in the header."""
    return int(extension().ffi.offsetof("struct ck_program", name))


@lru_cache(maxsize=64)
def _tolerated(errors: frozenset[int]) -> int:
    return sum(1 << error for error in errors)


class _Writer:
    """Steps and memory, written one after the other.

    :ivar memory: the bytes that the steps point to
    :ivar steps: the packed steps, whose addresses count from the program's first byte
    :ivar relocs: offsets of addresses in memory
    :ivar in_steps: offsets of addresses in the steps, from the first of them
    """

    def __init__(self, numbers: Mapping[Fd, int], saved: Container[str], at: int, slots: dict[str, int]) -> None:
        self.numbers, self.saved_by_parent, self.at, self.slots = numbers, saved, at, slots
        self.memory = bytearray()
        self.steps: list[bytes] = []
        self.relocs: list[int] = []
        self.in_steps: list[int] = []
        self.spaces: dict[str, tuple[int, int]] = {}
        self.interned: dict[bytes, int] = {}
        self.later: dict[bytes, int] = {}

    def step(self, step: Step, *, forgiven: bool = False) -> None:
        call = step.call
        assert isinstance(call, Call)
        slots, values, at = 0, [], STEP.size * len(self.steps) + 8
        for place, arg in enumerate(call.args):
            kind = type(arg)
            if kind is Slot and arg.name not in self.saved_by_parent:  # type: ignore[union-attr]
                values.append(self._slot(arg.name))  # type: ignore[union-attr]
                slots |= 1 << place
            elif arg is None:
                values.append(0)
            elif isinstance(arg, int):
                values.append(int(arg) & WORD)
            elif kind is Labelled:
                values.append(arg.value & WORD)  # type: ignore[union-attr]
            elif kind is Slot or kind is Fd:
                values.append(self.numbers[arg if kind is Fd else Fd(arg.name)])  # type: ignore[union-attr,index]
            else:
                values.append(_field(arg.name) if kind is HeaderAddress else self._memory(arg))  # type: ignore[union-attr,arg-type]
                self.in_steps.append(at + 8 * place)
        tolerated = FORGIVEN if forgiven else _tolerated(step.tolerates)
        save = self._slot(step.save.name) if step.save else -1
        most = NO_MOST if step.at_most is None else step.at_most
        self.steps.append(STEP.pack(number(call.name), *values, *NOTHING[len(values) :], tolerated, step.at_least, most, slots, save))

    def _slot(self, name: str) -> int:
        index = self.slots.setdefault(name, len(self.slots))
        if index >= SLOTS:
            raise PlanError(f"a plan carries at most {SLOTS} results from step to step")
        return index

    def _append(self, data: bytes) -> int:
        """Append data to the program's memory, and return its offset."""
        self.memory += bytes(-len(self.memory) % 8)
        at = self.at + len(self.memory)
        self.memory += data
        return at

    def _string(self, data: bytes) -> int:
        if data not in self.interned:
            self.interned[data] = self._append(data + b"\0")
        return self.interned[data]

    def _address(self, at: int, target: int) -> None:
        """Make the word at `at` hold the address of the program's byte `target`."""
        ADDRESS.pack_into(self.memory, at - self.at, target)
        self.relocs.append(at)

    def _memory(self, arg: bytes | Bytes | Deferred | OutputBuffer | Strings) -> int:
        """Return the offset of the memory that an argument stands for."""
        match arg:
            case bytes():
                return self._string(arg)
            case OutputBuffer():
                if arg.name not in self.spaces:  # steps that name the same memory share it
                    self.spaces[arg.name] = (self._append(bytes(arg.size)), arg.size)
                return self.spaces[arg.name][0]
            case Strings():
                place = self._deferred if arg.deferred else self._string
                items = [place(i) for i in arg.items]
                at = self._append(bytes(8 * (len(items) + 1)))
                for i, item in enumerate(items):
                    self._address(at + 8 * i, item)
                return at
            case Deferred():
                return self._memory(arg.make())
        at = self._append(arg.data)
        self._words(at, arg.words)
        return at

    def _words(self, at: int, words: Iterable[tuple[int, HeaderAddress | Fd | Slot | Bytes]]) -> None:
        for offset, word in words:
            if isinstance(word, Fd):
                struct.pack_into("I", self.memory, at - self.at + offset, self.numbers[word])
            elif isinstance(word, Bytes):
                self._address(at + offset, self._memory(word))
            elif isinstance(word, HeaderAddress):
                self._address(at + offset, _field(word.name))
            else:
                raise PlanError(f"{word} is a result of the parent's, which the child cannot have in memory")

    def _deferred(self, name: bytes) -> int:
        self.later[name] = self._append(name.ljust(16, b"\0"))
        return self.later[name]


class Body:
    """The compiled steps of a timeline; the program's own come after them.  It does not change, so that threads share it.

    :param timeline: one without the program's own steps, or without later ones
    :raises PlanError: it does not fit;  :raises Unavailable: the extension is missing
    """

    def __init__(self, timeline: Timeline) -> None:
        steps = timeline.steps
        self.inputs = timeline.inputs
        self.numbers = {source: n for n, source in timeline.inputs.items()}
        saved = {s.save.name for s in steps if s.side is Side.PARENT and s.save}
        writer = _Writer(self.numbers, saved, _sizes()[0], {})
        self.child = tuple(s for s in steps if s.side is Side.CHILD)
        for step in self.child:
            writer.step(step)
        writer.memory += bytes(-len(writer.memory) % 8)
        self.steps_at = writer.at + len(writer.memory)
        self.data = b"".join([bytes(writer.memory), *writer.steps])
        self.relocs = array("I", [*writer.relocs, *(self.steps_at + at for at in writer.in_steps)]).tobytes()
        self.slots, self.spaces, self.later = writer.slots, writer.spaces, writer.later
        self._look_over(timeline)

    def _look_over(self, timeline: Timeline) -> None:
        """Ask each question that concerns all steps once."""
        names = [s.call.name for s in self.child]
        self.execs = tuple(i for i, name in enumerate(names) if name == "execve")
        self.forks = "clone3" in names
        self.clone = next(i for i, s in enumerate(timeline.steps) if s.call.name == "clone3")
        self.init = next((i for i, s in enumerate(self.child) if s.helper == "init"), -1)
        self.trusts_proc = any(isinstance(arg, bytes) and arg.startswith(b"/proc/self/fd/") for s in self.child for arg in s.call.args)
        self.changes_ids = timeline.changes_ids
        self.calls = {
            place: Prepared(step.call)
            for place, step in enumerate(timeline.steps)
            if step.side is Side.PARENT and isinstance(step.call, Call) and place != self.clone
        }

        after = list(enumerate(timeline.steps))[self.clone + 1 :]
        runs = [(side, tuple(run)) for side, run in groupby(after, key=lambda pair: pair[1].side)]
        self.turns = tuple(
            Turn(tuple(place for place, _ in run), answered=i + 1 < len(runs)) for i, (side, run) in enumerate(runs) if side is Side.PARENT
        )
        self.talks_of_proc = any(PROC in timeline.steps[place].call.args for turn in self.turns for place in turn.places)

    def program(self, timeline: Timeline, last: Sequence[Step] = ()) -> Program:
        """Return the program with these steps last.

        :param timeline: the timeline of all steps; its autopsy is compiled too
        :param last: the program's own steps
        """
        _, step_size, trace_size = _sizes()
        count = len(self.child) + len(last)
        steps = count + len(timeline.autopsy)
        traces_at = self.steps_at + step_size * steps
        writer = _Writer(self.numbers, (), traces_at + trace_size * steps, dict(self.slots))
        for step in last:
            writer.step(step)
        for step in timeline.autopsy:
            writer.step(step, forgiven=True)
        writer.memory += bytes(-len(writer.memory) % 8)
        first = self.steps_at + step_size * len(self.child)
        relocs = self.relocs + array("I", [*writer.relocs, *(first + at for at in writer.in_steps)]).tobytes()
        relocs_at = writer.at + len(writer.memory)
        execs = self.execs + tuple(len(self.child) + i for i, s in enumerate(last) if s.call.name == "execve")
        header = extension().ffi.new("struct ck_program *")
        header.size, header.steps, header.traces, header.count = relocs_at + len(relocs), self.steps_at, traces_at, count
        header.autopsy, header.autopsy_from = len(timeline.autopsy), execs[0] if execs else count
        header.relocs, header.reloc_count = relocs_at, len(relocs) // 4
        header.failed, header.init = -1, self.init
        head = bytes(extension().ffi.buffer(header))
        data = self._with_helpers_arguments(header.size) if self.later else self.data
        code = b"".join([head, data, *writer.steps, bytes(trace_size * steps), bytes(writer.memory), relocs])
        return Program(
            timeline, code, Joined(self.child, tuple(last)), traces_at, writer.slots, self.spaces | writer.spaces, self.clone, execs,
            self.forks, self.trusts_proc, self.changes_ids, self.calls, self.turns, self.talks_of_proc,
        )  # fmt: skip

    def _with_helpers_arguments(self, size: int) -> bytes:
        """Write the program's descriptor and size into the helper's argv: both are known only now."""
        values = {b"PROGRAM": self.numbers.get(Fd("program"), -1), b"SIZE": size}
        data, start = bytearray(self.data), _sizes()[0]
        for name, at in self.later.items():
            if name in values:
                data[at - start : at - start + 16] = (b"%d" % values[name]).ljust(16, b"\0")
        return bytes(data)
