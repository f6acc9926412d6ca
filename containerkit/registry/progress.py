"""Progress of a transfer: events, one at a time, for a bar or a line.

pull("app:1", store, progress=print)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

from ..base.frozen import frozen
from ..image.descriptor import Descriptor

__all__ = ["Callback", "Progress", "Reporter", "State"]

State = Literal["waiting", "downloading", "exists", "mounted", "uploading", "unpacking", "done"]
EVERY = 0.05  # seconds between two events about one blob


@frozen
class Progress:
    """An event about one blob, or about the whole transfer.

    :ivar what: the blob, or the name of the image
    :ivar done: bytes transferred
    :ivar total: bytes in all; 0 if unknown
    """

    what: Descriptor | str
    done: int
    total: int
    state: State


Callback = Callable[[Progress], object]


class Reporter:
    """Calls a callback from many threads, one call at a time and not too often.  An exception of the callback ends the transfer."""

    def __init__(self, callback: Callback | None) -> None:
        self._callback, self._lock = callback, threading.Lock()

    def __call__(self, what: Descriptor | str, state: State, done: int = 0) -> None:
        if self._callback:
            total = what.size if isinstance(what, Descriptor) else 0
            with self._lock:
                self._callback(Progress(what, done, total, state))

    def counter(self, what: Descriptor, state: State) -> Callable[[int], None]:
        """Return a function that takes the number of bytes transferred."""
        last = 0.0

        def count(done: int) -> None:
            nonlocal last
            now = time.monotonic()
            if self._callback and (now - last >= EVERY or done == what.size):
                last = now
                self(what, state, done)

        return count
