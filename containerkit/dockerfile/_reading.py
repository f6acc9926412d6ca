"""From a divided line to an instruction: the table of readers by keyword."""

from __future__ import annotations

from collections.abc import Callable

from ._base import Instruction
from ._context import Context
from ._flags import suggestion
from ._read_commands import read_cmd, read_entrypoint, read_healthcheck, read_onbuild, read_run, read_shell
from ._read_copies import read_add, read_copy
from ._read_settings import read_arg, read_env, read_expose, read_from, read_label, read_maintainer, read_text, read_volume
from ._settings import StopSignal, User, Workdir
from .expansion import Expansion

__all__ = ["instruction"]

READ: dict[str, Callable[[Context], Instruction]] = {
    "ADD": read_add,
    "ARG": read_arg,
    "CMD": read_cmd,
    "COPY": read_copy,
    "ENTRYPOINT": read_entrypoint,
    "ENV": read_env,
    "EXPOSE": read_expose,
    "FROM": read_from,
    "HEALTHCHECK": read_healthcheck,
    "LABEL": read_label,
    "MAINTAINER": read_maintainer,
    "ONBUILD": read_onbuild,
    "RUN": read_run,
    "SHELL": read_shell,
    "STOPSIGNAL": read_text(StopSignal, "a signal"),
    "USER": read_text(User, "a user"),
    "VOLUME": read_volume,
    "WORKDIR": read_text(Workdir, "a path"),
}


def instruction(context: Context) -> Instruction:
    """Return the instruction of a line, checked as far as possible without values of variables.

    :raises DockerfileError: there is no such instruction, or its line is malformed
    """
    keyword = context.statement.keyword
    read = READ.get(keyword.upper())
    if read is None:
        if not keyword:
            raise keyword.where.error("a line without a word: an instruction was expected")
        raise keyword.where.error(f"unknown instruction: {keyword[:80]}{suggestion(keyword, READ)}")
    made = read(context)
    made.expanded(Expansion({}, context.escape, dry=True))
    return made
