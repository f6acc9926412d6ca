"""Signals that ask us to end: they are passed on to the program that we run."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from ..container.stopping import Stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["StoppingBySignal"]

ASKED = (signal.SIGTERM, signal.SIGHUP)


class StoppingBySignal(Stopping):
    """Passes SIGTERM and SIGHUP on to the program, while this process runs it.

    Enter it before there is a program, so that no signal is lost.
    """

    def _signalled(self, number: int, _: FrameType | None) -> None:
        self.stop()

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._signalled) for number in ASKED}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        for number, old in self._before.items():
            signal.signal(number, old)
        self.close()
