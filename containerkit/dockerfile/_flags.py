"""The flags of an instruction, checked against the flags that the instruction has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ._split import Statement
from .words import Word

__all__ = ["Flags", "suggestion", "value"]

T = TypeVar("T")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean X?)" for the closest of `known`, or an empty text."""
    import difflib

    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word[:40].lower(), by_lower, 1, 0.6)
    return f" (did you mean {by_lower[near[0]]}?)" if near else ""


def value(make: Callable[[str], T], word: Word) -> T:
    """Convert a word by `make`.

    :raises DockerfileError: at the word, with the text of `make`'s ValueError
    """
    try:
        return make(word)
    except ValueError as error:
        raise word.where.error(str(error)) from None


class Flags:
    """The flags of one instruction.

    :param texts: names of flags with a value
    :param truths: names of flags that are true or false
    :param lists: names of flags with a value that may appear more than once
    :raises DockerfileError: a flag is unknown, appears twice, or has no value
    """

    def __init__(self, statement: Statement, texts: str = "", *, truths: str = "", lists: str = "") -> None:
        self._many, self._truths = lists.split(), truths.split()
        self._known = texts.split() + self._many + self._truths
        self._values: dict[str, list[Word]] = {}
        for flag in statement.flags:
            self._add(flag, statement.keyword.upper())

    def _add(self, flag: Word, keyword: str) -> None:
        name, equals, text = flag[2:].partition("=")
        if name not in self._known:
            has = ", ".join(f"--{known}" for known in self._known) or "none"
            hint = suggestion(name, self._known)
            raise flag.where.error(f"{keyword} has no flag --{name[:80]}{hint}; it has {has}")
        if name in self._values and name not in self._many:
            raise flag.where.error(f"--{name} appears twice")
        if not equals and name not in self._truths:
            raise flag.where.error(f"--{name} has no value: --{name}=... was expected")
        if name in self._truths and (equals or text) and text.lower() not in ("true", "false"):
            raise flag.where.error(f"--{name} is true or false, not {text[:80]!r}")
        self._values.setdefault(name, []).append(Word(text, flag.where))

    def text(self, name: str) -> Word:
        """Return the value of a flag, or ""."""
        return self._values.get(name, [Word("")])[0]

    def many(self, name: str) -> tuple[Word, ...]:
        """Return all values of a flag."""
        return tuple(self._values.get(name, ()))

    def truth(self, name: str) -> bool:
        """Whether a flag is given and not false."""
        return bool(self.choice(name))

    def choice(self, name: str) -> bool | None:
        """Return True or False for a flag that is given, None otherwise."""
        given = self._values.get(name)
        return given[0].lower() != "false" if given else None
