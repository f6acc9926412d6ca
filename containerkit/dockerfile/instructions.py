"""Every instruction of a Dockerfile as a value.

    instruction.where, .source            its position, and the text as written
    instruction.expand({"x": "1"})        the same kind with its variables replaced, as buildkit does it
    str(instruction)                      its normal form, which parses back to an equal value

A parsed instruction holds words as they were written, quotes and dollars too; only `expand` removes both.  RUN, CMD, ENTRYPOINT,
SHELL and HEALTHCHECK leave variables to the shell that they start, and expand to themselves (except for the mounts of RUN).

:see: https://docs.docker.com/reference/dockerfile/
"""

from ._base import Command, Heredoc, Instruction
from ._commands import Cmd, Entrypoint, Healthcheck, OnBuild, Run, Shell
from ._copies import Add, Copy
from ._settings import Arg, Env, Expose, From, Label, Maintainer, Pair, StopSignal, User, Volume, Workdir
from .mounts import Bind, Cache, Mount, Secret, Ssh, Tmpfs
from .words import Remark, Where, Word

__all__ = [
    "Add", "Arg", "Bind", "Cache", "Cmd", "Command", "Copy", "Entrypoint", "Env", "Expose", "From", "Healthcheck", "Heredoc",
    "Instruction", "Label", "Maintainer", "Mount", "OnBuild", "Pair", "Remark", "Run", "Secret", "Shell", "Ssh", "StopSignal",
    "Tmpfs", "User", "Volume", "Where", "Word", "Workdir",
]  # fmt: skip
