"""Directories of layers on mounts that the parent translates, and the paths by which a child without rights outside reaches them.

    trees, paths = shown(["/store/layers/sha256/b/diff", "/store/layers/sha256/a/diff"])
    trees           (Tree("/store/layers/sha256"),)         one mount for all layers that a directory holds
    paths           ("b/diff", "a/diff")                    from the child's working directory

The child may not enter the directories on the way there: so its working directory is the first tree, and it has descriptors of the others.
:see: mount_setattr(2), "ID-mapped mounts"
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from ..base.frozen import frozen
from ..core import mounting
from ..core.step import Phase, Step
from ..errors import PlanError
from ..linux import syscalls
from ..linux.facts import ask, text_of
from ..linux.syscalls import Slot

__all__ = ["Tree", "changes_tree", "shown"]

MORE_FD = 61  # and lower numbers, for layers on more than one mount
MOST = 30
LONGEST = 230  # bytes of a path in a tree: fsconfig(2) takes 255, with what is before it


@frozen
class Tree:
    """A directory of the host's, on a mount of its own.

    :ivar path: the directory
    :ivar slot: its name in the child
    :ivar fd: the number of one more descriptor of it
    :ivar stands: whether it is the child's working directory
    """

    path: str
    slot: Slot
    fd: int
    stands: bool = False

    def below(self, path: str) -> str:
        """Return the path by which the child reaches a file in it.  :param path: absolute, or relative to this directory"""
        relative = os.path.relpath(path, self.path) if path.startswith("/") else path
        return relative if self.stands else f"/proc/self/fd/{self.fd}/{relative}"

    def make(self, why: str) -> Iterator[Step]:
        """Yield the steps by which the child copies the mount, without those below it, and the parent translates it."""
        return mounting.shown(self.path, why, self.slot, below=False, fd=self.fd)

    def attach(self) -> Iterator[Step]:
        """Attach the tree: until Linux 6.15 an overlay takes no directory of a mount that is attached nowhere."""
        yield mounting.cover_root(self.slot)
        if self.stands:
            yield mounting.step(Phase.ROOTFS, syscalls.fchdir(self.slot), "paths of layers begin here")

    def let_go(self) -> Iterator[Step]:
        """Detach the trees, which the overlay no longer needs, in the reverse order of `attach`."""
        yield mounting.uncover_root()
        yield mounting.step(Phase.ROOTFS, syscalls.close(self.slot), f"{self.slot} is done with")
        yield mounting.step(Phase.ROOTFS, syscalls.close(self.fd), "under both names")


def changes_tree(directory: str) -> Tree:
    """Return the directory that takes changes."""
    return Tree(directory, Slot("changes"), mounting.SHOWN_FD)


def shown(lowers: Sequence[str]) -> tuple[tuple[Tree, ...], tuple[str, ...]]:
    """Return the trees for some directories, and how the child reaches each of these.

    Directories on one mount are in one tree, which holds no other mount on the way to them.

    :raises PlanError: they are on too many mounts
    """
    real = [ask(os.path.realpath, path) for path in lowers]
    points = sorted(_mount_points(), key=len, reverse=True)
    mount_of = {path: next((point for point in points if _is_below(path, point)), "/") for path in real}
    tops = {point: os.path.commonpath([path for path in real if mount_of[path] == point]) for point in mount_of.values()}
    top_of = {path: top if len(os.fsencode(path)) - len(os.fsencode(top := tops[mount_of[path]])) < LONGEST else path for path in real}
    trees = {
        top: Tree(top, Slot(f"layers{number or ''}"), MORE_FD - number if number else mounting.LAYERS_FD, stands=not number)
        for number, top in enumerate(dict.fromkeys(top_of.values()))
    }
    if len(trees) > MOST:
        raise PlanError(f"the layers are on {len(trees)} mounts; at most {MOST} can be shown to a root of other ids")
    return tuple(trees.values()), tuple(trees[top_of[path]].below(path) for path in real)


def _is_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _mount_points() -> set[str]:
    """Return the mount points of this process.  :see: proc_pid_mountinfo(5)"""
    shown = (line.split(" ", 5)[4] for line in (text_of("/proc/self/mountinfo") or "").split("\n") if line)
    return {re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point) if "\\" in point else point for point in shown}
