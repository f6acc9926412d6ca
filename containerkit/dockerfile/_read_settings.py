"""Readers of the lines of the instructions that only set a value."""

from __future__ import annotations

from collections.abc import Callable

from ..base.frozen import replace
from ._base import Instruction
from ._context import Context
from ._flags import Flags
from ._settings import Arg, Env, Expose, From, Label, Maintainer, Pair, Volume
from ._spaces import SPACES
from ._split import between_spaces, quoted_words
from .words import Word

__all__ = ["read_arg", "read_env", "read_expose", "read_from", "read_label", "read_maintainer", "read_text", "read_volume"]

LONGEST = 128  # characters of a stage's name


def read_from(context: Context) -> From:
    flags = Flags(context.statement, "platform")
    context.needs("the name of an image")
    words = between_spaces(context.statement)
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise words[min(1, len(words) - 1)].where.error("FROM takes an image alone, or: FROM image AS name")
    name = _stage_name(context, words[2]) if len(words) == 3 else ""
    return From(words[0], name, flags.text("platform"), **context.common)


def _stage_name(context: Context, word: Word) -> Word:
    name = Word(word.lower(), word.where)
    if not name[0].isascii() or not name[0].isalpha() or name.strip("abcdefghijklmnopqrstuvwxyz0123456789-_.") or len(name) > LONGEST:
        text = f"{word[:80]!r} is not a name for a stage: a letter was expected, then letters, digits and - _ ."
        raise word.where.error(text)
    if name in ("scratch", "context"):
        context.remark(f"a stage called {name} has the same name as one of docker's own", word)
    return name


def read_arg(context: Context) -> Arg:
    Flags(context.statement)
    context.needs("a name, or name=default")
    pairs = []
    for word in quoted_words(context.statement, context.escape):
        name, equals, default = word.partition("=")
        if not name:
            raise word.where.error("the name before = is missing")
        pairs.append(Pair(Word(name, word.where), _after(word, default) if equals else None))
    return Arg(tuple(pairs), **context.common)


def _after(word: Word, value: str) -> Word:
    """Return the end of a word, with its own position if the word is on one line."""
    where, before = word.where, len(word) - len(value)
    whole = where.text.startswith(word, where.column - 1)
    return Word(value, replace(where, column=where.column + before) if whole else where)


def _pairs(context: Context) -> tuple[tuple[Pair, ...], bool]:
    """Return the pairs of ENV and LABEL, and whether they are written the old way."""
    keyword = context.statement.keyword.upper()
    Flags(context.statement)
    context.needs("name=value")
    words = quoted_words(context.statement, context.escape)
    if not words or "=" not in words[0]:
        context.remark(f"{keyword} without = is the old form: write {keyword} name=value", context.rest)
        return (_legacy(context, keyword),), True
    pairs = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise word.where.error(f"{word[:80]!r} is not name=value" + ("; a value with spaces needs quotes" if not equals else ""))
        pairs.append(Pair(Word(name, word.where), _after(word, text)))
    return tuple(pairs), False


def _legacy(context: Context, keyword: str) -> Pair:
    words = between_spaces(context.statement)
    if len(words) < 2:
        end = context.statement.line.at(context.statement.start + len(context.rest))
        raise end.error(f"{keyword} {words[0][:80]} has no value: name=value was expected")
    start = context.rest.find(words[1], len(words[0]))
    return Pair(words[0], Word(context.rest[start:], words[1].where))


def read_env(context: Context) -> Env:
    return Env(*_pairs(context), **context.common)


def read_label(context: Context) -> Label:
    return Label(*_pairs(context), **context.common)


def read_volume(context: Context) -> Volume:
    Flags(context.statement)
    context.needs("a path")
    words = context.array()
    words = between_spaces(context.statement) if words is None else words
    words = [Word(word.strip(SPACES), word.where) for word in words]
    if not words or not all(words):
        raise context.rest.where.error("VOLUME has an empty path or list: a path was expected")
    return Volume(tuple(words), **context.common)


def read_expose(context: Context) -> Expose:
    Flags(context.statement)
    context.needs("a port")
    return Expose(tuple(between_spaces(context.statement)), **context.common)


def read_text(make: Callable[..., Instruction], what: str) -> Callable[[Context], Instruction]:
    """Return a reader of an instruction whose one argument is the whole rest."""

    def read(context: Context) -> Instruction:
        Flags(context.statement)
        context.needs(what)
        return make(context.rest, **context.common)

    return read


def read_maintainer(context: Context) -> Maintainer:
    Flags(context.statement)
    context.needs("a name")
    context.remark("MAINTAINER is deprecated: use LABEL org.opencontainers.image.authors=...", context.statement.keyword)
    return Maintainer(context.rest, **context.common)
