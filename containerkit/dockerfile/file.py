"""A Dockerfile as a value: its directives, its global arguments and its stages.

dockerfile.stages, .args, .directives, .warnings
dockerfile.stage("build"), dockerfile.stage("0")
dockerfile.global_values({"VERSION": "2"}, predefined)       the values with which FROM is expanded
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
    """A FROM and the instructions up to the next one.

    :param index: from 0
    :param start: the stage's FROM
    """

    index: int
    start: From
    instructions: tuple[Instruction, ...] = ()

    @property
    def base(self) -> str:
        """The image of FROM, as written: variables of the global ARGs are not expanded."""
        return self.start.image

    @property
    def name(self) -> str:
        """The stage's name in lower case, or ""."""
        return self.start.name

    @property
    def platform(self) -> str:
        """The value of --platform, as written, or ""."""
        return self.start.platform

    @property
    def where(self) -> Where:
        """The position of the stage's FROM."""
        return self.start.where


@frozen
class Dockerfile:
    """A parsed Dockerfile.

    :param stages: at least one
    :param args: the ARGs before the first FROM
    :param directives: "syntax", "escape", "check", in lower case
    :param warnings: on text that is allowed but doubtful
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
        """Return the last stage called `name`, in any case, or None.  FROM finds stages like this: it takes no numbers.

        :param before: only stages before this one count
        """
        stages = self.stages[:before]
        return next((stage for stage in reversed(stages) if name and stage.name == name.lower()), None)

    def stage(self, reference: str, before: int | None = None) -> Stage | None:
        """Return the stage with that name or number, or None.  --target and COPY --from find stages like this.

        :param before: only stages before this one count
        """
        if reference.isascii() and reference.isdecimal() and len(reference) < 10:
            return next(iter(self.stages[:before][int(reference) :]), None)
        return self.named(reference, before)

    def global_values(self, given: Mapping[str, str], predefined: Mapping[str, str], warn: Warn | None = None) -> dict[str, str]:
        """Return the values in scope of every FROM: the ARGs before the first FROM, each expanded with the ARGs above it.

        :param given: the caller's values; each counts only if an ARG declares its name
        :param predefined: the values of the platforms
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
