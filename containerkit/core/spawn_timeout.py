"""The error of a spawn that took too long.  It has a module of its own, for `subprocess` takes a while to load."""

from __future__ import annotations

import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .trace import Trace

__all__ = ["SpawnTimeout"]


class SpawnTimeout(subprocess.TimeoutExpired):
    """The time given to `Plan.spawn` is over, and the child is no more.

    :ivar trace: the steps that were made so far, and when
    """

    trace: Trace | None = None
