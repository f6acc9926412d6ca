"""What a build tells while it works.

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
KEPT = 20  # lines of the last output, for who asks what went wrong
LONGEST = 64 << 10  # bytes of a line that are waited for


@frozen
class Event:
    """One thing that happened.

    :ivar stage: its name, or its number
    :ivar step, total: which one of how many in its stage, from 1
    :ivar name: the instruction
    :ivar state: "started", "cached", "output", "done", "failed", "warning"
    :ivar data: of "output": whole lines, as they were written; of the last one its end may be missing
    :ivar text: of "warning" and "failed": what about
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
    """One step's reports.  Events of different steps may come from different threads, one at a time.

    :param progress: who wants to know; nobody unless given
    """

    progress: Progress | None
    lock: threading.Lock
    stage: str = ""
    step: int = 0
    total: int = 0
    name: str = ""
    began: float = field(default_factory=time.monotonic)

    def at(self, step: int, total: int, name: str) -> Reporter:
        """The reports of one step of the stage."""
        return Reporter(self.progress, self.lock, self.stage, step, total, name)

    def tell(self, state: State, *, data: bytes = b"", text: str = "") -> None:
        """Something happened."""
        if self.progress is not None:
            with self.lock:
                seconds = time.monotonic() - self.began
                self.progress(Event(self.stage, self.step, self.total, self.name, state, data, text, seconds))

    def listen(self, fd: int) -> bytes:
        """Passes on what comes out of a pipe, line by line, to its end.  Returns the last lines."""
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
