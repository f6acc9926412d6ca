"""Patterns of paths: of .dockerignore, of --exclude, and of the sources of COPY.

    Pattern.parse("**/*.py").matches("a/b.py")                      ** is any directories, or none
    Pattern.parse("*/b?.[ch]", deep=False).matches("a/b1.c")        Go's filepath.Match: * and ? stop at a slash

:see: https://docs.docker.com/build/concepts/context/#syntax and https://pkg.go.dev/path/filepath#Match
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from ..base.frozen import frozen
from ..errors import Crossing

__all__ = ["BadPattern", "Pattern", "clean"]

LONGEST = 4096  # characters
NAME_MAX = 255
MOST_DEEP, MOST_WILD = 2, 3  # as many wildcards as a regular expression matches fast on every path


class BadPattern(Crossing, ValueError):
    """A malformed pattern.  `offset` is the position of the fault."""

    def __init__(self, text: str, offset: int) -> None:
        self.offset = offset
        super().__init__(text)


STAR, DEEP, REST = "*", "**/", "**"


@frozen
class Pattern:
    """A pattern.

    :param text: as `clean` leaves it
    :param tokens: STAR is any text in one name, DEEP any directories or none, REST any text to the end; another token is a regular
        expression of one character
    """

    text: str
    tokens: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, *, deep: bool = True) -> Pattern:
        """Parse a pattern as written.

        :param deep: whether ``**`` goes through directories
        :raises BadPattern: a bracket is not closed, a range is empty, or a backslash ends the pattern
        """
        if len(text) > LONGEST:
            raise BadPattern(f"a pattern has more than {LONGEST} characters", 0)
        if deep and text.startswith("**") and not text.startswith("**/") and not re.search(r"[][*?\\]", text[2:]):
            return cls(text, (REST, *_shorter(_tokens(text[2:], deep))))  # docker's own rule: **.log is every path that ends in .log
        return cls(text, tuple(_shorter(_tokens(text, deep))))

    def matches(self, path: str) -> bool:
        """Whether the pattern matches all of `path`, which has slashes but none at its beginning."""
        return _matcher(self.tokens)(path)

    @property
    def literal(self) -> str:
        """The text before the first wildcard, with which each matching path begins."""
        return _literal(self.tokens)

    @property
    def is_literal(self) -> bool:
        """Whether the pattern matches one path alone."""
        return all(len(token.removeprefix("\\")) == 1 and token not in ("*", ".") for token in self.tokens)


def clean(path: str) -> str:
    """Remove doubled slashes, ``.`` and ``..``, as Go's filepath.Clean does."""
    rooted, names = path.startswith("/"), list[str]()
    for name in path.split("/"):
        if name == ".." and names and names[-1] != "..":
            names.pop()
        elif name not in ("", ".") and not (name == ".." and rooted):
            names.append(name)
    return "/" * rooted + "/".join(names) or "."


def _shorter(tokens: Iterable[str]) -> Iterator[str]:
    """Drop a wildcard that repeats the one before: it has no meaning, and each takes time."""
    last = ""
    for token in tokens:
        if token != last or token not in (STAR, DEEP, REST):
            yield token
        last = token


def _tokens(text: str, deep: bool) -> Iterator[str]:
    position = 0
    while position < len(text):
        letter = text[position]
        if letter == "*":
            token, position = _star(text, position, deep)
        elif letter == "[":
            token, position = _class(text, position)
        elif letter == "\\":
            if position + 1 == len(text):
                raise BadPattern("a backslash ends the pattern: a character was expected after it", position)
            token, position = re.escape(text[position + 1]), position + 2
        else:
            token, position = "[^/]" if letter == "?" else re.escape(letter), position + 1
        yield token


def _star(text: str, position: int, deep: bool) -> tuple[str, int]:
    if not deep or text[position + 1 : position + 2] != "*":
        return STAR, position + 1
    position += 2
    slash = text[position : position + 1] == "/"
    return (REST if position + slash == len(text) else DEEP), position + slash


def _class(text: str, start: int) -> tuple[str, int]:
    """Return a class in brackets as a regular expression, and the index after it."""
    position = start + 1
    negated = text.startswith("^", position)
    position += negated
    ranges: list[str] = []
    while not text.startswith("]", position) or not ranges:
        low, position = _member(text, position, start)
        high = low
        if text.startswith("-", position):
            high, position = _member(text, position + 1, start)
        if high < low:
            raise BadPattern(f"the range {low}-{high} ends before it begins", start)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"[{'^' * negated}{''.join(ranges)}]", position + 1


def _member(text: str, position: int, start: int) -> tuple[str, int]:
    if text.startswith("\\", position):
        position += 1
    elif text[position : position + 1] in ("-", "]"):
        raise BadPattern(f"{text[position]} in brackets needs a backslash", position)
    if position >= len(text):
        raise BadPattern("a bracket is not closed: ] was expected", start)
    return text[position], position + 1


def _literal(tokens: tuple[str, ...]) -> str:
    letters = []
    for token in tokens:
        if len(token.removeprefix("\\")) != 1 or token == STAR:
            break
        letters.append(token.removeprefix("\\"))
    return "".join(letters)


@lru_cache(maxsize=4096)
def _matcher(tokens: tuple[str, ...]) -> Callable[[str], bool]:
    """Return a regular expression where it is fast for every path, else a `_walker`."""
    if tokens.count(DEEP) > MOST_DEEP or tokens.count(DEEP) + tokens.count(STAR) > MOST_WILD:
        return _walker(tokens)
    said = {STAR: "[^/]*", DEEP: "(?:.*/)?", REST: ".*"}
    expression = re.compile("".join(said.get(token, token) for token in tokens), re.DOTALL)
    # a star costs more with a longer name, and names of the kernel are short
    return lambda path: (expression.fullmatch(path) is not None) if _is_path(path) else _walker(tokens)(path)


def _is_path(path: str) -> bool:
    return len(path) <= NAME_MAX or (len(path) <= LONGEST and max(map(len, path.split("/"))) <= NAME_MAX)


def _walker(tokens: tuple[str, ...]) -> Callable[[str], bool]:
    """Return a matcher that reads a path once, and keeps one bit for each index in the pattern that the path can have reached."""
    single = [re.compile(token, re.DOTALL) if token not in (STAR, DEEP, REST) else None for token in tokens]
    stars, rests, deeps = (_bits(index for index, token in enumerate(tokens) if token == kind) for kind in (STAR, REST, DEEP))
    accepts: dict[str, int] = {}

    def walk(path: str) -> bool:
        inside, now = 0, _reach(1, stars | rests | deeps)  # inside: the DEEPs that are in the middle of a name
        for letter in path:
            if letter not in accepts:
                accepts[letter] = _bits(index for index, one in enumerate(single) if one is not None and one.fullmatch(letter))
            inside |= now & deeps
            following = (now & accepts[letter]) << 1 | now & rests
            following |= inside << 1 if letter == "/" else now & stars
            now = _reach(following, stars | rests | deeps)
        return bool(now >> len(tokens) & 1)

    return walk


def _bits(indexes: Iterable[int]) -> int:
    return sum(1 << index for index in indexes)


def _reach(indexes: int, empty: int) -> int:
    """Add the indexes that can be reached over tokens that also match nothing."""
    while (further := indexes | (indexes & empty) << 1) != indexes:
        indexes = further
    return indexes
