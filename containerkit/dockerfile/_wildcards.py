"""The patterns of ``${x#p}``, ``${x%p}`` and ``${x/p/r}``: ``*`` is any text, ``?`` any character, a backslash makes both literal.

A match takes at most the pattern's length times the text's length: the part between two stars is searched once, from the left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..base.frozen import frozen

__all__ = ["BadPattern", "Wildcard"]

LONGEST = 256  # characters of a pattern


class BadPattern(ValueError):
    """A malformed pattern; the text gives the reason."""


@frozen
class Wildcard:
    """A pattern.

    :param pieces: regular expressions for the parts between the stars, each of a fixed length
    :raises BadPattern: from `parse`
    """

    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, pattern: str, *, backwards: bool = False) -> Wildcard:
        """Parse a pattern as written; `backwards` matches a reversed text."""
        if len(pattern) > LONGEST:
            raise BadPattern(f"a pattern has more than {LONGEST} characters")
        pieces: list[list[str]] = [[]]
        for token in _tokens(pattern):
            if token == "*":
                pieces.append([])
            else:
                pieces[-1].append("." if token == "?" else re.escape(token.removeprefix("\\")))
        return cls(tuple("".join(piece[::-1] if backwards else piece) for piece in (pieces[::-1] if backwards else pieces)))

    def find(self, text: str, start: int = 0, *, anchored: bool = False, longest: bool = True) -> tuple[int, int] | None:
        """Return the span of the first match from `start` on, or None."""
        head = re.compile(self.pieces[0], re.DOTALL)
        found = head.match(text, start) if anchored else head.search(text, start)
        if found is None or len(self.pieces) == 1:
            return found and found.span()
        *middle, last = self.pieces[1:]
        # a piece matched as far left as possible leaves most for the pieces after it; only the last piece is matched far right
        tail = "".join(f"(?>.*?{piece})" for piece in middle) + (f".*{last}" if longest else f".*?{last}")
        rest = re.compile(tail, re.DOTALL).match(text, found.end())
        return rest and (found.start(), rest.end())

    def replace(self, text: str, by: str, *, limit: int) -> Iterator[str]:
        """Yield the pieces of `text` with each match replaced by `by`, until more than `limit` characters have come."""
        position = come = 0
        end_of_last = -1
        while position <= len(text) and come <= limit:
            span = self.find(text, position)
            if span is None:
                break
            start, end = span
            piece = text[position:start] + ("" if start == end == end_of_last else by)
            if start == end:
                piece += text[end : end + 1]
            position, end_of_last = max(end, end + (start == end)), end
            come += len(piece)
            yield piece
        yield text[position:]


def _tokens(pattern: str) -> Iterator[str]:
    position = 0
    while position < len(pattern):
        token = pattern[position]
        following = pattern[position + 1 : position + 2]
        if token == "\\" and following in ("}", "/"):
            token, position = following, position + 1
        elif token == "\\":
            if following not in ("*", "?", "\\"):
                raise BadPattern(f"{token + following!r}: a backslash may only stand before * ? \\ / or }}")
            token, position = token + following, position + 1
        yield token
        position += 1
