"""What can go wrong, drawn once.

    ContainerKitError
    ├── PlanError      (also ValueError)   the plan contradicts itself; nothing was touched
    ├── StepError      (also OSError)      a system call of the plan failed; knows which, why and what it means
    ├── Unavailable                        this machine cannot do it; says what was probed and what would help
    ├── Failed                             a program run with check=True did not exit with 0
    ├── LayerError     (also OSError)      a layer is not in the state the call needs
    ├── CgroupError    (also OSError)      the kernel refuses something to a control group
    └── ImageError                         an image is not what it says it is; its kinds are drawn in image/errors.py

Catch `ContainerKitError` to catch everything the library raises on purpose.
"""

from __future__ import annotations

import errno as errno_module
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Result
    from .step import Step
    from .trace import Trace

__all__ = ["CgroupError", "ContainerKitError", "Failed", "ImageError", "LayerError", "PlanError", "StepError", "Unavailable"]


class ContainerKitError(Exception):
    """The root of every error this library raises on purpose."""


class PlanError(ContainerKitError, ValueError):
    """A plan, or a value meant for one, contradicts itself.  Raised before any system call."""


class Unavailable(ContainerKitError):
    """This machine cannot do what was asked.

    :param what: the thing that is missing, as a noun phrase
    :param probed: what was tried to find out
    :param remedy: what would make it available
    """

    def __init__(self, what: str, *, probed: str = "", remedy: str = "") -> None:
        self.what, self.probed, self.remedy = what, probed, remedy
        lines = [f"not available here: {what}"]
        lines += [f"  probed: {probed}"] if probed else []
        lines += [f"  remedy: {remedy}"] if remedy else []
        super().__init__("\n".join(lines))


class LayerError(ContainerKitError, OSError):
    """A layer is closed, in use, or of another form than the call needs."""


class CgroupError(ContainerKitError, OSError):
    """The kernel refuses something to a control group, or the group is not in the state the call needs."""


class ImageError(ContainerKitError):
    """An image, or a part of one, is not what it says it is, or cannot be had."""


class Failed(ContainerKitError):
    """A program run with ``check=True`` did not exit with 0.  `result` has everything it said."""

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
    :ivar trace: what every step before it returned, and how long it took
    """

    def __init__(self, step: Step, errno: int, *, trace: Trace, detail: str = "") -> None:
        OSError.__init__(self, errno, os.strerror(errno) if errno else "too small a result")
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
