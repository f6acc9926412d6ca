r"""From text to a Dockerfile.

parse(b"FROM scratch\nCOPY a /\n")
parse_trigger("COPY . /app")              an ONBUILD instruction, which an image's config keeps for later builds
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..base import late
from ..base.frozen import replace
from ..errors import DockerfileError
from ._base import Heredoc, Instruction
from ._commands import Cmd, Entrypoint, Healthcheck
from ._context import Context
from ._directives import directives
from ._heredocs import read
from ._lines import Line, Reader, decoded
from ._reading import instruction
from ._references import check_references
from ._settings import Arg, From
from ._split import NotStrings, Statement, array, statement
from .file import Dockerfile, Stage
from .words import Remark, Where

__all__ = ["ALONE", "parse", "parse_change", "parse_trigger"]

NO_TRIGGERS = ("FROM", "MAINTAINER", "ONBUILD")
WITH_HEREDOCS = ("ADD", "COPY", "RUN")
ONLY_LAST = (Cmd, Entrypoint, Healthcheck)
_NOT_TEXT = late.pattern("[\ud800-\udfff\0]")


def parse(text: str | bytes, *, name: str = "Dockerfile") -> Dockerfile:
    """Parse a Dockerfile.

    :param name: the file's name in errors
    :raises DockerfileError: with the line and the column of the word that is wrong
    """
    reader = Reader(decoded(text, name), name)
    said = directives(reader)
    assembly = _Assembly(reader.remarks)
    while (line := reader.next()) is not None:
        assembly.add(_instruction(line, reader))
    dockerfile = Dockerfile(assembly.finished(reader.where(max(1, reader.number))), tuple(assembly.args), said, name)
    check_references(dockerfile.stages)
    return replace(dockerfile, warnings=tuple(sorted(reader.remarks)))


def parse_trigger(text: str, *, escape: str = "\\", name: str = "ONBUILD") -> Instruction:
    """Parse the instruction of an ONBUILD, as an image's config holds it.

    :raises DockerfileError: no instruction, or one that cannot be a trigger
    """
    reader = Reader(decoded(text, name), name)
    reader.escape = escape
    return _only(reader, _refuse_trigger)


def parse_change(text: str, *, name: str = "--change") -> Instruction:
    """Parse the one instruction of an `import --change`, which may be an ONBUILD.

    :raises DockerfileError: no instruction
    """
    return _only(Reader(decoded(text, name), name))


def _only(reader: Reader, check: Callable[[Statement], None] = lambda divided: None) -> Instruction:
    line = reader.next()
    if line is None:
        raise reader.where(1).error("the text is empty: an instruction was expected")
    check(statement(line, reader.escape))
    made = _instruction(line, reader)
    if more := reader.next():
        raise more.at(0).error(f"{reader.name} is one instruction: the end was expected")
    return made


def _instruction(line: Line, reader: Reader) -> Instruction:
    """Return the instruction of a line, with the heredocs that follow."""
    _refuse_bytes(line.text, line.at)
    divided = statement(line, reader.escape)
    try:
        return _read(line, divided, reader)
    except DockerfileError as error:
        if not _comment_behind(divided):
            raise
        place = {"name": error.name, "line": error.line, "column": error.column, "source": error.source}
        raise DockerfileError(f"{error.text}; {ALONE}", **place) from None  # type: ignore[arg-type]


def _comment_behind(divided: Statement) -> bool:
    """Whether the end of a line looks like a comment.  In a command it is one, for the shell."""
    found = re.search(r"(?:^|\s)#", divided.rest)
    if found is None or divided.keyword.upper() in OF_SHELLS:
        return False
    before = divided.rest[: found.start()]
    return not (before.count('"') % 2 or before.count("'") % 2)  # inside quotes a # is text


def _read(line: Line, divided: Statement, reader: Reader) -> Instruction:
    inner = divided
    if divided.keyword.upper() == "ONBUILD" and divided.rest:
        inner = statement(line, reader.escape, divided.start)
        _refuse_trigger(inner)
    heredocs = _heredocs(inner, reader)
    source = "\n".join(reader.lines[line.first - 1 : reader.number]).rstrip("\r")
    common = {"where": divided.keyword.where, "source": source, "escape": reader.escape}
    if inner is not divided:
        instruction(Context(inner, heredocs, common, lambda remark: None))
    return instruction(Context(divided, heredocs, common, reader.remarks.append))


ALONE = "a comment needs a line of its own: # begins one only at the start of a line"
OF_SHELLS = {"RUN", "CMD", "ENTRYPOINT"}


def _refuse_bytes(text: str, at: Callable[[int], Where]) -> None:
    found = _NOT_TEXT.search(text)
    if found:
        raise at(found.start()).error("not text: UTF-8 without NUL was expected")


def _refuse_trigger(divided: Statement) -> None:
    if divided.keyword.upper() in NO_TRIGGERS:
        raise divided.keyword.where.error(f"{divided.keyword.upper()} cannot be a trigger of ONBUILD")


def _heredocs(divided: Statement, reader: Reader) -> tuple[Heredoc, ...]:
    if divided.keyword.upper() not in WITH_HEREDOCS:
        return ()
    try:
        if array(divided) is not None:
            return ()
    except NotStrings:
        return ()  # the reader of the instruction reports the error
    heredocs = read(divided, reader)
    for heredoc in heredocs:
        _refuse_bytes(heredoc.text, lambda offset, heredoc=heredoc: _inside(heredoc, offset, reader))  # type: ignore[misc]
    return heredocs


def _inside(heredoc: Heredoc, offset: int, reader: Reader) -> Where:
    before = heredoc.text[:offset]
    return reader.where(heredoc.where.line + before.count("\n"), offset - before.rfind("\n"))


class _Assembly:
    """Collects instructions into stages."""

    def __init__(self, remarks: list[Remark]) -> None:
        self.args: list[Arg] = []
        self.stages: list[tuple[From, list[Instruction]]] = []
        self.names: set[str] = set()
        self.remarks = remarks

    def add(self, made: Instruction) -> None:
        """Add the next instruction.

        :raises DockerfileError: the instruction needs a FROM before it
        """
        if isinstance(made, From):
            self._name(made)
            self.stages.append((made, []))
        elif self.stages:
            self.stages[-1][1].append(made)
        elif isinstance(made, Arg):
            self.args.append(made)
        else:
            raise made.where.error(f"{made.keyword} before the first FROM: FROM, or an ARG for it, was expected")

    def _name(self, start: From) -> None:
        if start.name in self.names:
            self._remark(start, f"another stage is called {start.name} already: from here on the name means this stage")
        self.names.update({start.name} - {""})

    def finished(self, end: Where) -> tuple[Stage, ...]:
        """Return the stages.

        :raises DockerfileError: there is none
        """
        if not self.stages:
            raise end.error("there is no FROM: a Dockerfile begins with one")
        for _, instructions in self.stages:
            for kind in ONLY_LAST:
                for made in [each for each in instructions if isinstance(each, kind)][:-1]:
                    self._remark(made, f"another {made.keyword} of this stage follows, and only the last one counts")
        return tuple(Stage(index, start, tuple(instructions)) for index, (start, instructions) in enumerate(self.stages))

    def _remark(self, made: Instruction, text: str) -> None:
        self.remarks.append(Remark(made.where.line, made.where.column, text))
