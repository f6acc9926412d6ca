"""Pickling: which objects cross to another process, and which refuse.

Errors and values cross: `multiprocessing` and `concurrent.futures` bring them to the caller with the same text.  An
object that owns a thing of one process (a descriptor, a lock, a directory that goes with it) refuses with a TypeError that says why.

:see: https://docs.python.org/3/library/pickle.html
"""

from __future__ import annotations

from ..base.frozen import frozen
from ..errors import PlanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["Elsewhere", "OneProcess", "crosses"]


class OneProcess:
    """Base of what lives in one process: to pickle it, or to copy it, is a TypeError.

    :cvar stays: why it cannot cross, and what to send instead
    """

    __slots__ = ()
    stays = "it belongs to the process that made it"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled or copied: {self.stays}")


@frozen
class Elsewhere:
    """Stands for a descriptor, or for a function, of the process that pickled a step.  The step still prints as it did.

    :param name: what it was
    """

    name: str

    def fileno(self) -> int:
        """:raises PlanError: always"""
        raise PlanError(f"{self.name} is of the process where this step was made: make the plan here, from its parts")

    def __call__(self) -> NoReturn:
        self.fileno()
        raise AssertionError


def crosses(value: object) -> bool:
    """Whether a value can be pickled.  Asked of functions, for which nothing else tells."""
    import pickle

    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True
