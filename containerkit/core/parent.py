"""The parent as an actor: the same steps, made in the caller's own thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from errno import EBUSY

from ..errors import ContainerKitError, Unavailable
from ..linux.native import extension
from ..linux.procfs import PROC
from ..linux.syscalls import Arg, Bytes, Call, Fd, Labelled, Slot, Tool
from .compiler import WORD, Prepared
from .descriptors import ChildDescriptors, fileno
from .errors import StepError
from .step import Step
from .trace import Raw, Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..state.undo import Undo


class ParentExecutor:
    """This process as it makes steps: its slots, its trace, and its undo functions.

    :ivar pid: the child's process id, once there is one: ``{pid}/`` in a path, ``{pid}`` in a tool's argument
    :ivar slots: name -> descriptor that a step opened and none closed yet
    :ivar trace: the step's index -> its result, and when it was made
    :ivar undo: the undo functions, in the order of their steps
    :ivar written: the same undo functions as they are written down for the next process
    :ivar said: the output of the last tool that failed
    """

    def __init__(self, inputs: ChildDescriptors | None = None) -> None:
        self.inputs = inputs
        self.pid, self.said = -1, ""
        self.slots: dict[str, int] = {}
        self.trace: dict[int, Raw] = {}
        self.undo: list[Callable[[], None]] = []
        self.written: list[Undo] = []
        self.lib, self.ffi = extension().lib, extension().ffi
        self._trace = self.ffi.new("struct ck_trace *")
        self._asked: dict[int, tuple[Any, int]] = {}

    def make_all(
        self, steps: Sequence[Step], places: Iterable[int], calls: Mapping[int, Prepared], left: Callable[[], float | None]
    ) -> int:  # fmt: skip
        """Make some of a plan's steps, one after the other; return the index of the first that failed, or -1.

        :param calls: index -> the call there, where that was compiled
        :param left: a function that returns how many seconds a tool has at most
        :raises subprocess.TimeoutExpired: a tool took longer, and was killed
        """
        for place in places:
            step, call = steps[place], calls.get(place)
            if call is None or call.call is not step.call or step.undo:
                result = self.make(step, place, left())
            else:
                self.trace[place] = made = self._call(call)
                result = made[0]
                if result >= 0 and step.save:
                    self._keep(step.save.name, result)
            if result < step.at_least and -result not in step.tolerates:
                return place
        return -1

    def make(self, step: Step, place: int, seconds: float | None = None) -> int:
        """Make one step of the parent's; return its result, or a negated error number.

        :param seconds: the longest time for a tool
        :raises subprocess.TimeoutExpired: the tool took longer, and was killed
        """
        call = step.call
        written = self._written(step) if step.undo else None
        self.trace[place] = self._tool(call, seconds) if isinstance(call, Tool) else self._call(Prepared(call))
        result = self.trace[place][0]
        if result >= 0 and step.save:
            self._keep(step.save.name, result)
        if step.undo and written:
            self._note_undo(step.undo, written, result)
        return result

    def _keep(self, name: str, result: int) -> None:
        if name in self.slots:  # two parts may make the same, as two that hide files do
            os.close(self.slots[name])
        self.slots[name] = result

    def _note_undo(self, call: Call, written: Undo, result: int) -> None:
        if result < 0:
            written.done()
            return
        written.made()
        self.written.append(written)
        self.undo.append(self._undoing(call, written))

    def _call(self, call: Prepared) -> Raw:
        alive: list[Any] = []
        values, trace = call.values, self._trace
        if call.holes:
            values = values.copy()
            for place, arg in call.holes:
                values[place] = (self.slots[arg.name] if type(arg) is Slot else self.value(arg, alive)) & WORD
        if call.closes is not None:
            del self.slots[call.closes]  # first: an interrupt from here on must not lead to a second close
        self.lib.ck_call(trace, call.number, *values)
        return trace.result, trace.begin, trace.end

    def _tool(self, tool: Tool, seconds: float | None) -> Raw:
        import subprocess

        begin = self.lib.ck_clock()
        argv = [a.replace("{pid}", str(self.pid)) for a in tool.argv]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=seconds)
        except OSError as error:
            raise Unavailable(tool.name, probed=f"running {argv[0]}: {error.strerror}", remedy=tool.remedy) from error
        self.said = done.stderr.decode(errors="replace").strip() if done.returncode else ""
        return -1 if done.returncode else 0, begin, self.lib.ck_clock()

    def _written(self, step: Step) -> Undo:
        """Write down what the step has to undo, before the step is made."""
        from ..state.undo import Undo

        assert step.undo
        return Undo(step.call, step.undo, lambda arg: self.value(arg, []), self.pid)

    def _undoing(self, call: Call, written: Undo) -> Callable[[], None]:
        def undo() -> None:
            result = self._call(Prepared(call))[0]
            if result != -EBUSY:
                written.done()
            if result < 0:
                raise OSError(-result, os.strerror(-result), str(call))

        return undo

    def value(self, arg: Arg, alive: list[Any]) -> int:
        """Return an argument as a number; memory it points to is kept in `alive`.  ``{pid}`` becomes the child's."""
        if type(arg) is Slot:
            return self.slots[arg.name]
        if type(arg) is Fd:
            if self.inputs and arg.name == PROC.name:
                return self.inputs.proc()
            if arg.source is not None:
                return self._fileno(arg.source)
        match arg:
            case Labelled():
                return arg.value
            case None:
                return 0
            case int():
                return int(arg)
            case bytes() | Bytes():
                data = (arg + b"\0" if isinstance(arg, bytes) else self._filled(arg)).replace(b"{pid}/", b"%d/" % self.pid)
                alive.append(self.ffi.from_buffer(data))
                return int(self.ffi.cast("uintptr_t", alive[-1]))
        raise ContainerKitError(f"the parent cannot pass {arg}")

    def _fileno(self, source: Any) -> int:
        """Return a descriptor's number, asked once: a dozen steps may copy from it."""
        if id(source) not in self._asked:
            self._asked[id(source)] = source, fileno(source)
        return self._asked[id(source)][1]

    def _filled(self, memory: Bytes) -> bytes:
        data = bytearray(memory.data)
        for offset, word in memory.words:
            if not isinstance(word, Fd | Slot):
                raise ContainerKitError(f"the parent cannot pass {memory}")
            data[offset : offset + 4] = self.value(word, []).to_bytes(4, "little")
        return bytes(data)

    def perform(self, steps: Sequence[Step], keep: str = "") -> int:
        """Make steps one after the other.  :raises StepError: one failed; the opened descriptors are closed, nothing is undone

        :param keep: the slot whose descriptor stays open
        :return: that descriptor
        """
        try:
            for place, step in enumerate(steps):
                result = self.make(step, place)
                if result < step.at_least and -result not in step.tolerates:
                    raise StepError(step, max(0, -result), trace=Trace(steps, self.trace, b""), detail=self.said)
            return self.slots.pop(keep) if keep else -1
        finally:
            self.close_slots()

    def close_slots(self) -> None:
        """Close what the parent's steps opened and left open."""
        while self.slots:
            os.close(self.slots.popitem()[1])
