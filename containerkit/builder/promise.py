"""A result that a thread makes and others wait for, as `concurrent.futures.Future`, which loads `logging` and all that it needs."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Promise"]

T = TypeVar("T")


class Promise(Generic[T]):
    """A result, or an error, that is set once."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether it is set."""
        return self._set.is_set()

    def set_result(self, value: T) -> None:
        self._value = value
        self._set.set()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._set.set()

    def result(self) -> T:
        """Wait for the result.  :raises BaseException: the error that was set instead"""
        self._set.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]
