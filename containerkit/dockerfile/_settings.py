"""The instructions that only set something: FROM ARG ENV LABEL USER WORKDIR VOLUME EXPOSE STOPSIGNAL MAINTAINER."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ._base import Instruction

__all__ = ["Arg", "Env", "Expose", "From", "Label", "Maintainer", "Pair", "StopSignal", "User", "Volume", "Workdir"]


class Pair(NamedTuple):
    """A name and its value.  Only the value of an ARG can be None: it has no default."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class From(Instruction):
    """FROM: begins a stage.

    :param image: a reference, an earlier stage, or "scratch"
    :param name: of the stage, in lower case, or ""
    :param platform: "os/architecture", or ""
    """

    keyword: ClassVar[str] = "FROM"
    image: str
    name: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Arg(Instruction):
    """ARG: variables of the build, each with its default or None."""

    keyword: ClassVar[str] = "ARG"
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Env(Instruction):
    """ENV: variables of the build and of the container."""

    keyword: ClassVar[str] = "ENV"
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Label(Instruction):
    """LABEL: what is said about the image."""

    keyword: ClassVar[str] = "LABEL"
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class User(Instruction):
    """USER: who runs what follows: "name", "uid", "user:group"."""

    keyword: ClassVar[str] = "USER"
    user: str


@dataclass(frozen=True, slots=True)
class Workdir(Instruction):
    """WORKDIR: where what follows runs; a relative one is below the one before."""

    keyword: ClassVar[str] = "WORKDIR"
    path: str


@dataclass(frozen=True, slots=True)
class Volume(Instruction):
    """VOLUME: paths whose content outlives the container."""

    keyword: ClassVar[str] = "VOLUME"
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expose(Instruction):
    """EXPOSE: ports it listens at.

    :param ports: "80", "80/udp", "7000-7010/tcp"; after `expand` one port each, with its protocol
    """

    keyword: ClassVar[str] = "EXPOSE"
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopSignal(Instruction):
    """STOPSIGNAL: what asks the container to end: a name or a number."""

    keyword: ClassVar[str] = "STOPSIGNAL"
    signal: str


@dataclass(frozen=True, slots=True)
class Maintainer(Instruction):
    """MAINTAINER: who made it.  Old; LABEL says it now."""

    keyword: ClassVar[str] = "MAINTAINER"
    name: str
