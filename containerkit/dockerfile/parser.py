"""From text to a Dockerfile."""

from __future__ import annotations

from ._base import Instruction
from .file import Dockerfile

__all__ = ["parse", "parse_trigger"]


def parse(text: str | bytes, *, name: str = "Dockerfile") -> Dockerfile:
    """What a Dockerfile says.

    :param name: what errors call the file
    :raises DockerfileError: with the line and the column of the word that is wrong
    """
    raise NotImplementedError


def parse_trigger(text: str, *, escape: str = "\\", name: str = "ONBUILD") -> Instruction:
    """The instruction in the text of an ONBUILD, out of an image's config.

    :raises DockerfileError: not one, or one that cannot be a trigger
    """
    raise NotImplementedError
