"""The instructions COPY and ADD."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

from ..base.frozen import frozen, replace
from ._base import Heredoc, Instruction, flag, flags, list_of
from ._flags import value
from ._heredocs import announcement
from ._values import mode
from .expansion import Expansion
from .words import Word

__all__ = ["Add", "Copy"]


@frozen
class _Files(Instruction):
    """The common part of COPY and ADD.

    :param sources: patterns below the context, a stage or an image; for ADD also URLs
    :param dest: a path; a directory if it ends in /
    :param heredocs: files whose text stands in the Dockerfile
    :param chown: "user:group", or ""
    :param chmod: octal or symbolic, or ""
    :param link: whether the copy does not depend on the files below the destination
    :param excludes: patterns of paths that are left out
    """

    sources: tuple[str, ...]
    dest: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    excludes: tuple[str, ...] = ()

    def expanded(self, expansion: Expansion) -> Self:
        expanded = replace(
            self,
            sources=tuple(expansion.word(source) for source in self.sources),
            dest=expansion.word(self.dest),
            heredocs=tuple(heredoc.expanded(expansion) for heredoc in self.heredocs),
            chown=expansion.word(self.chown),
            chmod=expansion.word(self.chmod),
            excludes=tuple(expansion.word(pattern) for pattern in self.excludes),
        )
        expanded._check(expansion)
        return expanded

    def _check(self, expansion: Expansion) -> None:
        if self.chmod and not expansion.open(self.chmod):
            value(mode, _word(self.chmod, self))
        several = len(self.sources) + len(self.heredocs) > 1
        if several and not expansion.open(self.dest) and not self.dest.endswith(("/", "/.", "/..")) and self.dest not in (".", ".."):
            text = f"{self.keyword} of several sources needs a directory: {self.dest[:80]}/ was expected"
            raise _word(self.dest, self).where.error(text)

    def written_flags(self) -> Iterator[str]:
        yield from flags({"chown": self.chown, "chmod": self.chmod, "link": self.link}, self.escape)
        for pattern in self.excludes:
            yield from flag("exclude", pattern, self.escape)

    def arguments(self) -> Iterator[str]:
        words = [*self.sources, *map(announcement, self.heredocs), self.dest]
        yield list_of(words, json=not self.heredocs)

    def bodies(self) -> tuple[Heredoc, ...]:
        return self.heredocs


def _word(text: str, instruction: Instruction) -> Word:
    return text if isinstance(text, Word) else Word(text, instruction.where)


@frozen
class Copy(_Files):
    """COPY: files of the context, of a stage or of an image.

    :param from_: a stage's name or number, or an image; "" for the context
    :param parents: whether the directories above a source are kept
    """

    keyword: ClassVar[str] = "COPY"
    from_: str = ""
    parents: bool = False

    def written_flags(self) -> Iterator[str]:
        yield from flags({"from": self.from_, "parents": self.parents}, self.escape)
        yield from _Files.written_flags(self)


@frozen
class Add(_Files):
    """ADD: files of the context or the network; tars are unpacked.

    :param checksum: the digest of the fetched file, or ""
    :param keep_git_dir: whether .git of a repository stays
    :param unpack: whether tars are unpacked; None: local tars are, fetched tars are not
    """

    keyword: ClassVar[str] = "ADD"
    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None

    def expanded(self, expansion: Expansion) -> Add:
        return replace(_Files.expanded(self, expansion), checksum=expansion.word(self.checksum))

    def written_flags(self) -> Iterator[str]:
        unpack = "false" if self.unpack is False else self.unpack
        yield from flags({"checksum": self.checksum, "keep-git-dir": self.keep_git_dir, "unpack": unpack}, self.escape)
        yield from _Files.written_flags(self)
