"""From the lines of a file to logical lines: continued lines joined, comments left out, every character with its position."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from ..base.frozen import frozen
from ..errors import DockerfileError
from ._spaces import SPACES
from .words import Remark, Where, Word

__all__ = ["Line", "Reader", "decoded"]

LARGEST = 1 << 20  # bytes of a file


@frozen
class _Piece:
    """A part of a logical line: the characters from `start` on stand in the file from `where` on."""

    start: int
    where: Where


@frozen
class Line:
    """One logical line: joined, without comments.

    :param pieces: the positions of its parts in the file
    :param first, last: lines of the file, from 1
    """

    text: str
    pieces: list[_Piece]
    first: int = 1
    last: int = 1

    @classmethod
    def joined(cls, parts: list[tuple[str, Where]], last: int) -> Line:
        """Join texts, at least one, each with its position."""
        starts = accumulate((len(text) for text, _ in parts), initial=0)
        pieces = [_Piece(start, where) for start, (_, where) in zip(starts, parts, strict=False)]
        return cls("".join(text for text, _ in parts), pieces, parts[0][1].line, last)

    def at(self, offset: int) -> Where:
        """Return the position of a character in the file."""
        piece = self.pieces[max(0, bisect_right(self.pieces, offset, key=lambda piece: piece.start) - 1)]
        where = piece.where
        return Where(where.line, where.column + offset - piece.start, where.text, where.name)

    def word(self, start: int, end: int | None = None) -> Word:
        """Return the characters from `start` to `end`, without the spaces around them."""
        text = self.text[start:end]
        return Word(text.strip(SPACES), self.at(start + len(text) - len(text.lstrip(SPACES))))


class Reader:
    """Reads a file, one logical line after the other.

    :param escape: set by the directive, before the first line is read
    :ivar remarks: on text that is allowed but doubtful
    """

    def __init__(self, text: str, name: str) -> None:
        self.lines = text.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()
        self.name, self.escape, self.number = name, "\\", 0
        self.remarks: list[Remark] = []

    def where(self, number: int, column: int = 1) -> Where:
        """Return a position; lines and columns count from 1."""
        text = self.lines[number - 1].rstrip("\r") if 0 < number <= len(self.lines) else ""
        return Where(number, column, text, self.name)

    def next(self) -> Line | None:
        """Return the next line with an instruction, or None."""
        while self.number < len(self.lines):
            text, where, more = self._first()
            if text or more:
                parts = [(text, where)]
                while more and self.number < len(self.lines):
                    more = self._continue(parts)
                return Line.joined(parts, self.number)
        return None

    def _take(self) -> str:
        self.number += 1
        return self.lines[self.number - 1].rstrip("\r")

    def _first(self) -> tuple[str, Where, bool]:
        """Return the next line of the file, its position, and whether it is continued.  A comment is returned empty."""
        text = self._take()
        bare = text.lstrip(SPACES)
        where = self.where(self.number, len(text) - len(bare) + 1)
        return ("", where, False) if bare.startswith("#") else self._uncontinued(bare, where)

    def _continue(self, parts: list[tuple[str, Where]]) -> bool:
        """Add the next line of the file, unless it is empty or a comment.  Return whether that line is continued."""
        text = self._take()
        bare = text.lstrip(SPACES)
        if not bare:
            self.remarks.append(Remark(self.number, 1, "an empty line inside an instruction: docker will refuse it one day"))
        if not bare or bare.startswith("#"):
            return True
        text, where, more = self._uncontinued(text, self.where(self.number))
        parts.append((text, where))
        return more

    def _uncontinued(self, text: str, where: Where) -> tuple[str, Where, bool]:
        """Return `text` without the escape that continues it.  An escape that is escaped itself does not continue the line."""
        bare = text.rstrip(" \t")
        more = bare.endswith(self.escape) and bare[-2:-1] != self.escape
        return (bare[:-1] if more else text), where, more

    def until(self, end: str, *, strip: bool) -> str | None:
        """Return the lines up to a line `end`, without that line; None if there is no such line.

        :param strip: whether tabs before `end` are dropped
        """
        for number in range(self.number, len(self.lines)):
            text = self.lines[number].rstrip("\r")
            if (text.lstrip("\t") if strip else text) == end:
                taken = self.lines[self.number : number]
                self.number = number + 1
                return "".join(f"{line}\n" for line in taken)
        return None


def decoded(data: str | bytes, name: str) -> str:
    """Return the text of a file, without a byte order mark.

    :raises DockerfileError: the file is larger than a Dockerfile can be
    """
    if len(data) > LARGEST:
        raise DockerfileError(f"the file is larger than {LARGEST} bytes", name=name)
    text = data if isinstance(data, str) else data.decode("utf-8", "surrogateescape")
    return text.removeprefix("\ufeff")
