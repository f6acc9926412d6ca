"""Words of a Dockerfile: text that knows where it was written.

word = instruction.sources[0]           a str like any other
raise word.where.error("not found")     the very word is pointed at
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..base.frozen import field, frozen
from ..errors import DockerfileError

__all__ = ["NOWHERE", "Remark", "Warn", "Where", "Word"]


@frozen
class Where:
    """A place in a Dockerfile.

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
        """An error that points here; `text` says what is wrong and what was expected."""
        return DockerfileError(text, name=self.name, line=self.line, column=self.column, source=self.text)


NOWHERE = Where()


class Remark(NamedTuple):
    """Something that is allowed and should be looked at."""

    line: int
    column: int
    text: str


Warn = Callable[[Remark], None]


class Word(str):
    """Text that knows where it was written.  Equal to the same text from anywhere else."""

    __slots__ = ("where",)
    where: Where

    def __new__(cls, text: str, where: Where = NOWHERE) -> Word:
        """As `text`, written at `where`."""
        word = str.__new__(cls, text)
        word.where = where
        return word
