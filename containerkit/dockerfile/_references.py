"""The check that COPY --from= and a mount's from= name an earlier stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ._base import Instruction
from ._commands import Run
from ._copies import Copy
from .file import Stage
from .words import Where, Word

__all__ = ["check_references"]


def check_references(stages: Sequence[Stage]) -> None:
    """Check every reference.  :raises DockerfileError: a stage takes files from itself, or from a later stage"""
    first: dict[str, int] = {}
    for stage in stages:
        first.setdefault(stage.name, stage.index)
    for stage in stages:
        for made in stage.instructions:
            for reference, where in _references(made):
                _check(reference, where, stage, first)


def _references(made: Instruction) -> Iterator[tuple[str, Where]]:
    if isinstance(made, Copy) and made.from_:
        yield made.from_, made.from_.where if isinstance(made.from_, Word) else made.where
    elif isinstance(made, Run):
        yield from ((mount.from_, mount.where) for mount in made.mounts if mount.from_)


def _check(reference: str, where: Where, stage: Stage, first: dict[str, int]) -> None:
    number = reference.isascii() and reference.isdecimal()
    index = int(reference[:9]) if number else first.get(reference.lower(), -1)
    if index >= stage.index:
        itself = " itself" if index == stage.index else ""
        raise where.error(f"stage {stage.index} cannot take from{itself} {reference[:80]}: a stage before it, or an image, was expected")
