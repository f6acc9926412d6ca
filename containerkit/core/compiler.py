"""Compiling: from a timeline to the program that csrc/spawn.h describes.

A program is bytes.  It can be made once and run many times, by several threads at once: what differs between two runs
(descriptor numbers, the signal mask) is filled in when it is loaded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from ..base.frozen import frozen
from ..errors import PlanError
from ..linux.native import extension, number
from ..linux.syscalls import Arg, Bytes, Call, Deferred, Fd, HeaderAddress, Labelled, OutputBuffer, Slot, Strings
from .step import Side, Step
from .timeline import Timeline

SLOTS = 512  # CK_SLOTS of csrc/spawn.h


@frozen
class Program:
    """A compiled timeline.

    :ivar code: the bytes to load
    :ivar child_steps: the steps of the program, in the trace's order, without the autopsy
    :ivar slots: slot name -> index
    :ivar spaces: name -> offset and size of memory the child fills in
    :ivar clone: the place of the clone among all steps
    :ivar execs: which of the child's steps try to become the program
    :ivar forks: the helper clones the caller's child proper
    :ivar trusts_proc: a path in it begins with /proc, which must be a procfs
    :ivar changes_ids: the child may become somebody else while it shares the caller's memory
    """

    timeline: Timeline
    code: bytes
    child_steps: tuple[Step, ...]
    traces: int
    slots: dict[str, int]
    spaces: dict[str, tuple[int, int]]
    clone: int
    execs: tuple[int, ...]
    forks: bool
    trusts_proc: bool = False
    changes_ids: bool = False


def compile_timeline(timeline: Timeline) -> Program:
    """The program of a timeline.  Raises PlanError when it does not fit, Unavailable without the extension."""
    return _Compiler(timeline).compile()


class _Compiler:
    def __init__(self, timeline: Timeline) -> None:
        self.ffi, self.timeline = extension().ffi, timeline
        self.numbers = {source: n for n, source in timeline.inputs.items()}
        self.saved_by_parent = {s.save for s in timeline.steps if s.side is Side.PARENT and s.save}
        self.blob = bytearray(self.ffi.sizeof("struct ck_program"))
        self.relocs: list[int] = []
        self.slots: dict[str, int] = {}
        self.spaces: dict[str, tuple[int, int]] = {}
        self.interned: dict[bytes, int] = {}
        self.later: dict[bytes, int] = {}

    def compile(self) -> Program:
        child = tuple(s for s in self.timeline.steps if s.side is Side.CHILD)
        every = (*child, *self.timeline.autopsy)
        steps_at, size = self._reserve(self.ffi.sizeof("struct ck_step") * len(every)), self.ffi.sizeof("struct ck_step")
        traces_at = self._reserve(self.ffi.sizeof("struct ck_trace") * len(every))
        for i, step in enumerate(every):
            self._step(steps_at + i * size, step, forgiven=i >= len(child))
        header = self._header(child, steps_at, traces_at)
        self.blob[: len(header)] = header
        execs = tuple(i for i, s in enumerate(child) if s.call.name == "execve")
        forks = any(s.call.name == "clone3" for s in child)
        clone = next(i for i, s in enumerate(self.timeline.steps) if s.call.name == "clone3")
        proc = any(isinstance(arg, bytes) and arg.startswith(b"/proc/self/fd/") for s in child for arg in s.call.args)
        changes = self.timeline.changes_ids
        return Program(self.timeline, bytes(self.blob), child, traces_at, self.slots, self.spaces, clone, execs, forks, proc, changes)

    def _header(self, child: tuple[Step, ...], steps_at: int, traces_at: int) -> bytes:
        header = self.ffi.new("struct ck_program *")
        header.steps, header.traces, header.count, header.autopsy = steps_at, traces_at, len(child), len(self.timeline.autopsy)
        header.autopsy_from = next((i for i, s in enumerate(child) if s.call.name == "execve"), len(child))
        header.failed, header.forked, header.payload = -1, 0, 0
        header.init = next((i for i, s in enumerate(child) if s.helper == "init"), -1)
        self._patch_helper_arguments()
        header.reloc_count = len(self.relocs)
        header.relocs = self._append(struct.pack(f"{len(self.relocs)}I", *self.relocs))
        header.size = len(self.blob)
        return bytes(self.ffi.buffer(header))

    def _reserve(self, size: int) -> int:
        self.blob += bytes(-len(self.blob) % 8)
        at = len(self.blob)
        self.blob += bytes(size)
        return at

    def _append(self, data: bytes) -> int:
        at = self._reserve(len(data))
        self.blob[at : at + len(data)] = data
        return at

    def _string(self, data: bytes) -> int:
        if data not in self.interned:
            self.interned[data] = self._append(data + b"\0")
        return self.interned[data]

    def _address(self, at: int, target: int) -> None:
        """The word at `at` holds the address of the program's byte `target`."""
        struct.pack_into("Q", self.blob, at, target)
        self.relocs.append(at)

    def _slot(self, name: str) -> int:
        index = self.slots.setdefault(name, len(self.slots))
        if index >= SLOTS:
            raise PlanError(f"a plan carries at most {SLOTS} results from step to step")
        return index

    def _step(self, at: int, step: Step, *, forgiven: bool) -> None:
        assert isinstance(step.call, Call)
        slots, offset = 0, self.ffi.offsetof("struct ck_step", "arg")
        for i, arg in enumerate(step.call.args):
            slots |= self._arg(at + offset + 8 * i, arg) << i
        tolerated = (1 << 64) - 1 if forgiven else sum(1 << e for e in step.tolerates)
        save = self._slot(step.save.name) if step.save else -1
        most = (1 << 63) - 1 if step.at_most is None else step.at_most
        struct.pack_into("q", self.blob, at, number(step.call.name))
        struct.pack_into("QqqIi", self.blob, at + offset + 48, tolerated, step.at_least, most, slots, save)

    def _arg(self, at: int, arg: Arg) -> int:
        """Writes one argument; returns 1 when it names a slot, else 0."""
        match arg:
            case Slot() if arg not in self.saved_by_parent:
                struct.pack_into("Q", self.blob, at, self._slot(arg.name))
                return 1
            case Slot():
                struct.pack_into("Q", self.blob, at, self.numbers[Fd(arg.name)])
            case Fd():
                struct.pack_into("Q", self.blob, at, self.numbers[arg])
            case Labelled():
                struct.pack_into("q", self.blob, at, arg.value)
            case int():
                struct.pack_into("q" if arg < 0 else "Q", self.blob, at, int(arg))
            case None:
                pass
            case HeaderAddress():
                self._address(at, self.ffi.offsetof("struct ck_program", arg.name))
            case _:
                self._address(at, self._memory(arg))
        return 0

    def _memory(self, arg: bytes | Bytes | Deferred | OutputBuffer | Strings) -> int:
        """The offset of the memory that an argument stands for."""
        match arg:
            case bytes():
                return self._string(arg)
            case OutputBuffer():
                if arg.name not in self.spaces:  # steps that name the same memory share it
                    self.spaces[arg.name] = (self._reserve(arg.size), arg.size)
                return self.spaces[arg.name][0]
            case Strings():
                place = self._deferred if arg.deferred else self._string
                items = [place(i) for i in arg.items]
                at = self._reserve(8 * (len(items) + 1))
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
                struct.pack_into("I", self.blob, at + offset, self.numbers[word])
            elif isinstance(word, Bytes):
                self._address(at + offset, self._memory(word))
            elif isinstance(word, HeaderAddress):
                self._address(at + offset, self.ffi.offsetof("struct ck_program", word.name))
            else:
                raise PlanError(f"{word} is a result of the parent's, which the child cannot have in memory")

    def _deferred(self, name: bytes) -> int:
        self.later[name] = self._append(name.ljust(16, b"\0"))
        return self.later[name]

    def _patch_helper_arguments(self) -> None:
        """Fill in the program's descriptor and size in the helper's argv; both are known only now."""
        size = len(self.blob) + -len(self.blob) % 8 + 4 * len(self.relocs)
        values = {b"PROGRAM": self.numbers.get(Fd("program"), -1), b"SIZE": size}
        for name, at in self.later.items():
            if name in values:
                self.blob[at : at + 16] = (b"%d" % values[name]).ljust(16, b"\0")
