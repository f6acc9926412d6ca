"""The changes in an upper directory: which paths were added, modified, deleted.

overlayfs writes a deletion as a whiteout (a character device 0/0).  A directory that was deleted and made anew is opaque (an extended
attribute), so it hides the directories below it.
:see: https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from ..base.frozen import frozen
from ..linux.beneath import Beneath
from .merged import entry, is_opaque, is_whiteout, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

__all__ = ["Change", "DiskUsage", "changes", "usage"]


@frozen(order=True)
class Change:
    """One path that differs from the layers below.

    :ivar path: absolute, inside the root
    :ivar kind: "added", "modified" or "deleted"
    """

    path: str
    kind: Literal["added", "modified", "deleted"]

    def __str__(self) -> str:
        return f"{self.kind:8} {self.path}"


@frozen
class DiskUsage:
    """The disk space that a directory uses.

    :ivar bytes: on disk; a file with several names counts once
    :ivar entries: files, directories, links, whiteouts
    """

    bytes: int
    entries: int


def changes(upper: str | Path, lowers: Sequence[str | Path]) -> Iterator[Change]:
    """Compare an upper directory with the layers below it, and yield the changes.

    A program may still write to the directory: a link that it puts in place of a directory is not followed.

    :param lowers: the lowest first
    """
    from pathlib import Path

    with Beneath(upper) as top:
        yield from _walk(top, b"", [Path(p) for p in reversed(lowers)], opaque=False)


def usage(directory: str | Path) -> DiskUsage:
    """Count the files in a directory, and their bytes."""
    size, count, seen = 0, 0, set()
    with Beneath(directory) as top:
        for _, _, entries in top.walk():
            for status in filter(None, map(_status, entries)):
                count += 1
                if (status.st_dev, status.st_ino) not in seen:
                    size += status.st_blocks * 512
                if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                    seen.add((status.st_dev, status.st_ino))
    return DiskUsage(size, count)


def _status(found: os.DirEntry[str]) -> os.stat_result | None:
    """Return the status of an entry; None when the entry was removed meanwhile."""
    try:
        return found.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _walk(top: Beneath, path: bytes, below: list[Path], *, opaque: bool) -> Iterator[Change]:
    """Compare one directory.

    :param below: the directories that it lies over, the topmost first
    :param opaque: whether a parent is opaque, so that none of `below` shows any more
    """
    with top.opened(path) as fd:
        own = {found.name: status for found in os.scandir(fd) if (status := _status(found))}
        opaque = opaque or (path != b"" and is_opaque(fd))
    hidden = names(below) - own.keys() if opaque else set()
    for name in sorted(own.keys() | hidden):
        here = path + b"/" + os.fsencode(name) if path else os.fsencode(name)
        under = entry(below, name)
        if name in hidden:
            yield Change(f"/{os.fsdecode(here)}", "deleted")
        elif is_whiteout(own[name]):
            if under:
                yield Change(f"/{os.fsdecode(here)}", "deleted")
        else:
            yield from _present(top, here, own[name], under, opaque)


def _present(top: Beneath, path: bytes, status: os.stat_result, under: list[Path], opaque: bool) -> Iterator[Change]:
    before = os.lstat(under[0]) if under else None
    shown = f"/{os.fsdecode(path)}"
    if before is None:
        yield Change(shown, "added")
    elif not stat.S_ISDIR(status.st_mode) or not stat.S_ISDIR(before.st_mode) or _attributes(status) != _attributes(before):
        yield Change(shown, "modified")
    if stat.S_ISDIR(status.st_mode):
        directories = under if before is not None and stat.S_ISDIR(before.st_mode) else []
        yield from _walk(top, path, directories, opaque=opaque)


def _attributes(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid
