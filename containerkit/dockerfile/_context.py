"""What an instruction is read with, and what every instruction asks of its line."""

from __future__ import annotations

from typing import Any

from ..base import late
from ..base.frozen import field, frozen
from ._base import Command, Heredoc
from ._spaces import SPACES
from ._split import NotStrings, Statement, array
from .words import Remark, Warn, Word

__all__ = ["Context"]

_LIKE_JSON = late.pattern(r"""\[\s*("[^"]*"|'[^']*')\s*[],]""")  # and not [ "$x" = y ]


@frozen
class Context:
    """What an instruction is read with.

    :param statement: its line, divided
    :param heredocs: the texts that follow
    :param common: what every instruction has: its place, its source, the escape character
    :param warn: called with what should be looked at
    """

    statement: Statement
    heredocs: tuple[Heredoc, ...]
    common: dict[str, Any]
    warn: Warn = field(repr=False)

    @property
    def escape(self) -> str:
        """The escape character."""
        return str(self.common["escape"])

    @property
    def rest(self) -> Word:
        """Everything after the flags."""
        return self.statement.rest

    def remark(self, text: str, word: Word) -> None:
        """Something about a word that should be looked at."""
        self.warn(Remark(word.where.line, word.where.column, text))

    def needs(self, what: str) -> None:
        """:raises DockerfileError: nothing follows the keyword"""
        if not self.rest:
            statement = self.statement
            where = statement.line.at(len(statement.line.text.rstrip(SPACES)))
            raise where.error(f"{statement.keyword.upper()} ends here: {what} was expected")

    def array(self, start: int = 0) -> list[Word] | None:
        """The rest as JSON; None, and a remark where it looks like it, when it is not.

        :raises DockerfileError: JSON, but not of strings
        """
        try:
            words = array(self.statement, start)
        except NotStrings as error:
            place = self.statement.line.at(self.statement.start + error.offset)
            raise place.error("the JSON form is an array of strings: one in double quotes was expected") from None
        if words is None and _LIKE_JSON.match(self.rest, start):
            self.remark("it begins like JSON and is not: it is taken as it stands", self._at(start))
        return words

    def _at(self, start: int) -> Word:
        return Word("", self.statement.line.at(self.statement.start + start))

    def command(self, start: int = 0) -> Command:
        """The rest as a command in one of its two forms."""
        words = self.array(start)
        line = self.rest[start:]
        return Command(tuple(words)) if words is not None else Command((Word(line, self._at(start).where),), shell=True)
