"""A lexer for words, quotes and variables, which follows buildkit's shell lexer.

:see: https://github.com/moby/buildkit/tree/master/frontend/dockerfile/shell
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..base import late
from ._spaces import SPACES
from ._wildcards import BadPattern, Wildcard

__all__ = ["Lexer", "Problem"]

DEEPEST = 32  # ${ inside ${
LARGEST = 1 << 20  # characters in a result
SPECIAL = frozenset("@*#?-$!")
_SPACE = late.pattern(f"[{SPACES}]")
_PLAIN = {escape + stop: re.compile(f"[^$'\"{re.escape(escape + stop)}]+") for escape in "\\`" for stop in ("", "/", "}")}


class Problem(ValueError):
    """A fault in a text.  The caller, which knows the text's position, makes a DockerfileError of it."""


class _Words:
    """The words of a result, divided at spaces that were not quoted."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.open: list[str] = []

    def add(self, text: str) -> None:
        """Add text whose spaces divide words."""
        first, *others = _SPACE.split(text)
        self.open.append(first)
        for piece in others:
            self.close()
            self.open.append(piece)

    def close(self) -> None:
        """End a word.  A word without letters does not count."""
        word = "".join(self.open)
        self.open.clear()
        if word:
            self.done.append(word)


class Lexer:
    """Reads one text, once.

    :param escape: the character that makes the next one literal
    :param quotes: whether quotes are special
    :param raw: quotes and escapes are read, and stay in the result
    :param keep_quotes: quotes are read, and stay in the result
    :param keep_unset: a variable that is not set stays as it is written
    :ivar unset: variables in the text that are not set
    """

    def __init__(
        self, text: str, lookup: Mapping[str, str], escape: str = "\\", *,
        quotes: bool = True, raw: bool = False, keep_quotes: bool = False, keep_unset: bool = False,
    ) -> None:  # fmt: skip
        self.text, self.lookup, self.escape = text, lookup, escape
        self.quotes, self.raw, self.keep_quotes, self.keep_unset = quotes, raw, keep_quotes or raw, keep_unset
        self.unset: dict[str, None] = {}
        self.position = self.depth = self.size = 0

    def run(self) -> tuple[str, list[str]]:
        """Return the expanded text, and its words.

        :raises Problem: the text is not well formed
        """
        return self._until("", self.raw)

    def _peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def _next(self) -> str:
        self.position += 1
        return self.text[self.position - 1 : self.position]

    def _grown(self, text: str) -> str:
        self.size += len(text)
        if self.size > LARGEST:
            raise Problem(f"the text expands to more than {LARGEST} characters")
        return text

    def _until(self, stop: str, raw: bool) -> tuple[str, list[str]]:
        """Read up to `stop` outside of quotes; "" stands for the end of the text."""
        result, words, plain = [], _Words(), _PLAIN[self.escape + stop]
        while letter := self._peek():
            if stop and letter == stop:
                self.position += 1
                break
            if letter == "$":
                result.append(self._grown(self._dollar(raw)))
                words.add(result[-1])
            elif self.quotes and letter in "'\"":
                result.append(self._single() if letter == "'" else self._double(raw))
                words.open.append(result[-1])
            elif letter == self.escape:
                self.position += 1
                result.append((letter if raw else "") + self._next())
                words.open.append(result[-1])
            else:
                run = plain.match(self.text, self.position)
                result.append(run[0] if run else letter)
                self.position += len(result[-1])
                words.add(result[-1])
        else:
            if stop:
                raise Problem(f"the text ends, and {stop} was expected before that")
        words.close()
        return "".join(result), words.done

    def _single(self) -> str:
        start = self.position
        end = self.text.find("'", start + 1)
        if end < 0:
            raise Problem("a single quote is not closed: ' was expected before the end")
        self.position = end + 1
        return self.text[start : end + 1] if self.keep_quotes else self.text[start + 1 : end]

    def _double(self, raw: bool) -> str:
        self.position += 1
        quote = '"' if self.keep_quotes else ""
        result = [quote]
        while letter := self._peek():
            if letter == "$":
                result.append(self._grown(self._dollar(raw)))
                continue
            self.position += 1
            if letter == '"':
                return "".join([*result, quote])
            if letter == self.escape and self._peek() in ('"', "$", self.escape):
                letter = (letter if raw else "") + self._next()
            elif letter == self.escape and raw:
                letter *= 2  # an escaped escape stays doubled: a pattern needs both
            result.append(letter)
        raise Problem('a double quote is not closed: " was expected before the end')

    def _dollar(self, raw: bool) -> str:
        start = self.position
        self.position += 1
        if self._peek() != "{":
            name = self._name()
            return self._value(name, self.text[start : self.position]) if name else "$"
        self.position += 1
        self.depth += 1
        if self.depth > DEEPEST:
            raise Problem(f"${{ inside ${{ deeper than {DEEPEST}")
        value = self._braces(start, raw)
        self.depth -= 1
        return value

    def _name(self) -> str:
        """Read a name: digits, or one special character, or letters, digits and underscores."""
        start, text = self.position, self.text
        if self._peek() in SPECIAL and self._peek():
            self.position += 1
        elif self._peek().isdecimal():
            while self._peek().isdecimal():
                self.position += 1
        else:
            while self._peek().isalpha() or self._peek().isdecimal() or self._peek() == "_":
                self.position += 1
        return text[start : self.position]

    def _value(self, name: str, written: str) -> str:
        if name in self.lookup:
            return self.lookup[name]
        if self.keep_unset:
            return written
        self.unset[name] = None
        return ""

    def _braces(self, start: int, raw: bool) -> str:
        if self._peek() in ("{", ":", "}"):
            raise Problem(f"bad substitution: the name of a variable was expected after ${{, not {self._peek()}")
        name = self._name()
        modifier = self._next()
        if modifier == "}":
            return self._value(name, self.text[start : self.position])
        if modifier == "/":
            return self._replaced(name, start)
        colon = modifier == ":"
        modifier = self._next() if colon else modifier
        if not modifier:
            raise Problem("the text ends inside ${: } was expected")
        if modifier not in ("+-?" if colon else "+-?#%"):
            raise Problem(f"unsupported modifier {':' * colon}{modifier} in ${{{name[:40]}...}}: one of - + ? # % / or }} was expected")
        word = self._inner("}", raw=modifier in "#%")
        if self.keep_unset and name not in self.lookup:
            return self.text[start : self.position]
        return self._trimmed(name, modifier, word) if modifier in "#%" else self._chosen(name, modifier, word, colon)

    def _inner(self, stop: str, *, raw: bool) -> str:
        return self._until(stop, raw)[0]

    def _chosen(self, name: str, modifier: str, word: str, colon: bool) -> str:
        value = self.lookup.get(name)
        missing = value is None or (colon and value == "")
        if modifier == "?" and missing:
            raise Problem(f"{name}: {word or 'is not allowed to be ' + ('unset' if value is None else 'empty')}")
        if modifier == "+":
            return "" if missing else word
        return word if missing else value or ""

    def _trimmed(self, name: str, modifier: str, word: str) -> str:
        value = self._value(name, "")
        longest = word.startswith(modifier)
        pattern = self._pattern(word[longest:], backwards=modifier == "%")
        if modifier == "#":
            span = pattern.find(value, anchored=True, longest=longest)
            return value[span[1] :] if span else value
        span = pattern.find(value[::-1], anchored=True, longest=longest)
        return value[: len(value) - span[1]] if span else value

    def _replaced(self, name: str, start: int) -> str:
        everywhere = self._peek() == "/"
        self.position += everywhere
        before, after = self._inner("/", raw=True), self._inner("}", raw=True)
        if self.keep_unset and name not in self.lookup:
            return self.text[start : self.position]
        value, pattern = self._value(name, ""), self._pattern(before)
        if everywhere:
            return self._grown("".join(pattern.replace(value, after, limit=LARGEST)))
        span = pattern.find(value)
        return value[: span[0]] + after + value[span[1] :] if span else value

    def _pattern(self, text: str, *, backwards: bool = False) -> Wildcard:
        try:
            return Wildcard.parse(text, backwards=backwards)
        except BadPattern as error:
            raise Problem(f"not a pattern: {error}") from None
