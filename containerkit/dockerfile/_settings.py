"""The instructions that only set a value: FROM ARG ENV LABEL USER WORKDIR VOLUME EXPOSE STOPSIGNAL MAINTAINER."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Self

from ..base.frozen import frozen, replace
from ._base import Instruction, flag, list_of
from ._flags import value
from ._values import ports, signal_name
from .expansion import Expansion
from .words import Word

__all__ = ["Arg", "Env", "Expose", "From", "Label", "Maintainer", "Pair", "StopSignal", "User", "Volume", "Workdir"]

MOST_PORTS = 1 << 18  # all ports of all protocols are fewer


class Pair(NamedTuple):
    """A name and its value.  The value is None only for an ARG without a default."""

    name: str
    value: str | None

    def expanded(self, expansion: Expansion) -> Pair:
        """Return the pair with the variables of both replaced."""
        return Pair(expansion.word(self.name), self.value if self.value is None else expansion.word(self.value))

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


@frozen
class From(Instruction):
    """FROM: the beginning of a stage.

    :param image: a reference, an earlier stage, or "scratch"
    :param name: the stage's name in lower case, or ""
    :param platform: "os/architecture", or ""
    """

    keyword: ClassVar[str] = "FROM"
    image: str
    name: str = ""
    platform: str = ""

    def expanded(self, expansion: Expansion) -> From:
        image = expansion.word(self.image)
        if not image:
            raise image.where.error(f"{self.image[:80]} is empty: the name of an image was expected")
        return replace(self, image=image, platform=expansion.word(self.platform))

    def written_flags(self) -> Iterator[str]:
        yield from flag("platform", self.platform, self.escape)

    def arguments(self) -> Iterator[str]:
        yield list_of([self.image, *(["AS", self.name] if self.name else [])], json=False)


@frozen
class Arg(Instruction):
    """ARG: variables of the build, each with its default or None."""

    keyword: ClassVar[str] = "ARG"
    pairs: tuple[Pair, ...]

    def expanded(self, expansion: Expansion) -> Arg:
        return replace(self, pairs=tuple(pair.expanded(expansion) for pair in self.pairs))

    def arguments(self) -> Iterator[str]:
        yield from map(str, self.pairs)


@frozen
class _Pairs(Instruction):
    """The common part of ENV and LABEL.

    :param pairs: in order; the last of two pairs with one name counts
    :param legacy: whether the instruction has no =: one name, and the rest of the line is its value
    """

    pairs: tuple[Pair, ...]
    legacy: bool = False

    def expanded(self, expansion: Expansion) -> Self:
        return replace(self, pairs=tuple(pair.expanded(expansion) for pair in self.pairs))

    def arguments(self) -> Iterator[str]:
        yield from (f"{pair.name} {pair.value}" if self.legacy else str(pair) for pair in self.pairs)


@frozen
class Env(_Pairs):
    """ENV: variables of the build and of the container."""

    keyword: ClassVar[str] = "ENV"


@frozen
class Label(_Pairs):
    """LABEL: names and values that describe the image."""

    keyword: ClassVar[str] = "LABEL"


@frozen
class User(Instruction):
    """USER: the user of later RUNs and of the container: "name", "uid", "user:group"."""

    keyword: ClassVar[str] = "USER"
    user: str

    def expanded(self, expansion: Expansion) -> User:
        return replace(self, user=expansion.word(self.user))

    def arguments(self) -> Iterator[str]:
        yield self.user


@frozen
class Workdir(Instruction):
    """WORKDIR: the directory in which later commands run; a relative path is below the WORKDIR before."""

    keyword: ClassVar[str] = "WORKDIR"
    path: str

    def expanded(self, expansion: Expansion) -> Workdir:
        return replace(self, path=expansion.word(self.path))

    def arguments(self) -> Iterator[str]:
        yield self.path


@frozen
class Volume(Instruction):
    """VOLUME: paths whose content outlives the container."""

    keyword: ClassVar[str] = "VOLUME"
    paths: tuple[str, ...]

    def expanded(self, expansion: Expansion) -> Volume:
        return replace(self, paths=tuple(expansion.word(path) for path in self.paths))

    def arguments(self) -> Iterator[str]:
        yield list_of(self.paths)


@frozen
class Expose(Instruction):
    """EXPOSE: ports that the container listens at.

    :param ports: "80", "80/udp", "7000-7010/tcp"; after `expand` one port each, with its protocol
    """

    keyword: ClassVar[str] = "EXPOSE"
    ports: tuple[str, ...]

    def expanded(self, expansion: Expansion) -> Expose:
        words = dict.fromkeys(word for written in self.ports for word in expansion.words(written))
        single: dict[str, None] = {}
        come = 0
        for word in words:
            found = value(ports, word) if not expansion.open(word) else ()
            some = [word] if expansion.dry else list(found)  # a dry run does not list the ports of a range: ten letters are 65536 ports
            single.update(dict.fromkeys(some))
            come += len(some)
            if come > MOST_PORTS:
                raise word.where.error(f"more than {MOST_PORTS} ports in one EXPOSE")
        return replace(self, ports=tuple(single))

    def arguments(self) -> Iterator[str]:
        yield list_of(self.ports, json=False)


@frozen
class StopSignal(Instruction):
    """STOPSIGNAL: the signal that asks the container to end: a name or a number."""

    keyword: ClassVar[str] = "STOPSIGNAL"
    signal: str

    def expanded(self, expansion: Expansion) -> StopSignal:
        word = expansion.word(self.signal)
        return replace(self, signal=word if expansion.open(word) else Word(value(signal_name, word), word.where))

    def arguments(self) -> Iterator[str]:
        yield self.signal


@frozen
class Maintainer(Instruction):
    """MAINTAINER: the author.  Deprecated in favour of LABEL."""

    keyword: ClassVar[str] = "MAINTAINER"
    name: str

    def arguments(self) -> Iterator[str]:
        yield self.name
