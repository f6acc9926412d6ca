"""The instructions that start something: RUN CMD ENTRYPOINT HEALTHCHECK, SHELL and ONBUILD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ._base import Command, Heredoc, Instruction
from .mounts import Mount

__all__ = ["Cmd", "Entrypoint", "Healthcheck", "OnBuild", "Run", "Shell"]


@dataclass(frozen=True, slots=True)
class Run(Instruction):
    """RUN: a command that changes the file system.

    :param command: as written; where there are heredocs, see `line` and `script`
    :param heredocs: in the order of their names
    :param mounts: what it sees besides
    :param network: "default", "none" or "host"
    :param security: "sandbox" or "insecure"
    """

    keyword: ClassVar[str] = "RUN"
    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"


@dataclass(frozen=True, slots=True)
class Cmd(Instruction):
    """CMD: what a container runs, or the arguments of its ENTRYPOINT."""

    keyword: ClassVar[str] = "CMD"
    command: Command


@dataclass(frozen=True, slots=True)
class Entrypoint(Instruction):
    """ENTRYPOINT: what a container always runs."""

    keyword: ClassVar[str] = "ENTRYPOINT"
    command: Command


@dataclass(frozen=True, slots=True)
class Shell(Instruction):
    """SHELL: what lines are given to from here on."""

    keyword: ClassVar[str] = "SHELL"
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnBuild(Instruction):
    """ONBUILD: an instruction for whoever builds on this image.

    :param trigger: its text, parsed again by `parse_trigger` when that happens
    """

    keyword: ClassVar[str] = "ONBUILD"
    trigger: str


@dataclass(frozen=True, slots=True)
class Healthcheck(Instruction):
    """HEALTHCHECK: how to see that a container works.

    :param command: None for HEALTHCHECK NONE, which takes away the one of the base
    :param interval, timeout, start_period, start_interval: nanoseconds; 0 for the base's
    :param retries: failures in a row that make it unhealthy; 0 for the base's
    """

    keyword: ClassVar[str] = "HEALTHCHECK"
    command: Command | None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    @property
    def test(self) -> tuple[str, ...]:
        """As an image's config has it: ("NONE",), ("CMD", ...) or ("CMD-SHELL", line)."""
        if self.command is None:
            return ("NONE",)
        return ("CMD-SHELL" if self.command.shell else "CMD", *self.command.words)
