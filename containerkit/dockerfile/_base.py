"""What every instruction has; commands in their two forms; heredocs; how words are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Self

from ..base import late
from ..base.frozen import field, frozen, replace
from .expansion import Expansion
from .words import NOWHERE, Warn, Where

__all__ = ["Command", "Heredoc", "Instruction", "flag", "flags", "list_of"]

_PLAIN = late.pattern(r"[!-~]+")


@frozen(kw_only=True)
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
        return self.expanded(Expansion(lookup, self.escape, warn))

    def expanded(self, expansion: Expansion) -> Self:
        """As `expand`, in a way that is settled already.

        :raises DockerfileError: as `expand`
        """
        return self

    def arguments(self) -> Iterator[str]:
        """What stands after the keyword in the normal form, without its flags."""
        yield from ()

    def written_flags(self) -> Iterator[str]:
        """Its flags in the normal form."""
        yield from ()

    def bodies(self) -> tuple[Heredoc, ...]:
        """The heredocs that follow."""
        return ()

    def __str__(self) -> str:
        rest = " ".join(self.arguments())
        words = [self.keyword, *self.written_flags(), *(["--"] if rest.startswith("--") else []), rest]
        text = "\n".join([" ".join(word for word in words if word), *(body.text + body.name for body in self.bodies())])
        # an escape at the very end stays only where another one continues the line, into nothing
        ends = text.endswith(self.escape) and text[-2:-1] != self.escape
        return f"{text} {self.escape}" if ends else text


@frozen
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

    def __str__(self) -> str:
        return self.words[0] if self.shell else _json(self.words)


@frozen
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
        return re.sub(r"^\t+", "", self.text, flags=re.MULTILINE) if self.strip else self.text

    def expanded(self, expansion: Expansion) -> Heredoc:
        """With the variables of its content replaced, if it wants that; then nothing more is to be stripped."""
        if not self.expand:
            return self
        return replace(self, text=expansion.document(self.content, self.where), strip=False, expand=expansion.dry)


def flag(name: str, value: object, escape: str) -> Iterator[str]:
    """A flag as it is written; nothing where the value is "", None or False."""
    if value is True:
        yield f"--{name}"
    elif value is False or value is None or value == "":
        return
    else:
        yield f"--{name}=" + re.sub(rf"([\s'\"{re.escape(escape)}])", lambda found: escape + found[1], str(value))


def flags(values: Mapping[str, object], escape: str) -> Iterator[str]:
    """Flags as they are written, in the order of `values`."""
    for name, value in values.items():
        yield from flag(name, value, escape)


def list_of(words: Sequence[str], *, json: bool = True) -> str:
    """Words with spaces between; as JSON where that would not say the same, if there is JSON."""
    plain = all(_PLAIN.fullmatch(word) and "<<" not in word for word in words)
    if json and (not plain or not words or words[0].startswith("[") or words[-1].endswith(("\\", "`"))):
        return _json(words)
    return " ".join(words)


def _json(words: Iterable[str]) -> str:
    import json

    return json.dumps(list(words), ensure_ascii=False)
