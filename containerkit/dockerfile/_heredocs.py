"""Heredocs: the words that announce one, and the writing of such a word.

:see: https://docs.docker.com/reference/dockerfile/#here-documents
"""

from __future__ import annotations

import re

from ..base import late
from ._base import Heredoc
from ._lexer import Lexer, Problem
from ._lines import Reader
from ._split import Statement
from .words import Where, Word

__all__ = ["announced", "announcement", "read"]

_ANNOUNCED = late.pattern(r"[0-9]*<<(-?)([^<]*)")


def announced(word: str, where: Where) -> Heredoc | None:
    """Return the heredoc, still without text, that a word announces; None if the word announces none.

    :raises DockerfileError: a quote in the heredoc's name is not closed
    """
    found = _ANNOUNCED.fullmatch(word)
    if not found or not found[2]:
        return None
    try:
        names = Lexer(found[2], {}, keep_unset=True).run()[1]
        quoted = Lexer(found[2], {}, keep_unset=True, keep_quotes=True).run()[1]
    except Problem as problem:
        raise where.error(f"the name of a heredoc: {problem}") from None
    if len(names) != 1:
        return None
    return Heredoc(names[0], "", _quotes(names[0]) == _quotes("".join(quoted)), bool(found[1]), where=where)


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')


def announcement(heredoc: Heredoc) -> str:
    """Return a word that announces a heredoc."""
    mark, name = "<<-" if heredoc.strip else "<<", heredoc.name
    if heredoc.expand:
        return mark + re.sub(r"([\"'$\\])", r"\\\1", name)
    return mark + (f"'{name}'" if "'" not in name else '"' + re.sub(r"([\"$\\])", r"\\\1", name) + '"')


def read(statement: Statement, reader: Reader) -> tuple[Heredoc, ...]:
    """Read the heredocs of a line, whose texts are the next lines of the file.

    :raises DockerfileError: a heredoc has no end
    """
    if "<<" not in statement.rest:
        return ()
    heredocs = (announced(word, word.where) for word in _words(statement))
    return tuple(_with_text(heredoc, reader) for heredoc in heredocs if heredoc)


def _with_text(heredoc: Heredoc, reader: Reader) -> Heredoc:
    place = reader.where(reader.number + 1)
    text = reader.until(heredoc.name, strip=heredoc.strip)
    if text is None:
        raise heredoc.where.error(f"the heredoc has no end: a line {heredoc.name!r} was expected after its text")
    return Heredoc(heredoc.name, text, heredoc.expand, heredoc.strip, where=place)


def _words(statement: Statement) -> list[Word]:
    """Divide a line into words as a shell does.  Return none if its quotes are not closed, an error that the shell reports."""
    text = statement.rest
    try:
        words = Lexer(text, {}, raw=True, keep_unset=True).run()[1]
    except Problem:
        return []
    found, position = [], 0
    for word in words:
        position = max(text.find(word, position), position)
        found.append(Word(word, statement.line.at(statement.start + position)))
    return found
