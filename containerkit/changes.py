"""What an upper directory says: which paths were added, modified, deleted.

overlayfs writes a deletion as a whiteout (a character device 0/0), and a directory that was deleted and made anew as
opaque (an extended attribute): nothing below it shines through.
:see: https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .merged import entry, is_opaque, is_whiteout, names

__all__ = ["Change", "Usage", "changes", "usage"]

Kind = Literal["added", "modified", "deleted"]


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One path that differs from the layers below.

    :ivar path: absolute, inside the root
    """

    path: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.kind:8} {self.path}"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a directory takes.

    :ivar bytes: on disk; a file with several names counts once
    :ivar entries: files, directories, links, whiteouts
    """

    bytes: int
    entries: int


def changes(upper: Path, lowers: Sequence[Path]) -> Iterator[Change]:
    """Compares an upper directory with the layers below it, the lowest first."""
    yield from _walk(upper, "/", [Path(p) for p in reversed(lowers)], opaque=False)


def usage(directory: Path) -> Usage:
    """Counts what is in a directory."""
    size, entries, seen = 0, 0, set()
    for where, directories, files in os.walk(directory):
        for name in [*directories, *files]:
            status = os.lstat(os.path.join(where, name))
            entries += 1
            if (status.st_dev, status.st_ino) not in seen:
                size += status.st_blocks * 512
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                seen.add((status.st_dev, status.st_ino))
    return Usage(size, entries)


def _walk(upper: Path, path: str, below: list[Path], *, opaque: bool) -> Iterator[Change]:
    """`below` are the directories that this one lies over, the topmost first; `opaque`: none of them shows any more."""
    own = {found.name: found.stat(follow_symlinks=False) for found in os.scandir(upper)}
    hidden = names(below) - own.keys() if opaque else set()
    for name in sorted(own.keys() | hidden):
        here = os.path.join(path, name)
        under = entry(below, name)
        if name in hidden:
            yield Change(here, "deleted")
        elif is_whiteout(own[name]):
            if under:
                yield Change(here, "deleted")
        else:
            yield from _present(upper / name, here, own[name], under, opaque)


def _present(upper: Path, path: str, status: os.stat_result, under: list[Path], opaque: bool) -> Iterator[Change]:
    before = os.lstat(under[0]) if under else None
    if before is None:
        yield Change(path, "added")
    elif not stat.S_ISDIR(status.st_mode) or not stat.S_ISDIR(before.st_mode) or _attributes(status) != _attributes(before):
        yield Change(path, "modified")
    if stat.S_ISDIR(status.st_mode):
        directories = under if before is not None and stat.S_ISDIR(before.st_mode) else []
        yield from _walk(upper, path, directories, opaque=opaque or is_opaque(upper))


def _attributes(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid
