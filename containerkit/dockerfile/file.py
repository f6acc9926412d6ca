"""A Dockerfile as a value: its directives, its global arguments and its stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ._base import Instruction
from ._settings import Arg, From
from .words import Remark, Where

__all__ = ["Dockerfile", "Stage"]


@dataclass(frozen=True, slots=True)
class Stage:
    """FROM, and all that follows up to the next.

    :param index: from 0
    :param start: its FROM
    """

    index: int
    start: From
    instructions: tuple[Instruction, ...] = ()

    @property
    def base(self) -> str:
        """What it begins with, as written: variables of the global ARGs are not expanded."""
        return self.start.image

    @property
    def name(self) -> str:
        """In lower case, or ""."""
        return self.start.name

    @property
    def platform(self) -> str:
        """Of --platform, as written, or ""."""
        return self.start.platform

    @property
    def where(self) -> Where:
        """Its FROM."""
        return self.start.where


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """What a Dockerfile says.

    :param stages: at least one
    :param args: the ARGs before the first FROM
    :param directives: "syntax", "escape", "check", in lower case
    :param warnings: what is allowed and should be looked at
    """

    stages: tuple[Stage, ...]
    args: tuple[Arg, ...] = ()
    directives: Mapping[str, str] = field(default_factory=dict)
    name: str = field(default="Dockerfile", compare=False)
    warnings: tuple[Remark, ...] = field(default=(), compare=False)

    @property
    def escape(self) -> str:
        """The escape character."""
        return self.directives.get("escape", "\\")

    def stage(self, reference: str) -> Stage | None:
        """The stage called `reference`, a name in any case or a number; None where there is none."""
        return next((stage for stage in self.stages if reference in (str(stage.index), stage.name)), None)
