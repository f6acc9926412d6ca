"""The parent as an actor: the same steps, made in the caller's own thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ..errors import ContainerKitError, Unavailable
from ..linux.native import extension, number
from ..linux.procfs import PROC
from ..linux.syscalls import Arg, Bytes, Call, Fd, Labelled, Slot, Tool
from .descriptors import ChildDescriptors, fileno
from .errors import StepError
from .step import Step
from .trace import Raw, Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WORD = 0xFFFFFFFFFFFFFFFF


class ParentExecutor:
    """This process making steps: its slots, its trace, and its way back.

    :ivar pid: the child's, once there is one: ``{pid}/`` in a path, ``{pid}`` in a tool's argument
    :ivar slots: name -> descriptor that a step opened and none closed yet
    :ivar trace: the step's place -> what it returned, and when
    :ivar undo: the ways back, in the order they came
    :ivar said: what the last tool that failed wrote
    """

    def __init__(self, inputs: ChildDescriptors | None = None) -> None:
        self.inputs = inputs
        self.pid, self.said = -1, ""
        self.slots: dict[str, int] = {}
        self.trace: dict[int, Raw] = {}
        self.undo: list[Callable[[], None]] = []
        self.lib, self.ffi = extension().lib, extension().ffi

    def make(self, step: Step, place: int, seconds: float | None = None) -> int:
        """Makes one step of the parent's: a result, or a negated error number.

        :param seconds: what a tool has at most
        :raises subprocess.TimeoutExpired: the tool took longer, and was killed
        """
        self.trace[place] = self._tool(step.call, seconds) if isinstance(step.call, Tool) else self._call(step.call)
        result = self.trace[place][0]
        if step.save and result >= 0:
            if step.save.name in self.slots:  # two parts that make the same, as two that hide files do
                os.close(self.slots[step.save.name])
            self.slots[step.save.name] = result
        if step.undo and result >= 0:
            self.undo.append(self._undoing(step.undo))
        return result

    def _call(self, call: Call) -> Raw:
        alive: list[Any] = []
        values = [self.value(arg, alive) & WORD for arg in call.args]
        trace = self.ffi.new("struct ck_trace *")
        if call.name == "close" and isinstance(call.args[0], Slot):
            del self.slots[call.args[0].name]  # first: whatever interrupts us, nobody closes it twice
        self.lib.ck_call(trace, number(call.name), *values, *[0] * (6 - len(values)))
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

    def _undoing(self, call: Call) -> Callable[[], None]:
        def undo() -> None:
            result = self._call(call)[0]
            if result < 0:
                raise OSError(-result, os.strerror(-result), str(call))

        return undo

    def value(self, arg: Arg, alive: list[Any]) -> int:
        """An argument as a number; memory it points to is kept in `alive`.  ``{pid}`` becomes the child's."""
        match arg:
            case Slot():
                return self.slots[arg.name]
            case Fd(name=PROC.name) if self.inputs:
                return self.inputs.proc()
            case Fd(source=int() | object() as source):
                return fileno(source)
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

    def _filled(self, memory: Bytes) -> bytes:
        data = bytearray(memory.data)
        for offset, word in memory.words:
            if not isinstance(word, Fd | Slot):
                raise ContainerKitError(f"the parent cannot pass {memory}")
            data[offset : offset + 4] = self.value(word, []).to_bytes(4, "little")
        return bytes(data)

    def perform(self, steps: Sequence[Step], keep: str = "") -> int:
        """Makes steps one after the other.  :raises StepError: one failed; what was opened is closed, nothing is undone

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
        """Closes what the parent's steps opened and left open."""
        while self.slots:
            os.close(self.slots.popitem()[1])
