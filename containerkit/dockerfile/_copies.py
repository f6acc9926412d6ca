"""COPY and ADD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ._base import Heredoc, Instruction

__all__ = ["Add", "Copy"]


@dataclass(frozen=True, slots=True)
class _Files(Instruction):
    """What COPY and ADD share.

    :param sources: patterns below the context, a stage or an image; for ADD also URLs
    :param dest: a path; a directory where it ends in /
    :param heredocs: files whose text stands in the Dockerfile
    :param chown: "user:group", or ""
    :param chmod: octal or symbolic, or ""
    :param link: whether what is below the destination does not matter
    :param excludes: patterns of what is left out
    """

    sources: tuple[str, ...]
    dest: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy(_Files):
    """COPY: files of the context, of a stage or of an image.

    :param from_: a stage's name or number, or an image; "" for the context
    :param parents: whether the directories above a source are kept
    """

    keyword: ClassVar[str] = "COPY"
    from_: str = ""
    parents: bool = False


@dataclass(frozen=True, slots=True)
class Add(_Files):
    """ADD: files of the context or the network; tars are unpacked.

    :param checksum: the digest of what is fetched, or ""
    :param keep_git_dir: whether .git of a repository stays
    :param unpack: None where the source decides: local tars are, fetched ones are not
    """

    keyword: ClassVar[str] = "ADD"
    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None
