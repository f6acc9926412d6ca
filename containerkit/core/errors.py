"""Errors that know a step of a plan, or the result of a program."""

from __future__ import annotations

import errno as errno_module
import os

from ..errors import ContainerKitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .run import Result
    from .step import Step
    from .trace import Trace

__all__ = ["Failed", "StepError", "StepRefused"]


class Failed(ContainerKitError):
    """A program run with ``check=True`` did not exit with 0.  `result` has all of its output."""

    def __init__(self, result: Result) -> None:
        self.result = result
        said = result.stderr.decode(errors="replace").strip()
        stopped = f", stopped by {result.stopped_by}" if result.stopped_by else ""
        super().__init__(f"exit code {result.exit_code}{stopped}" + (f"\n{said}" if said else ""))


class StepError(ContainerKitError, OSError):
    """One system call of a plan failed.

    :ivar errno: the error number, 0 where the call succeeded but with too small a result
    :ivar step: the step that failed
    :ivar hint: what this failure usually means at this step, or ""
    :ivar trace: the result and the duration of every step before it
    """

    def __init__(self, step: Step, errno: int, *, trace: Trace, detail: str = "") -> None:
        OSError.__init__(self, errno, os.strerror(errno) if errno else "too small a result")
        if type(self) is StepError and errno in (errno_module.EPERM, errno_module.EACCES):
            self.__class__ = StepRefused  # as OSError itself does by number, so that `except PermissionError` sees it
        self.step, self.trace, self.detail = step, trace, detail
        self.hint = detail or step.hint_for(errno)

    def __str__(self) -> str:
        name = errno_module.errorcode.get(self.errno or 0, "a short result")
        lines = [str(self.step.call), f"  failed with {name}: {self.strerror}", f"  {self._place()}"]
        lines += [f"  hint: {self.hint}"] if self.hint else []
        done = self.trace.done_before(self.step)
        lines.append(f"  see: {self.step.man}" + (f"   done before: {done}" if done else ""))
        return "\n".join(lines)

    def _place(self) -> str:
        number, count = self.trace.position(self.step)
        asked = f"        (asked for by {self.step.part})" if self.step.part else ""
        side, phase = self.step.side.value, self.step.phase.name.lower()
        return f"step {number} of {count}, {side}, phase {phase}: {self.step.why}{asked}"


class StepRefused(StepError, PermissionError):
    """One system call of a plan was not allowed: EPERM or EACCES.  A `StepError` becomes one by its number."""
