"""What every instruction has; commands in their two forms; heredocs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from .expansion import Expansion
from .words import NOWHERE, Warn, Where, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction.

    :param where: its first letter
    :param source: the text as written, with its continuation lines and heredocs
    :param escape: the file's escape character
    """

    keyword: ClassVar[str] = ""
    where: Where = field(default=NOWHERE, compare=False, repr=False)
    source: str = field(default="", compare=False, repr=False)
    escape: str = field(default="\\", repr=False)

    def expand(self, lookup: Mapping[str, str], warn: Warn | None = None) -> Self:
        """The same with its variables replaced and its quotes removed, where buildkit does so.

        :param lookup: the values before this instruction; one that is not there is ""
        :param warn: called with a remark for each variable that is not there
        :raises DockerfileError: ``${x:?}`` of a variable that is not set, or what came out is not allowed here
        """
        return self._expanded(Expansion(lookup, self.escape, warn))

    def _expanded(self, expansion: Expansion) -> Self:
        return self

    def arguments(self) -> Iterable[str]:
        """What stands after the keyword in the normal form."""
        raise NotImplementedError

    def __str__(self) -> str:
        return " ".join([self.keyword, *self.arguments()])


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be run.

    :param words: one line for a shell, or the words of a program and its arguments
    :param shell: whether it is a line for a shell
    """

    words: tuple[str, ...]
    shell: bool = False

    def argv(self, shell: Sequence[str]) -> tuple[str, ...]:
        """What is really started: a line gets `shell` (of SHELL) before it."""
        return (*shell, *self.words) if self.shell else self.words


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A text inside the Dockerfile.

    :param name: the word that ends it; for COPY and ADD the name of the file
    :param text: the lines in between, each with its end; tabs as written
    :param expand: whether variables in it are replaced: its name was not quoted
    :param strip: whether leading tabs do not count: ``<<-``
    """

    name: str
    text: str
    expand: bool = True
    strip: bool = False
    where: Where = field(default=NOWHERE, compare=False, repr=False)

    @property
    def content(self) -> str:
        """The text that is meant: without leading tabs where they do not count."""
        return "".join(line.lstrip("\t") for line in self.text.splitlines(keepends=True)) if self.strip else self.text

    def _expanded(self, expansion: Expansion) -> Heredoc:
        return replace(self, text=expansion.document(self.text, self.where)) if self.expand else self


__all__ = ["Command", "Heredoc", "Instruction", "Word"]
