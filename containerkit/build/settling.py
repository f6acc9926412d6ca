"""An upper directory after its program ended: nothing of ours stays in it, and it is as its layer will be unpacked again.

    stubs = Stubs(tree_below, ["/proc", "/etc/resolv.conf"])     before the program runs
    stubs.remove(upper)                                           after it
    settle(upper, tree_below, form)

What was mounted needed a place.  Where the layers below have none, one was made, and it goes again unless the program put
something there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ..image.diff import OF_OVERLAYFS, Form
from ..merged import OPAQUE, is_whiteout
from .tree import Tree

__all__ = ["Stubs", "settle"]


class Stubs:
    """The places of mounts that the layers below do not have.

    :param below: the layers below
    :param targets: where something is mounted, absolute
    """

    def __init__(self, below: Tree, targets: Iterable[str]) -> None:
        self._below = below
        self._made: set[bytes] = set()
        self._above: set[bytes] = set()
        for target in targets:
            path = below.follow(os.fsencode(target))
            while path:
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
        status, node = os.lstat(here), self._below.get(path)
        same = node is not None and (status.st_mode, status.st_uid, status.st_gid) == _plain(node.status)
        if same and stat.S_ISDIR(status.st_mode) and not _opaque(here):
            os.rmdir(here)


def _plain(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _opaque(path: bytes) -> bool:
    return any(name in OPAQUE for name in os.listxattr(path, follow_symlinks=False))


def settle(upper: Path, below: Tree, form: Form) -> None:
    """Takes away what a layer does not have: sockets, overlayfs's own attributes, fractions of times.

    A directory that is new is marked opaque by the kernel; where there is nothing below that it could hide, the mark goes.
    """
    for where, directories, files in os.walk(os.fsencode(upper), topdown=False):
        for name in (*directories, *files):
            _settle(os.path.join(where, name), os.fsencode(upper), below, form)
    _strip(os.fsencode(upper), hides=False)


def _settle(path: bytes, upper: bytes, below: Tree, form: Form) -> None:
    status = os.lstat(path)
    if stat.S_ISSOCK(status.st_mode):
        os.unlink(path)
        return
    if is_whiteout(status):
        return
    _strip(path, hides=_hides(path[len(upper) + 1 :], below))
    if (time := form.time(status)) != status.st_mtime_ns:
        os.utime(path, ns=(status.st_atime_ns, time), follow_symlinks=False)


def _strip(path: bytes, *, hides: bool) -> None:
    for name in os.listxattr(path, follow_symlinks=False):
        if name.startswith(OF_OVERLAYFS) and not (name in OPAQUE and hides):
            os.removexattr(path, name, follow_symlinks=False)


def _hides(path: bytes, below: Tree) -> bool:
    node = below.get(path)
    return node is not None and node.is_dir
