"""The flags of an instruction, held against those it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ._split import Statement
from .words import Word

__all__ = ["Flags", "suggestion", "value"]

T = TypeVar("T")


def suggestion(word: str, known: Iterable[str]) -> str:
    """The one of `known` that was probably meant: a half sentence, or "" """
    import difflib

    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word[:40].lower(), by_lower, 1, 0.6)
    return f" (did you mean {by_lower[near[0]]}?)" if near else ""


def value(make: Callable[[str], T], word: Word) -> T:
    """What `make` makes of a word.

    :raises DockerfileError: at the word, with the ValueError's text
    """
    try:
        return make(word)
    except ValueError as error:
        raise word.where.error(str(error)) from None


class Flags:
    """The flags of one instruction.

    :param texts: names of flags with a value
    :param truths: names of flags that are there or not
    :param lists: names of flags with a value that can come again
    :raises DockerfileError: one is unknown, twice there, or without its value
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
            raise flag.where.error(f"--{name} is there twice")
        if not equals and name not in self._truths:
            raise flag.where.error(f"--{name} has no value: --{name}=... was expected")
        if name in self._truths and (equals or text) and text.lower() not in ("true", "false"):
            raise flag.where.error(f"--{name} is true or false, not {text[:80]!r}")
        self._values.setdefault(name, []).append(Word(text, flag.where))

    def text(self, name: str) -> Word:
        """The value of a flag, or ""."""
        return self._values.get(name, [Word("")])[0]

    def many(self, name: str) -> tuple[Word, ...]:
        """All values of a flag."""
        return tuple(self._values.get(name, ()))

    def truth(self, name: str) -> bool:
        """Whether a flag is there, and not false."""
        return bool(self.choice(name))

    def choice(self, name: str) -> bool | None:
        """As `truth`; None where nothing was said."""
        given = self._values.get(name)
        return given[0].lower() != "false" if given else None
