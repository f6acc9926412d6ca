"""Readers of the lines of COPY and ADD."""

from __future__ import annotations

from ._context import Context
from ._copies import Add, Copy
from ._flags import Flags
from ._heredocs import announced
from ._split import between_spaces
from .words import Word

__all__ = ["read_add", "read_copy"]


def _files(context: Context) -> tuple[list[Word], Word]:
    """Return the sources and the destination of COPY and ADD, without the sources that are heredocs."""
    keyword = context.statement.keyword.upper()
    context.needs("a source and a destination")
    words = context.array()
    shell = words is None
    words = between_spaces(context.statement) if words is None else words
    if len(words) < 2:
        end = context.statement.line.at(context.statement.start + len(context.rest))
        raise end.error(f"{keyword} has one argument: a source and a destination were expected")
    *sources, dest = words
    if shell and announced(dest, dest.where):
        raise dest.where.error(f"{keyword} cannot write into a heredoc: a destination was expected")
    paths = [word for word in sources if not shell or _is_path(word)]
    if len(sources) - len(paths) != len(context.heredocs):
        raise context.rest.where.error(f"the name of a heredoc of {keyword} is one word without spaces")
    return paths, dest


def _is_path(word: Word) -> bool:
    return "<<" not in word or announced(word, word.where) is None


def read_copy(context: Context) -> Copy:
    flags = Flags(context.statement, "from chown chmod", truths="link parents", lists="exclude")
    if "$" in flags.text("from"):
        raise flags.text("from").where.error("--from takes no variables: name a stage with FROM ... AS, and give that name")
    sources, dest = _files(context)
    return Copy(
        tuple(sources), dest, context.heredocs, flags.text("chown"), flags.text("chmod"), flags.truth("link"), _excludes(flags),
        from_=flags.text("from"), parents=flags.truth("parents"), **context.common,
    )  # fmt: skip


def read_add(context: Context) -> Add:
    flags = Flags(context.statement, "chown chmod checksum", truths="link keep-git-dir unpack", lists="exclude")
    sources, dest = _files(context)
    return Add(
        tuple(sources), dest, context.heredocs, flags.text("chown"), flags.text("chmod"), flags.truth("link"), _excludes(flags),
        flags.text("checksum"), flags.truth("keep-git-dir"), flags.choice("unpack"), **context.common,
    )  # fmt: skip


def _excludes(flags: Flags) -> tuple[Word, ...]:
    """Return the patterns of --exclude; an empty pattern excludes nothing."""
    return tuple(pattern for pattern in flags.many("exclude") if pattern)
