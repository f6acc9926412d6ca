"""From a divided line to an instruction: one function for each keyword."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ._base import Command, Heredoc, Instruction
from ._commands import Cmd, Entrypoint, Healthcheck, OnBuild, Run, Shell
from ._copies import Add, Copy
from ._flags import Flags, suggestion, value
from ._heredocs import announced
from ._mount_options import mount
from ._settings import Arg, Env, Expose, From, Label, Maintainer, Pair, StopSignal, User, Volume, Workdir
from ._spaces import SPACES, first_word
from ._split import NotStrings, Statement, array, between_spaces, quoted_words
from ._values import duration, number
from .expansion import Expansion
from .words import Remark, Warn, Word

__all__ = ["KEYWORDS", "Context", "instruction"]

LONGEST = 128  # characters of a stage's name


@dataclass(frozen=True, slots=True)
class Context:
    """What an instruction is read with.

    :param statement: its line, divided
    :param heredocs: the texts that follow
    :param common: what every instruction has: its place, its source, the escape character
    :param warn: called with what should be looked at
    """

    statement: Statement
    heredocs: tuple[Heredoc, ...]
    common: dict[str, Any]
    warn: Warn = field(repr=False)

    @property
    def escape(self) -> str:
        """The escape character."""
        return str(self.common["escape"])

    @property
    def rest(self) -> Word:
        """Everything after the flags."""
        return self.statement.rest

    def remark(self, text: str, word: Word) -> None:
        """Something about a word that should be looked at."""
        self.warn(Remark(word.where.line, word.where.column, text))

    def needs(self, what: str) -> None:
        """:raises DockerfileError: nothing follows the keyword"""
        if not self.rest:
            statement = self.statement
            where = statement.line.at(len(statement.line.text.rstrip(SPACES)))
            raise where.error(f"{statement.keyword.upper()} ends here: {what} was expected")

    def array(self, start: int = 0) -> list[Word] | None:
        """The rest as JSON; None, and a remark where it looks like it, when it is not.

        :raises DockerfileError: JSON, but not of strings
        """
        try:
            words = array(self.statement, start)
        except NotStrings as error:
            place = self.statement.line.at(self.statement.start + error.offset)
            raise place.error("the JSON form is an array of strings: one in double quotes was expected") from None
        if words is None and self.rest[start : start + 1] == "[":
            self.remark("it begins like JSON and is not: it is taken as it stands", self._at(start))
        return words

    def _at(self, start: int) -> Word:
        return Word("", self.statement.line.at(self.statement.start + start))

    def command(self, start: int = 0) -> Command:
        """The rest as a command in one of its two forms."""
        words = self.array(start)
        line = self.rest[start:]
        return Command(tuple(words)) if words is not None else Command((Word(line, self._at(start).where),), shell=True)


def instruction(context: Context) -> Instruction:
    """The instruction of a line, looked at as far as that goes without values.

    :raises DockerfileError: there is no such instruction, or this is not how it is written
    """
    keyword = context.statement.keyword
    read = READ.get(keyword.upper())
    if read is None:
        if not keyword:
            raise keyword.where.error("a line of nothing: an instruction was expected")
        raise keyword.where.error(f"unknown instruction: {keyword[:80]}{suggestion(keyword, READ)}")
    made = read(context)
    made._expanded(Expansion({}, context.escape, dry=True))
    return made


def _run(context: Context) -> Run:
    flags = Flags(context.statement, "network security", lists="mount")
    context.needs("a command")
    command = context.command()
    if not command.words:
        raise context.rest.where.error("RUN of nothing: the words of a command were expected")
    expansion = Expansion({}, context.escape, dry=True)
    mounts = tuple(mount(text, expansion) for text in flags.many("mount"))
    network = _one_of(flags.text("network"), ("default", "none", "host"), "network")
    security = _one_of(flags.text("security"), ("sandbox", "insecure"), "security")
    return Run(command, context.heredocs, mounts, network or "default", security or "sandbox", **context.common)


def _one_of(word: Word, known: tuple[str, ...], name: str) -> str:
    if word and word not in known:
        raise word.where.error(f"--{name} is {' or '.join(known)}, not {word[:80]!r}{suggestion(word, known)}")
    return word


def _files(context: Context) -> tuple[list[Word], Word]:
    """Sources and destination of COPY and ADD; the sources that are heredocs are left out."""
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


def _copy(context: Context) -> Copy:
    flags = Flags(context.statement, "from chown chmod", truths="link parents", lists="exclude")
    if "$" in flags.text("from"):
        raise flags.text("from").where.error("--from takes no variables: name a stage with FROM ... AS, and say its name")
    sources, dest = _files(context)
    return Copy(
        tuple(sources), dest, context.heredocs, flags.text("chown"), flags.text("chmod"), flags.truth("link"), flags.many("exclude"),
        from_=flags.text("from"), parents=flags.truth("parents"), **context.common,
    )  # fmt: skip


def _add(context: Context) -> Add:
    flags = Flags(context.statement, "chown chmod checksum", truths="link keep-git-dir unpack", lists="exclude")
    sources, dest = _files(context)
    return Add(
        tuple(sources), dest, context.heredocs, flags.text("chown"), flags.text("chmod"), flags.truth("link"), flags.many("exclude"),
        flags.text("checksum"), flags.truth("keep-git-dir"), flags.choice("unpack"), **context.common,
    )  # fmt: skip


def _cmd(context: Context) -> Cmd:
    return Cmd(_command(context), **context.common)


def _entrypoint(context: Context) -> Entrypoint:
    return Entrypoint(_command(context), **context.common)


def _command(context: Context) -> Command:
    Flags(context.statement)
    context.needs("a command, or [] for none")
    return context.command()


def _shell(context: Context) -> Shell:
    Flags(context.statement)
    context.needs('a JSON array like ["/bin/sh", "-c"]')
    words = context.array()
    if not words:
        raise context.rest.where.error('SHELL is written as JSON: an array like ["/bin/sh", "-c"] was expected')
    return Shell(tuple(words), **context.common)


def _healthcheck(context: Context) -> Healthcheck:
    times = ("interval", "timeout", "start-period", "start-interval")
    flags = Flags(context.statement, " ".join((*times, "retries")))
    context.needs("CMD and a command, or NONE")
    kind, start = first_word(context.rest)
    if kind.upper() == "NONE" and len(kind) == len(context.rest):
        return Healthcheck(None, **context.common)
    if kind.upper() != "CMD" or start >= len(context.rest):
        raise context.rest.where.error(f"HEALTHCHECK takes CMD and a command, or NONE alone{suggestion(kind, ('CMD', 'NONE'))}")
    command = context.command(start)
    if not command.words:
        raise context.rest.where.error("HEALTHCHECK CMD of nothing: a command was expected")
    given = [value(duration, flags.text(name)) if flags.text(name) else 0 for name in times]
    retries = value(lambda text: number(text, bits=31), flags.text("retries")) if flags.text("retries") else 0
    return Healthcheck(command, given[0], given[1], given[2], given[3], retries, **context.common)


def _from(context: Context) -> From:
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
        context.remark(f"a stage called {name} cannot be told from docker's own", word)
    return name


def _arg(context: Context) -> Arg:
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
    """The end of a word, at its place where the word is on one line."""
    where, before = word.where, len(word) - len(value)
    whole = where.text.startswith(word, where.column - 1)
    return Word(value, replace(where, column=where.column + before) if whole else where)


def _pairs(context: Context) -> tuple[tuple[Pair, ...], bool]:
    """The pairs of ENV and LABEL, and whether they are written the old way."""
    keyword = context.statement.keyword.upper()
    Flags(context.statement)
    context.needs("name=value")
    words = quoted_words(context.statement, context.escape)
    if not words or "=" not in words[0]:
        context.remark(f"{keyword} without =: {keyword} name=value says what is meant", context.rest)
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


def _env(context: Context) -> Env:
    return Env(*_pairs(context), **context.common)


def _label(context: Context) -> Label:
    return Label(*_pairs(context), **context.common)


def _volume(context: Context) -> Volume:
    Flags(context.statement)
    context.needs("a path")
    words = context.array()
    words = between_spaces(context.statement) if words is None else words
    words = [Word(word.strip(SPACES), word.where) for word in words]
    if not words or not all(words):
        raise context.rest.where.error("VOLUME of nothing: a path was expected")
    return Volume(tuple(words), **context.common)


def _expose(context: Context) -> Expose:
    Flags(context.statement)
    context.needs("a port")
    return Expose(tuple(between_spaces(context.statement)), **context.common)


def _text(make: Callable[..., Instruction], what: str) -> Callable[[Context], Instruction]:
    """Reads an instruction whose one argument is all that follows."""

    def read(context: Context) -> Instruction:
        Flags(context.statement)
        context.needs(what)
        return make(context.rest, **context.common)

    return read


def _maintainer(context: Context) -> Maintainer:
    Flags(context.statement)
    context.needs("a name")
    context.remark("MAINTAINER is old: LABEL org.opencontainers.image.authors=... says it now", context.statement.keyword)
    return Maintainer(context.rest, **context.common)


def _onbuild(context: Context) -> OnBuild:
    Flags(context.statement)
    context.needs("an instruction")
    return OnBuild(context.rest + "".join(f"\n{each.text}{each.name}" for each in context.heredocs), **context.common)


READ: dict[str, Callable[[Context], Instruction]] = {
    "ADD": _add, "ARG": _arg, "CMD": _cmd, "COPY": _copy, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose, "FROM": _from,
    "HEALTHCHECK": _healthcheck, "LABEL": _label, "MAINTAINER": _maintainer, "ONBUILD": _onbuild, "RUN": _run, "SHELL": _shell,
    "STOPSIGNAL": _text(StopSignal, "a signal"), "USER": _text(User, "a user"), "VOLUME": _volume,
    "WORKDIR": _text(Workdir, "a path"),
}  # fmt: skip

KEYWORDS = tuple(READ)
