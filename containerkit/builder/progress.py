"""The progress of a build, reported as events.

    build(".", progress=lambda event: print(event))

:see: `Event`
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Literal

from ..base.frozen import field, frozen, record

__all__ = ["Event", "Progress", "Reporter"]

State = Literal["started", "cached", "output", "done", "failed", "warning"]
KEPT = 20  # lines of a program's last output that a failure reports
LONGEST = 64 << 10  # bytes of a line before it is passed on unfinished


@frozen
class Event:
    """One event of a build.

    :ivar stage: the stage's name, or its number
    :ivar step: the instruction's number in its stage, from 1
    :ivar total: the number of instructions in the stage
    :ivar name: the instruction
    :ivar state: "started", "cached", "output", "done", "failed", "warning"
    :ivar data: of "output": whole lines, as the program wrote them; the last line may be incomplete
    :ivar text: the message of "warning" and "failed"
    :ivar seconds: since the step began
    """

    stage: str
    step: int
    total: int
    name: str
    state: State
    data: bytes = b""
    text: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        head = f"[{self.stage} {self.step}/{self.total}]" if self.total else "[build]"
        if self.state == "output":
            return "\n".join(f"{head} {line}" for line in self.data.decode(errors="replace").splitlines())
        tail = {"cached": " (cached)", "done": f" ({self.seconds:.2f} s)", "failed": f" failed: {self.text}", "warning": f": {self.text}"}
        return f"{head} {self.name}{tail.get(self.state, '')}"


Progress = Callable[[Event], object]


@record
class Reporter:
    """The reports of one step.  Different steps may report from different threads; `progress` gets one event at a time.

    :param progress: is called with each event; None drops them
    """

    progress: Progress | None
    lock: threading.Lock
    stage: str = ""
    step: int = 0
    total: int = 0
    name: str = ""
    began: float = field(default_factory=time.monotonic)

    def at(self, step: int, total: int, name: str) -> Reporter:
        """Return a reporter for one step of the stage."""
        return Reporter(self.progress, self.lock, self.stage, step, total, name)

    def tell(self, state: State, *, data: bytes = b"", text: str = "") -> None:
        """Report an event."""
        if self.progress is not None:
            with self.lock:
                seconds = time.monotonic() - self.began
                self.progress(Event(self.stage, self.step, self.total, self.name, state, data, text, seconds))

    def listen(self, fd: int) -> bytes:
        """Report the output in a pipe, line by line, to its end, and return the last lines."""
        rest, last = b"", list[bytes]()
        while data := os.read(fd, LONGEST):
            whole, newline, rest = (rest + data).rpartition(b"\n")
            if not newline and len(rest) >= LONGEST:
                whole, rest = rest, b""
            if whole:
                last = [*last, *whole.split(b"\n")][-KEPT:]
                self.tell("output", data=whole + newline)
        if rest:
            last.append(rest)
            self.tell("output", data=rest)
        return b"\n".join(last[-KEPT:])
