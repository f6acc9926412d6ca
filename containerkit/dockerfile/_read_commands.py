"""Readers of the lines of RUN CMD ENTRYPOINT HEALTHCHECK SHELL and ONBUILD."""

from __future__ import annotations

from ._base import Command
from ._commands import Cmd, Entrypoint, Healthcheck, OnBuild, Run, Shell
from ._context import Context
from ._flags import Flags, suggestion, value
from ._mount_options import mount
from ._spaces import first_word
from ._values import duration, number
from .expansion import Expansion
from .words import Word

__all__ = ["read_cmd", "read_entrypoint", "read_healthcheck", "read_onbuild", "read_run", "read_shell"]


def read_run(context: Context) -> Run:
    flags = Flags(context.statement, "network security", lists="mount")
    context.needs("a command")
    command = context.command()
    if not command.words:
        raise context.rest.where.error("RUN has an empty list: the words of a command were expected")
    expansion = Expansion({}, context.escape, dry=True)
    mounts = tuple(mount(text, expansion) for text in flags.many("mount"))
    network = _one_of(flags.text("network"), ("default", "none", "host"), "network")
    security = _one_of(flags.text("security"), ("sandbox", "insecure"), "security")
    return Run(command, context.heredocs, mounts, network or "default", security or "sandbox", **context.common)


def _one_of(word: Word, known: tuple[str, ...], name: str) -> str:
    if word and word not in known:
        raise word.where.error(f"--{name} is {' or '.join(known)}, not {word[:80]!r}{suggestion(word, known)}")
    return word


def read_cmd(context: Context) -> Cmd:
    return Cmd(_command(context), **context.common)


def read_entrypoint(context: Context) -> Entrypoint:
    return Entrypoint(_command(context), **context.common)


def _command(context: Context) -> Command:
    Flags(context.statement)
    context.needs("a command, or [] for none")
    return context.command()


def read_shell(context: Context) -> Shell:
    Flags(context.statement)
    context.needs('a JSON array like ["/bin/sh", "-c"]')
    words = context.array()
    if not words:
        raise context.rest.where.error('SHELL is written as JSON: an array like ["/bin/sh", "-c"] was expected')
    return Shell(tuple(words), **context.common)


def read_healthcheck(context: Context) -> Healthcheck:
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
        raise context.rest.where.error("HEALTHCHECK CMD has an empty list: a command was expected")
    given = [value(duration, flags.text(name)) if flags.text(name) else 0 for name in times]
    retries = value(lambda text: number(text, bits=31), flags.text("retries")) if flags.text("retries") else 0
    return Healthcheck(command, given[0], given[1], given[2], given[3], retries, **context.common)


def read_onbuild(context: Context) -> OnBuild:
    Flags(context.statement)
    context.needs("an instruction")
    return OnBuild(context.rest + "".join(f"\n{each.text}{each.name}" for each in context.heredocs), **context.common)
