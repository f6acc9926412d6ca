"""The instructions that start a program: RUN CMD ENTRYPOINT HEALTHCHECK, SHELL and ONBUILD."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ..base.frozen import frozen, replace
from ._base import Command, Heredoc, Instruction, flag, flags
from ._heredocs import announced
from ._mount_options import expanded, options
from .expansion import Expansion
from .mounts import Mount, Unexpanded

__all__ = ["Cmd", "Entrypoint", "Healthcheck", "OnBuild", "Run", "Shell"]


@frozen
class Run(Instruction):
    """RUN: a command that changes the file system.

    :param command: as written; with heredocs, `script` and `line` give the text that runs
    :param heredocs: in the order of their names
    :param mounts: what --mount= makes visible to the command
    :param network: "default", "none" or "host"
    :param security: "sandbox" or "insecure"
    """

    keyword: ClassVar[str] = "RUN"
    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"

    @property
    def script(self) -> str | None:
        """The text of a heredoc that begins with ``#!``, to be run as a file; else None."""
        content = self.heredocs[0].content if self._is_heredoc() else ""
        return content if self.heredocs and self.heredocs[0].text.startswith("#!") and content else None

    @property
    def line(self) -> str:
        """The text for the shell: a heredoc that stands alone is the script; other heredocs stay in the text for the shell to read."""
        if self._is_heredoc():
            return self.heredocs[0].content
        return self.command.words[0] + "".join(f"\n{heredoc.text}{heredoc.name}" for heredoc in self.heredocs)

    def _is_heredoc(self) -> bool:
        return bool(self.heredocs) and announced(self.command.words[0], self.where) is not None

    def expanded(self, expansion: Expansion) -> Run:
        mounts = (expanded(mount, expansion) if isinstance(mount, Unexpanded) else mount for mount in self.mounts)
        return replace(self, mounts=tuple(mounts))

    def written_flags(self) -> Iterator[str]:
        for mount in self.mounts:
            yield from flag("mount", options(mount), self.escape)
        yield from flag("network", self.network if self.network != "default" else "", self.escape)
        yield from flag("security", self.security if self.security != "sandbox" else "", self.escape)

    def arguments(self) -> Iterator[str]:
        yield str(self.command)

    def bodies(self) -> tuple[Heredoc, ...]:
        return self.heredocs


@frozen
class Cmd(Instruction):
    """CMD: the program a container runs, or the arguments of its ENTRYPOINT."""

    keyword: ClassVar[str] = "CMD"
    command: Command

    def arguments(self) -> Iterator[str]:
        yield str(self.command)


@frozen
class Entrypoint(Instruction):
    """ENTRYPOINT: the program a container always runs."""

    keyword: ClassVar[str] = "ENTRYPOINT"
    command: Command

    def arguments(self) -> Iterator[str]:
        yield str(self.command)


@frozen
class Shell(Instruction):
    """SHELL: the program that runs command lines from here on."""

    keyword: ClassVar[str] = "SHELL"
    argv: tuple[str, ...]

    def arguments(self) -> Iterator[str]:
        yield str(Command(self.argv))


@frozen
class OnBuild(Instruction):
    """ONBUILD: an instruction for builds that use this image as their base.

    :param trigger: the instruction's text, which `parse_trigger` parses in such a build
    """

    keyword: ClassVar[str] = "ONBUILD"
    trigger: str

    def arguments(self) -> Iterator[str]:
        yield self.trigger


@frozen
class Healthcheck(Instruction):
    """HEALTHCHECK: the command that tells whether a container works.

    :param command: None for HEALTHCHECK NONE, which removes the base's check
    :param interval, timeout, start_period, start_interval: nanoseconds; 0 for the base's
    :param retries: failures in a row that make the container unhealthy; 0 for the base's
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
        """The check in the form of an image's config: ("NONE",), ("CMD", ...) or ("CMD-SHELL", line)."""
        if self.command is None:
            return ("NONE",)
        return ("CMD-SHELL" if self.command.shell else "CMD", *self.command.words)

    def written_flags(self) -> Iterator[str]:
        times = {name: getattr(self, name.replace("-", "_")) for name in ("interval", "timeout", "start-period", "start-interval")}
        yield from flags({name: f"{value}ns" for name, value in times.items() if value}, self.escape)
        yield from flag("retries", self.retries or "", self.escape)

    def arguments(self) -> Iterator[str]:
        yield "NONE" if self.command is None else f"CMD {self.command}"
