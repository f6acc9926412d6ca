"""How long to wait for a registry, and how often to try again.

Registry("example.com", timeouts=Timeouts(read=10), retries=Retries(attempts=2))
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ..base.frozen import frozen
from ..base.log import Log
from . import task_group
from .errors import Absent, Refused, RegistryError, ServerError, TooManyRequests, TooSlow, Unreachable, Untrusted

__all__ = ["Retries", "Timeouts", "insist", "seconds_after"]

LOG = Log(__name__)
Result = TypeVar("Result")
LASTING = (Absent, TooSlow, Untrusted)  # who types a wrong name does not want to wait before being told


@frozen
class Timeouts:
    """How long to wait, in seconds.

    :param connect: for a connection, and its TLS
    :param read: for the next bytes; also for all headers of an answer, from its first byte on
    :param commit: for the answer to the last byte of an upload, when the registry moves it to its place
    :param window: waiting that adds up to so long must have brought `speed` bytes for each of its seconds
    """

    connect: float = 10.0
    read: float = 60.0
    commit: float = 600.0
    window: float = 30.0
    speed: int = 1024


@frozen
class Retries:
    """How often to try again what may go well the next time, and how long to wait before, in seconds.

    :param attempts: after the first one
    :param first: the first pause; each is twice the one before, give or take a quarter
    :param longest: pause; a registry that says to wait longer is not waited for
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 60.0

    def pause(self, attempt: int, said: float | None = None) -> float | None:
        """How long to wait before another attempt; None where there is none.

        :param attempt: how many there were since the first
        :param said: what the registry asks for
        """
        import random

        if attempt >= self.attempts or (said is not None and said > self.longest):
            return None
        own: float = min(self.first * 2.0**attempt, self.longest) * random.uniform(0.75, 1.25)
        return min(max(own, said or 0.0), self.longest)


def may_pass(error: RegistryError) -> bool:
    """Whether the same may go well another time.  What was tried until the retries were over may not."""
    if error.spent:
        return False
    if isinstance(error, ServerError):
        return error.status not in (501, 505)
    if isinstance(error, Refused):
        return error.status in (408, 425)
    return isinstance(error, TooManyRequests) or (isinstance(error, Unreachable) and not isinstance(error, LASTING))


def insist(action: Callable[[], Result], retries: Retries) -> Result:
    """Does it again while it fails in a way that may pass.  :raises RegistryError: what the last attempt raised"""
    attempt = 0
    while True:
        try:
            return action()
        except RegistryError as error:
            if not may_pass(error):
                raise
            if (pause := retries.pause(attempt, getattr(error, "after", None))) is None:
                error.spent = True
                raise
            LOG.debug("%s: tried again in %.1f s", type(error).__name__, pause)  # its text may have a signed URL
        attempt += 1
        task_group.sleep(pause)


def seconds_after(text: str) -> float | None:
    """What a Retry-After header asks for: seconds, or a date.  None where it is neither.  :see: rfc9110 section 10.2.3"""
    import email.utils

    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = email.utils.parsedate_to_datetime(text)
        return max(0.0, when.timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
