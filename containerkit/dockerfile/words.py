"""Words of a Dockerfile: text that carries its position in the file.

word = instruction.sources[0]           a str like any other
raise word.where.error("not found")     the error points at this word
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..base.frozen import field, frozen
from ..errors import DockerfileError

__all__ = ["NOWHERE", "Remark", "Warn", "Where", "Word"]


@frozen
class Where:
    """A position in a Dockerfile.

    :param line: from 1
    :param column: in the line, from 1, in characters
    :param text: the whole line
    :param name: of the file
    """

    line: int = 1
    column: int = 1
    text: str = field(default="", repr=False)
    name: str = field(default="Dockerfile", repr=False)

    def error(self, text: str) -> DockerfileError:
        """Return an error that points to this position; `text` names the fault and the expected text."""
        return DockerfileError(text, name=self.name, line=self.line, column=self.column, source=self.text)


NOWHERE = Where()


class Remark(NamedTuple):
    """A warning about text that is allowed but doubtful."""

    line: int
    column: int
    text: str


Warn = Callable[[Remark], None]


class Word(str):
    """Text that carries its position in a Dockerfile.  It equals the same text at any other position."""

    __slots__ = ("where",)
    where: Where

    def __new__(cls, text: str, where: Where = NOWHERE) -> Word:
        """Make a word of `text`, written at `where`."""
        word = str.__new__(cls, text)
        word.where = where
        return word
