"""Variables, as buildkit's lexer expands them.

    Expansion({"x": "a b"}).word('"$x" ${y:-c}')        'a b c'
    Expansion({"x": "a b"}).words('$x ${y:-c}')         ['a', 'b', 'c']

    $x ${x}                     the value, or ""
    ${x-w} ${x:-w}              w when x is not set (or empty)
    ${x+w} ${x:+w}              w when x is set (and not empty)
    ${x?w} ${x:?w}              an error with the text w
    ${x#p} ${x##p}              without the shortest (longest) beginning that matches p
    ${x%p} ${x%%p}              without the shortest (longest) end that matches p
    ${x/p/r} ${x//p/r}          the first match (all matches) of p replaced by r

:see: https://docs.docker.com/reference/dockerfile/#environment-replacement
"""

from __future__ import annotations

from collections.abc import Mapping

from ..base.frozen import frozen, replace
from ._lexer import Lexer, Problem
from .words import NOWHERE, Remark, Warn, Where, Word

__all__ = ["Expansion"]


@frozen
class Expansion:
    """The values and rules by which the words of one instruction are expanded.

    :param lookup: the values; a variable without one is ""
    :param escape: the escape character
    :param warn: called with a remark for each variable without a value
    :param dry: only check that the text can be expanded: a variable without a value stays as it is written
    """

    lookup: Mapping[str, str]
    escape: str = "\\"
    warn: Warn | None = None
    dry: bool = False

    def word(self, text: str) -> Word:
        """Expand to one word: variables replaced, quotes removed, spaces kept.

        :raises DockerfileError: the text is not well formed, or ``${x:?}`` has no value
        """
        where = _where(text)
        return Word(self._lexed(text, where)[0], where)

    def words(self, text: str) -> list[Word]:
        """Expand, and divide at the spaces that were not quoted, those of values included.

        :raises DockerfileError: as `word`
        """
        where = _where(text)
        return [Word(word, where) for word in self._lexed(text, where)[1]]

    def document(self, text: str, where: Where) -> str:
        """Expand a heredoc's text: variables replaced, quotes kept, escapes removed.  The escape is always a backslash: the
        directive does not count here.

        :raises DockerfileError: as `word`
        """
        return replace(self, escape="\\")._lexed(text, where, quotes=False)[0]

    def open(self, text: str) -> bool:
        """Whether `text`, expanded dry, still contains a variable."""
        return self.dry and "$" in text

    def _lexed(self, text: str, where: Where, *, quotes: bool = True) -> tuple[str, list[str]]:
        if not self._matters(text):
            return text, text.split()
        lexer = Lexer(text, self.lookup, self.escape, quotes=quotes, keep_unset=self.dry)
        try:
            result = lexer.run()
        except Problem as problem:
            raise where.error(str(problem)) from None
        for name in lexer.unset if self.warn and not self.dry else ():
            self.warn(Remark(where.line, where.column, f"the variable {name} is not set: its value is empty"))  # type: ignore[misc]
        return result

    def _matters(self, text: str) -> bool:
        """Whether there is anything to expand, or a space that `str.split` would treat differently."""
        return not text.isascii() or any(letter in text for letter in ("$", "'", '"', self.escape, "\x1c", "\x1d", "\x1e", "\x1f"))


def _where(text: str) -> Where:
    return text.where if isinstance(text, Word) else NOWHERE
