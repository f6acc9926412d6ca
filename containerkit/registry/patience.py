"""Timeouts and retries for registries.

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
LASTING = (Absent, TooSlow, Untrusted)  # not retried: a user with a wrong host name wants to know at once


@frozen
class Timeouts:
    """Limits on waiting, in seconds.

    :param connect: for a connection and its TLS handshake
    :param read: for the next bytes; also for all headers of an answer, from the first byte on
    :param commit: for the answer to the last byte of an upload, while the registry moves the blob to its final path
    :param window: seconds of waiting over which the speed is measured
    :param speed: bytes a second that an answer must have over each `window`
    """

    connect: float = 10.0
    read: float = 60.0
    commit: float = 600.0
    window: float = 30.0
    speed: int = 1024


@frozen
class Retries:
    """Rules for repeating a request that may succeed the next time.

    :param attempts: after the first one
    :param first: seconds of the first pause; each later pause is twice as long, give or take a quarter
    :param longest: seconds of the longest pause; if a registry asks for more, the request fails
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 60.0

    def pause(self, attempt: int, said: float | None = None) -> float | None:
        """Return the seconds to wait before another attempt; None if there shall be none.

        :param attempt: number of attempts since the first
        :param said: seconds that the registry asks for
        """
        import random

        if attempt >= self.attempts or (said is not None and said > self.longest):
            return None
        own: float = min(self.first * 2.0**attempt, self.longest) * random.uniform(0.75, 1.25)
        return min(max(own, said or 0.0), self.longest)


def may_pass(error: RegistryError) -> bool:
    """Whether the same request may succeed later.  An error after all retries does not count as passing."""
    if error.spent:
        return False
    if isinstance(error, ServerError):
        return error.status not in (501, 505)
    if isinstance(error, Refused):
        return error.status in (408, 425)
    return isinstance(error, TooManyRequests) or (isinstance(error, Unreachable) and not isinstance(error, LASTING))


def insist(action: Callable[[], Result], retries: Retries) -> Result:
    """Repeat an action while it fails with a passing error.  :raises RegistryError: the error of the last attempt"""
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
            LOG.debug("%s: tried again in %.1f s", type(error).__name__, pause)  # the error's text may contain a signed URL
        attempt += 1
        task_group.sleep(pause)


def seconds_after(text: str) -> float | None:
    """Parse a Retry-After header, seconds or a date, to seconds.  Return None if it is neither.  :see: rfc9110 section 10.2.3"""
    import email.utils

    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = email.utils.parsedate_to_datetime(text)
        return max(0.0, when.timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
