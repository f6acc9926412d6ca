"""An upper directory after its program ended: nothing of ours stays in it.

    stubs = Stubs(tree_below, ["/proc", "/etc/resolv.conf"])     before the program runs
    stubs.remove(upper)                                           after it
    bare(upper, tree_below)

What was mounted needed a place.  Where the layers below have none, one was made, and it goes again unless the program put
something there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ..image.diff import OF_OVERLAYFS
from ..merged import OPAQUE, is_opaque
from .tree import Tree

__all__ = ["Stubs", "bare"]


class Stubs:
    """The places of mounts that the layers below do not have.

    A directory that is there, and gets such a place, is copied up with those above it.  It goes again while it is as it is below;
    what a program did to its time alone cannot be told from that.

    :param below: the layers below
    :param targets: where something is mounted, absolute
    """

    def __init__(self, below: Tree, targets: Iterable[str]) -> None:
        self._below = below
        self._made: set[bytes] = set()
        self._above: set[bytes] = set()
        for target in targets:
            path = below.follow(os.fsencode(target))
            missing = below.get(path) is None
            while path and missing:
                (self._above if below.get(path) else self._made).add(path)
                path = path.rpartition(b"/")[0]

    def remove(self, upper: Path) -> None:
        """Takes away those that are still empty, the deepest first, and the directories that were copied up for them alone."""
        for path in sorted(self._made | self._above, key=lambda path: -path.count(b"/")):
            here = os.path.join(os.fsencode(upper), path)
            with contextlib.suppress(OSError):
                if path in self._made:
                    self._remove_made(here)
                else:
                    self._remove_copied(here, path)

    @staticmethod
    def _remove_made(here: bytes) -> None:
        status = os.lstat(here)
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(here)
        elif stat.S_ISREG(status.st_mode) and not status.st_size:
            os.unlink(here)

    def _remove_copied(self, here: bytes, path: bytes) -> None:
        node = self._below.get(path)
        if node is None or not stat.S_ISDIR(os.lstat(here).st_mode):
            return
        fd, there = self._below.handle(node)
        try:
            same = _described(here) == _described(os.fsencode(there))
        finally:
            os.close(fd)
        if same and not is_opaque(here):
            os.rmdir(here)


def _described(path: bytes) -> tuple[object, ...]:
    """What a directory is like, without what overlayfs notes for itself."""
    status = os.lstat(path)
    names = [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith(OF_OVERLAYFS)]
    attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    return status.st_mode, status.st_uid, status.st_gid, attributes


def bare(upper: Path, below: Tree) -> None:
    """Takes marks away that say nothing.

    A directory that is new is marked opaque by the kernel; where there is nothing below that it could hide, a layer need not say so.
    """
    for where, directories, _ in os.walk(os.fsencode(upper)):
        for name in directories:
            path = os.path.join(where, name)
            node = below.get(path[len(os.fsencode(upper)) + 1 :])
            if node is None or not node.is_dir:
                _unmark(path)


def _unmark(path: bytes) -> None:
    for name in OPAQUE:
        with contextlib.suppress(OSError):
            os.removexattr(path, name, follow_symlinks=False)
