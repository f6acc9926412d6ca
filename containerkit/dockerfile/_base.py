"""The base of every instruction; commands in their two forms; heredocs; and the writing of words."""

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

    :param where: the position of the instruction's first letter
    :param source: the text as written, with its continuation lines and heredocs
    :param escape: the file's escape character
    """

    keyword: ClassVar[str] = ""
    where: Where = field(default=NOWHERE, compare=False, repr=False)
    source: str = field(default="", compare=False, repr=False)
    escape: str = field(default="\\", repr=False)

    def expand(self, lookup: Mapping[str, str], warn: Warn | None = None) -> Self:
        """Return the same instruction with variables replaced and quotes removed, where buildkit does so.

        :param lookup: the values before this instruction; a variable without one is ""
        :param warn: called with a remark for each variable without a value
        :raises DockerfileError: ``${x:?}`` of a variable that is not set, or the result is not allowed here
        """
        return self.expanded(Expansion(lookup, self.escape, warn))

    def expanded(self, expansion: Expansion) -> Self:
        """Return the instruction expanded by an `Expansion`, for `expand`.

        :raises DockerfileError: as `expand`
        """
        return self

    def arguments(self) -> Iterator[str]:
        """Yield the words after the keyword and its flags, in the normal form."""
        yield from ()

    def written_flags(self) -> Iterator[str]:
        """Yield the instruction's flags in the normal form."""
        yield from ()

    def bodies(self) -> tuple[Heredoc, ...]:
        """Return the heredocs that follow the instruction."""
        return ()

    def __str__(self) -> str:
        rest = " ".join(self.arguments())
        words = [self.keyword, *self.written_flags(), *(["--"] if rest.startswith("--") else []), rest]
        text = "\n".join([" ".join(word for word in words if word), *(body.text + body.name for body in self.bodies())])
        # the parser keeps an escape at the very end only if another one continues the line, into nothing
        ends = text.endswith(self.escape) and text[-2:-1] != self.escape
        return f"{text} {self.escape}" if ends else text


@frozen
class Command:
    """A command of an instruction.

    :param words: one line for a shell, or the words of a program and its arguments
    :param shell: whether `words` is a line for a shell
    """

    words: tuple[str, ...]
    shell: bool = False

    def argv(self, shell: Sequence[str]) -> tuple[str, ...]:
        """Return the program and its arguments: for a line, `shell` (of SHELL) and the line."""
        return (*shell, *self.words) if self.shell else self.words

    def __str__(self) -> str:
        return self.words[0] if self.shell else _json(self.words)


@frozen
class Heredoc:
    """A text inside the Dockerfile.

    :param name: the word that ends the text; for COPY and ADD the name of the file
    :param text: the lines in between, each with its end; tabs as written
    :param expand: whether variables in the text are replaced: they are unless the name was quoted
    :param strip: whether leading tabs are dropped: ``<<-``
    """

    name: str
    text: str
    expand: bool = True
    strip: bool = False
    where: Where = field(default=NOWHERE, compare=False, repr=False)

    @property
    def content(self) -> str:
        """The text, without leading tabs for ``<<-``."""
        return re.sub(r"^\t+", "", self.text, flags=re.MULTILINE) if self.strip else self.text

    def expanded(self, expansion: Expansion) -> Heredoc:
        """Return the heredoc with the variables of its content replaced, unless its name was quoted, and with its tabs dropped."""
        if not self.expand:
            return self
        return replace(self, text=expansion.document(self.content, self.where), strip=False, expand=expansion.dry)


def flag(name: str, value: object, escape: str) -> Iterator[str]:
    """Yield a flag as it is written; nothing if the value is "", None or False."""
    if value is True:
        yield f"--{name}"
    elif value is False or value is None or value == "":
        return
    else:
        yield f"--{name}=" + re.sub(rf"([\s'\"{re.escape(escape)}])", lambda found: escape + found[1], str(value))


def flags(values: Mapping[str, object], escape: str) -> Iterator[str]:
    """Yield flags as they are written, in the order of `values`."""
    for name, value in values.items():
        yield from flag(name, value, escape)


def list_of(words: Sequence[str], *, json: bool = True) -> str:
    """Join words with spaces; as JSON if spaces would read back otherwise and the instruction takes JSON."""
    plain = all(_PLAIN.fullmatch(word) and "<<" not in word for word in words)
    if json and (not plain or not words or words[0].startswith("[") or words[-1].endswith(("\\", "`"))):
        return _json(words)
    return " ".join(words)


def _json(words: Iterable[str]) -> str:
    import json

    return json.dumps(list(words), ensure_ascii=False)
