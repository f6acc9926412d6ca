"""Checks of a public call's arguments, made before anything is touched.

One rule: an argument of a wrong type is a `WrongType`, which is a `PlanError` and a TypeError; a value that cannot be is a
`PlanError`.  Either says what is wanted and, where one can guess, what was meant.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping

from ..errors import PlanError, WrongType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["argv", "data", "environment", "flag", "how_run", "listed", "mapping", "number", "path", "seconds", "words"]

LONGEST = 1_000_000_000  # seconds: poll(2) and its like overflow at some value above it
UNSORTED = (str, bytes, bytearray, Mapping, set, frozenset)  # no list: their order is no order, or their items are no words


def said(value: object) -> str:
    """Return the value and its type, as much as fits into a line."""
    shown = repr(value)
    return f"{shown if len(shown) <= 60 else shown[:57] + '...'} ({type(value).__name__})"


def is_path(value: object) -> bool:
    """Whether the kernel can be told it: text, bytes or a path."""
    return isinstance(value, str | bytes | os.PathLike) and not isinstance(value, type)


def path(value: Any, name: str) -> Any:
    """Return a path, not empty.  :raises WrongType, PlanError: it is none"""
    if not is_path(value):
        raise WrongType(f"{name} wants a path, as str, bytes or pathlib.Path, not {said(value)}")
    if not os.fspath(value):
        raise PlanError(f"{name} wants a path, and this one is empty")
    return value


def listed(value: Any, name: str, of: str) -> list[Any]:
    """Return the items of a list, a tuple or an iterator.  :raises WrongType: something else"""
    if isinstance(value, UNSORTED) or not isinstance(value, Iterable):
        hint = f": did you mean [{value!r}]?" if isinstance(value, str | bytes) else ""
        raise WrongType(f"{name} wants a list of {of}, not {said(value)}{hint}")
    return list(value)


def words(value: Any, name: str, of: str = "words") -> list[Any]:
    """Return a list of words.  :raises WrongType: something else, or something else in it"""
    found = listed(value, name, of)
    for index, word in enumerate(found):
        if not is_path(word):
            hint = f": did you mean {str(word)!r}?" if isinstance(word, int | float) else ""
            raise WrongType(f"{name}[{index}] is {said(word)}, and words are str, bytes or paths{hint}")
    return found


def argv(value: Any) -> list[Any]:
    """Return a program and its arguments.  :raises WrongType, PlanError: they are none"""
    if isinstance(value, str | bytes):
        split = value.split()
        raise WrongType(f'run wants a list of words, not one string: did you mean run={split!r}, or run=["sh", "-c", {value!r}]?')
    found = words(value, "run")
    if not found or not os.fspath(found[0]):
        raise PlanError("run wants at least the name of a program")
    return found


def environment(value: Any) -> dict[str, str]:
    """Return a mapping of variables by name.  :raises WrongType, PlanError: they are none"""
    if value is not None and not isinstance(value, Mapping):
        hint = ""
        if isinstance(value, list | tuple) and all(isinstance(item, str) and "=" in item for item in value):
            hint = f": did you mean {dict(item.split('=', 1) for item in value)!r}?"
        raise WrongType(f"env wants a mapping of names to values, not {said(value)}{hint}")
    for name, text in (value or {}).items():
        if not isinstance(name, str | bytes) or not is_path(text):
            hint = f": did you mean {str(text)!r}?" if isinstance(text, int | float) else ""
            raise WrongType(f"env wants text for names and values, not {said(name)}: {said(text)}{hint}")
        if not name or ("=" if isinstance(name, str) else b"=") in name:  # type: ignore[operator]
            raise PlanError(f"not a name of an environment variable: {name!r}")
    return {os.fsdecode(name): os.fsdecode(text) for name, text in (value or {}).items()}


def mapping(value: Any, name: str) -> dict[str, str]:
    """Text by name, or None.  :raises WrongType: something else"""
    if value is not None and not (isinstance(value, Mapping) and all(isinstance(t, str) for pair in value.items() for t in pair)):
        raise WrongType(f"{name} wants a mapping of names to text, not {said(value)}")
    return dict(value or {})


def number(value: Any, name: str) -> int:
    """Return a whole number.  :raises WrongType: it is none"""
    if not isinstance(value, int) or isinstance(value, bool):
        hint = f": did you mean {int(value)}?" if isinstance(value, str) and value.isascii() and value.isdigit() else ""
        raise WrongType(f"{name} wants a whole number, not {said(value)}{hint}")
    return value


def seconds(value: Any, name: str = "timeout") -> float | None:
    """Return a time, or None for ever.  :raises WrongType, PlanError: it is none"""
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise WrongType(f"{name} wants seconds as a number, not {said(value)}" + _as_number(value))
    if abs(value) > LONGEST:
        raise PlanError(f"{name} wants at most {LONGEST} seconds: give None for no limit")
    if math.isnan(value):
        raise PlanError(f"{name} wants seconds, and nan is no number")
    return value


def _as_number(value: object) -> str:
    try:
        return f": did you mean {float(value):g}?" if isinstance(value, str) else ""
    except ValueError:
        return ""


def data(value: Any, name: str = "input") -> Any:
    """Bytes, or None.  :raises WrongType: something else"""
    if value is not None and not isinstance(value, bytes | bytearray | memoryview):
        hint = ": did you mean .encode()?" if isinstance(value, str) else ""
        raise WrongType(f"{name} wants bytes, not {said(value)}{hint}")
    return value


def flag(value: Any, name: str) -> bool:
    """True or False.  :raises WrongType: something else"""
    if not isinstance(value, bool):
        raise WrongType(f"{name} is True or False, not {said(value)}")
    return value


def how_run(timeout: Any, input: Any, check: Any) -> None:
    """Check the arguments that `run` and `Plan.run` take beside a plan.  :raises WrongType, PlanError: one cannot be"""
    seconds(timeout), data(input), flag(check, "check")


def is_stream(value: object) -> bool:
    """Whether it has, or is, a descriptor."""
    if isinstance(value, bool):
        return False
    return value is None or isinstance(value, int) or (callable(getattr(value, "fileno", None)) and not isinstance(value, type))


def stream(value: Any, name: str) -> Any:
    """Return a file, a descriptor, or a word as PIPE.

    :raises WrongType: something else, or a file without a descriptor;  :raises PlanError: a file that is closed
    """
    try:
        if is_stream(value) and (value is None or isinstance(value, int) or value.fileno() >= 0):
            return value
    except OSError:  # io.UnsupportedOperation: a file in memory
        pass
    except ValueError as error:
        raise PlanError(f"{name} is a file that was closed: {error}") from None
    hint = f': did you mean open({value!r}, "wb")?' if isinstance(value, str | os.PathLike) else ""
    raise WrongType(f"{name} wants an open file, a descriptor, or PIPE, DEVNULL or the like, not {said(value)}{hint}")
