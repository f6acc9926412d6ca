"""A Dockerfile as a value: its directives, its global arguments and its stages.

dockerfile.stages, .args, .directives, .warnings
dockerfile.stage("build"), dockerfile.stage("0")
dockerfile.global_values({"VERSION": "2"}, predefined)       what FROM is expanded with
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..base.frozen import field, frozen, replace
from ._base import Instruction
from ._settings import Arg, From
from .words import Remark, Warn, Where

__all__ = ["Dockerfile", "Stage"]


@frozen
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


@frozen
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

    def named(self, name: str, before: int | None = None) -> Stage | None:
        """The stage called `name`, in any case; the last one of several.  FROM means stages so: a number is no name.

        :param before: only stages before this one count
        """
        stages = self.stages[:before]
        return next((stage for stage in reversed(stages) if name and stage.name == name.lower()), None)

    def stage(self, reference: str, before: int | None = None) -> Stage | None:
        """The stage with that name or number; None where there is none.  --target and COPY --from mean stages so.

        :param before: only stages before this one count
        """
        if reference.isascii() and reference.isdecimal() and len(reference) < 10:
            return next(iter(self.stages[:before][int(reference) :]), None)
        return self.named(reference, before)

    def global_values(self, given: Mapping[str, str], predefined: Mapping[str, str], warn: Warn | None = None) -> dict[str, str]:
        """What is in scope in every FROM: the ARGs before the first one, each seeing those above it.

        :param given: by whoever builds; counts for a name that is declared
        :param predefined: of the platforms
        :raises DockerfileError: a default that cannot be expanded
        """
        values = dict(predefined)
        for arg in self.args:
            for pair in arg.pairs:
                name, default = replace(arg, pairs=(pair,)).expand(values, warn).pairs[0]
                value = given.get(name, default)
                if value is not None:
                    values[name] = value
        return values

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from (f"# {name}={value}" for name, value in self.directives.items())
        yield from map(str, self.args)
        for stage in self.stages:
            if stage.index or self.args or self.directives:
                yield ""
            yield from map(str, (stage.start, *stage.instructions))
