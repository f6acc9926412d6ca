"""Cleaning an upper directory after its program ended: removal of the mount targets and marks that the build itself made.

    stubs = Stubs(tree_below, ["/proc", "/etc/resolv.conf"])     before the program runs
    stubs.remove(upper)                                           after it
    bare(upper, tree_below)

Every mount needs a target.  A target that the layers below do not have is made in the upper directory, and removed afterwards unless
the program put something there.
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
    """The mount targets that the layers below do not have.

    An existing directory that gets such a target is copied up, with its parents.  The copy is removed if it still equals the directory
    below; a program's change of its times alone goes unnoticed.

    :param below: the files of the layers below
    :param targets: absolute paths of mount targets
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
        """Remove the targets that are still empty, the deepest first, and the directories that were copied up for them alone.

        A link that the program put on the way to a target is not followed, so the files behind it stay.
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
    """Return a directory's attributes, without those that overlayfs keeps for itself.

    :param path: of a descriptor in /proc/self/fd
    """
    status = os.lstat(path)
    names = [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith(OF_OVERLAYFS)]
    attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    return status.st_mode, status.st_uid, status.st_gid, attributes


def bare(upper: Path, below: Tree) -> None:
    """Remove opaque marks without effect.

    The kernel marks each new directory as opaque.  The mark is needless when the layers below have no directory it could hide.
    """
    with Beneath(upper) as top:
        for path, fd, entries in top.walk():
            for name in (os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)):
                node = below.get(path + b"/" + name if path else name)
                if node is None or not node.is_dir:
                    _unmark(b"/proc/self/fd/%d/%b" % (fd, name))


def _unmark(path: bytes) -> None:
    """Remove the opaque mark of a directory.

    :param path: the name below an open directory in /proc/self/fd
    """
    for name in OPAQUE:
        with contextlib.suppress(OSError):
            os.removexattr(path, name, follow_symlinks=False)
