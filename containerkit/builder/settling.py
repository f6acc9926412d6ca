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

from ..image.tar_from_tree import OF_OVERLAYFS
from ..layers.merged import OPAQUE, is_opaque
from ..linux.beneath import Beneath
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

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
        """Takes away those that are still empty, the deepest first, and the directories that were copied up for them alone.

        The program may have put a link on the way to one: it is not followed, and what is behind it stays.
        """
        with Beneath(upper) as top:
            for path in sorted(self._made | self._above, key=lambda path: -path.count(b"/")):
                with contextlib.suppress(OSError), top.parent(path) as (directory, name):
                    if path in self._made:
                        self._remove_made(directory, name)
                    else:
                        self._remove_copied(top, path, directory, name)

    @staticmethod
    def _remove_made(directory: int, name: bytes) -> None:
        status = os.lstat(name, dir_fd=directory)
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=directory)
        elif stat.S_ISREG(status.st_mode) and not status.st_size:
            os.unlink(name, dir_fd=directory)

    def _remove_copied(self, top: Beneath, path: bytes, directory: int, name: bytes) -> None:
        node = self._below.get(path)
        if node is None:
            return
        fd, there = self._below.handle(node)
        try:
            with top.opened(path, os.O_PATH | os.O_DIRECTORY) as handle:
                here = b"/proc/self/fd/%d/." % handle
                same = _described(here) == _described(os.fsencode(there)) and not is_opaque(here)
        finally:
            os.close(fd)
        if same:
            os.rmdir(name, dir_fd=directory)


def _described(path: bytes) -> tuple[object, ...]:
    """What a directory is like, without what overlayfs notes for itself.

    :param path: of a descriptor in /proc/self/fd
    """
    status = os.lstat(path)
    names = [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith(OF_OVERLAYFS)]
    attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    return status.st_mode, status.st_uid, status.st_gid, attributes


def bare(upper: Path, below: Tree) -> None:
    """Takes marks away that say nothing.

    A directory that is new is marked opaque by the kernel; where there is nothing below that it could hide, a layer need not say so.
    """
    with Beneath(upper) as top:
        for path, fd, entries in top.walk():
            for name in (os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)):
                node = below.get(path + b"/" + name if path else name)
                if node is None or not node.is_dir:
                    _unmark(b"/proc/self/fd/%d/%b" % (fd, name))


def _unmark(path: bytes) -> None:
    """:param path: of a name in a directory that is open, in /proc/self/fd"""
    for name in OPAQUE:
        with contextlib.suppress(OSError):
            os.removexattr(path, name, follow_symlinks=False)
