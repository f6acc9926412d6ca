"""Context: a divided line with its heredocs, for the function that reads an instruction, and the checks that all of them share."""

from __future__ import annotations

from typing import Any

from ..base import late
from ..base.frozen import field, frozen
from ._base import Command, Heredoc
from ._spaces import SPACES
from ._split import NotStrings, Statement, array
from .words import Remark, Warn, Word

__all__ = ["Context"]

_LIKE_JSON = late.pattern(r"""\[\s*("[^"]*"|'[^']*')\s*[],]""")  # a JSON array of strings, and not a shell's [ "$x" = y ]


@frozen
class Context:
    """The input of the function that reads an instruction.

    :param statement: the divided line
    :param heredocs: the texts that follow
    :param common: the fields of every instruction: its position, its source, the escape character
    :param warn: called with a remark on text that is allowed but doubtful
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
        """The text after the flags."""
        return self.statement.rest

    def remark(self, text: str, word: Word) -> None:
        """Warn about a word that is allowed but doubtful."""
        self.warn(Remark(word.where.line, word.where.column, text))

    def needs(self, what: str) -> None:
        """Check that text follows the keyword.  :raises DockerfileError: nothing does; `what` was expected"""
        if not self.rest:
            statement = self.statement
            where = statement.line.at(len(statement.line.text.rstrip(SPACES)))
            raise where.error(f"{statement.keyword.upper()} ends here: {what} was expected")

    def array(self, start: int = 0) -> list[Word] | None:
        """Parse the rest as a JSON array.  Return None, with a remark if the text looks like JSON, if it is none.

        :raises DockerfileError: JSON, but not of strings
        """
        try:
            words = array(self.statement, start)
        except NotStrings as error:
            place = self.statement.line.at(self.statement.start + error.offset)
            raise place.error("the JSON form is an array of strings: a string in double quotes was expected") from None
        if words is None and _LIKE_JSON.match(self.rest, start):
            self.remark("the text begins like JSON and is not JSON: it is taken as a line for a shell", self._at(start))
        return words

    def _at(self, start: int) -> Word:
        return Word("", self.statement.line.at(self.statement.start + start))

    def command(self, start: int = 0) -> Command:
        """Parse the rest as a command in one of its two forms."""
        words = self.array(start)
        line = self.rest[start:]
        return Command(tuple(words)) if words is not None else Command((Word(line, self._at(start).where),), shell=True)
