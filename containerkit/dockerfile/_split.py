"""Functions that divide a line: keyword, flags and the rest; words with quotes; JSON arrays."""

from __future__ import annotations

from collections.abc import Iterator

from ..base import late
from ..base.frozen import frozen
from ._lines import Line
from ._spaces import SPACES
from .words import Word

__all__ = ["NotStrings", "Statement", "array", "between_spaces", "quoted_words", "statement"]

_GAP = late.pattern(r"[\t\v\f\r ]+")
_WORD = late.pattern(r"[^\t\v\f\r ]+")
_STRING = late.pattern(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_SURROGATE = late.pattern("[\ud800-\udfff]")


@frozen
class Statement:
    """One instruction, divided.

    :param keyword: as written
    :param flags: each with its two dashes, without quotes and escapes
    :param start: the index in the line at which the rest begins
    :param rest: the text after the flags
    """

    line: Line
    keyword: Word
    flags: tuple[Word, ...]
    start: int
    rest: Word


class NotStrings(ValueError):
    """A JSON array with an element that is no string; `offset` is the position of the first such element."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__("not a string")


def statement(line: Line, escape: str, start: int = 0) -> Statement:
    """Divide a line from `start` on."""
    text = line.text
    begin = _skip(text, start)
    gap = _GAP.search(text.rstrip(SPACES), begin)
    keyword = line.word(begin, gap.start() if gap else None)
    flags, position = _flags(line, gap.end() if gap else len(text), escape)
    position = _skip(text, position)
    return Statement(line, keyword, tuple(flags), position, line.word(position))


def _skip(text: str, position: int) -> int:
    """Return the index after the spaces at `position`."""
    while position < len(text) and text[position] in SPACES:
        position += 1
    return position


def _flags(line: Line, position: int, escape: str) -> tuple[list[Word], int]:
    """Return the words that begin with two dashes, and the index after them.  A bare ``--`` ends the flags and is not one."""
    flags: list[Word] = []
    while line.text.startswith("--", start := _skip(line.text, position)):
        flag, position = _unquoted(line.text, start, escape)
        if flag == "--":
            break
        flags.append(Word(flag, line.at(start)))
    return flags, position


def _unquoted(text: str, position: int, escape: str) -> tuple[str, int]:
    """Return the word at `position` without its quotes and escapes, and the index after it."""
    letters, quote = [], ""
    while position < len(text) and (quote or text[position] not in SPACES):
        letter = text[position]
        position += 1
        if letter == escape:
            letters.append(text[position : position + 1])
            position += 1
        elif letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        else:
            letters.append(letter)
    return "".join(letters), position


def between_spaces(statement: Statement) -> list[Word]:
    """Divide the rest at spaces; quotes have no meaning."""
    line, start = statement.line, statement.start
    end = start + len(statement.rest)
    return [Word(found[0], line.at(found.start())) for found in _WORD.finditer(line.text, start, end)]


def quoted_words(statement: Statement, escape: str) -> list[Word]:
    """Divide the rest into words, with their quotes and escapes; a space inside quotes does not divide."""
    text, line, position = statement.rest, statement.line, 0
    words = []
    while position < len(text):
        if text[position] in SPACES:
            position += 1
            continue
        start, position = position, _word_end(text, position, escape)
        # drop an escape at the very end, which escapes nothing
        word = text[start : len(text) - (position > len(text))] if position >= len(text) else text[start:position]
        if word:
            words.append(Word(word, line.at(statement.start + start)))
    return words


def _word_end(text: str, position: int, escape: str) -> int:
    """Return the index after a word; beyond the end of the text if an escape is its last letter."""
    quote = ""
    while position < len(text) and (quote or text[position] not in SPACES):
        letter = text[position]
        if letter == escape and quote != "'":
            position += 1
        elif letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        position += 1
    return position


def array(statement: Statement, start: int = 0) -> list[Word] | None:
    """Parse a JSON array of strings in the rest, from `start` on.  Return None if it is not JSON.

    :raises NotStrings: JSON, but not of strings alone
    """
    import json

    text = statement.rest[start:]
    if not text.startswith("["):
        return None
    words: list[Word] = []
    for offset, token in _strings(text):
        if token is None:
            if _is_array(text):
                raise NotStrings(start + offset)
            return None
        value = _SURROGATE.sub("\ufffd", json.loads(token))
        words.append(Word(value, statement.line.at(statement.start + start + offset)))
    return words


def _strings(text: str) -> Iterator[tuple[int, str | None]]:
    """Yield the position of each element of an array, and its text; None instead of the text at the first that is no string."""
    position, end = _after(text, 1), False
    if text[position : position + 1] == "]":
        end, position = True, position + 1
    while not end:
        found = _STRING.match(text, position)
        if not found:
            yield position, None
            return
        after = _after(text, found.end())
        if text[after : after + 1] not in (",", "]"):
            yield position, None
            return
        yield position, found[0]
        end = text[after] == "]"
        position = _after(text, after + 1)
    if text[position:].strip(" \t\r\n"):
        yield position, None


def _after(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\r", "\n"):
        position += 1
    return position


def _is_array(text: str) -> bool:
    import json

    try:
        return isinstance(json.loads(text, parse_constant=_refuse), list)
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is Python's, not JSON's")
