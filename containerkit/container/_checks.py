"""Checks of a spec's fields.  Each takes a caller's value and returns the form that the spec keeps; none of them touches anything.

Text is kept as `os.fsdecode` gives it, so that bytes which are not UTF-8 survive, and two ways to write the same bytes are equal.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping

from ..base import checks
from ..base.frozen import FrozenDict, fields
from ..core import mounting
from ..errors import PlanError, WrongType
from ..linux import syscalls
from .errors import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Check = Callable[[Any], Any]
    Checks = Mapping[str, Check]


def settle(value: Any, table: Checks) -> None:
    """Put every field of a frozen value through its check.  :raises SpecError: a field is refused; the error names it"""
    for name, check in table.items():
        try:
            object.__setattr__(value, name, check(getattr(value, name)))
        except (PlanError, UnicodeError) as error:
            raise refused(name, error) from None


def shown(value: Any, *, secret: str = "") -> str:
    """Return a value of a class with many fields, as one would write it: without those that are as they are anyway.

    :param secret: a field of which only the number of items is shown
    """
    plain = type(value)()
    given = [(each.name, getattr(value, each.name)) for each in fields(value) if getattr(value, each.name) != getattr(plain, each.name)]
    words = (f"{name}=<{len(item)} of them>" if name == secret else f"{name}={item!r}" for name, item in given)
    return f"{type(value).__name__}({', '.join(words)})"


def word(value: Any) -> str:
    """Return text for the kernel, empty or not."""
    return os.fsdecode(syscalls.text(value))


def path(value: Any) -> str:
    """Return a path, not empty."""
    return word(checks.path(value, "it"))


def path_outside(value: Any) -> str:
    """Return an absolute path of the host."""
    return mounting.outside(path(value))


def path_inside(value: Any) -> str:
    """Return an absolute path inside the root, without ``..``."""
    mounting.inside(found := path(value))
    return found


def text(value: Any) -> str:
    """Return text that is for people and documents, not for the kernel: any characters that UTF-8 has."""
    if not isinstance(value, str):
        raise WrongType(f"expected text, not {checks.said(value)}")
    value.encode()
    return value


def tuple_of(check: Check, of: str) -> Check:
    """Return a list, each item checked.  :param of: what the items are, as errors call them"""
    return lambda value: tuple(_each(check, checks.listed(value, "it", of)))


def _each(check: Check, items: list[Any]) -> list[Any]:
    found = []
    for index, item in enumerate(items):
        try:
            found.append(check(item))
        except (PlanError, UnicodeError) as error:
            raise refused(f"[{index}]", error) from None
    return found


words = tuple_of(word, "words")
texts = tuple_of(text, "names")
paths_inside = tuple_of(path_inside, "paths")
paths_outside = tuple_of(path_outside, "paths")


def environment(value: Any) -> FrozenDict[str, str]:
    """Return a mapping of variables by name."""
    return FrozenDict({word(name): word(text) for name, text in checks.environment(value).items()})


def mapping(value: Any) -> FrozenDict[str, str]:
    """Return a mapping of text by name."""
    return FrozenDict({text(name): text(words) for name, words in checks.mapping(value, "it").items()})


def flag(value: Any) -> bool:
    """Return True or False, and refuse any other value."""
    return checks.flag(value, "it")


def optional(check: Check) -> Check:
    """Return the check of a value that may also be None."""
    return lambda value: None if value is None else check(value)


def one_of(*values: Any, kinds: tuple[type, ...] = ()) -> Check:
    """Return a check that a value is one of some values, or an object of one of some types."""

    def check(value: Any) -> Any:
        if isinstance(value, kinds) or any(value is each or (isinstance(value, str) and value == each) for each in values):
            return value
        *most, last = [*map(repr, values), *(f"a {kind.__name__}" for kind in kinds)]
        wanted = f"{', '.join(most)} or {last}" if most else last
        kind = PlanError if isinstance(value, str) and any(isinstance(each, str) for each in values) else WrongType
        raise kind(f"expected {wanted}, not {checks.said(value)}")

    return check


def data(value: Any) -> Any:
    """Return a copy that JSON can express and that cannot change: mappings, lists, text, numbers."""
    if isinstance(value, Mapping):
        return FrozenDict({text(name): data(item) for name, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(map(data, value))
    if isinstance(value, os.PathLike):
        return text(os.fspath(value))
    if isinstance(value, float) and not math.isfinite(value):
        raise PlanError(f"expected a number, not {value}")
    if value is None or isinstance(value, str):
        return value if value is None else text(value)
    if not isinstance(value, int | float):
        raise WrongType(f"expected text, a number, a list or a mapping, not {checks.said(value)}")
    return value
