"""Directories that a layer goes through and does not describe.

In an overlay they lie over those of the layers below, and what shows is their owner, mode, attributes and time.  So they get
those of the directory that they hide, as if the layer had been unpacked onto the layers below.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from ..merged import is_opaque, is_whiteout

__all__ = ["settle"]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OF_OVERLAYFS = ("user.overlay.", "trusted.overlay.")


def settle(tree: Path, implied: Iterable[bytes], below: Sequence[Path]) -> None:
    """Gives implied directories what those below them have.  Twice is the same as once.

    :param tree: a layer, unpacked for an overlay
    :param implied: their paths in it
    :param below: the layers below, the lowest first, settled already
    """
    for path in sorted(implied):
        with ExitStack() as held:
            parts = [part for part in path.split(b"/") if part]
            target, hidden = _walk(held, tree, parts)
            if target is None or hidden:
                continue
            for layer in reversed(below):
                source, hidden = _walk(held, layer, parts)
                if source is not None:
                    _copy(source, target)
                if source is not None or hidden:
                    break


def _walk(held: ExitStack, layer: Path, parts: Sequence[bytes]) -> tuple[int | None, bool]:
    """A directory of one layer, and whether the layer hides what others have there.

    An opaque directory hides what is in another, not what that is itself.  Links are not followed: overlayfs does not.
    """
    fd = os.open(layer, DIRECTORY)
    held.callback(os.close, fd)
    opaque = False
    for part in parts:
        opaque = opaque or is_opaque(fd)
        try:
            status = os.lstat(part, dir_fd=fd)
        except FileNotFoundError:
            return None, opaque
        if is_whiteout(status) or not stat.S_ISDIR(status.st_mode):
            return None, True
        fd = os.open(part, DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        held.callback(os.close, fd)
    return fd, opaque


def _copy(source: int, target: int) -> None:
    """Owner first, as it takes the mode's upper bits away.  What is the same already is not touched."""
    there, here = os.fstat(source), os.fstat(target)
    mode = stat.S_IMODE(there.st_mode)
    if (there.st_uid, there.st_gid) != (here.st_uid, here.st_gid):
        os.fchown(target, there.st_uid, there.st_gid)
        os.fchmod(target, mode)
    elif mode != stat.S_IMODE(here.st_mode):
        os.fchmod(target, mode)
    known = _attributes(target)
    for name, value in _attributes(source).items():
        if known.get(name) != value:
            os.setxattr(target, name, value)
    if there.st_mtime_ns != here.st_mtime_ns:
        os.utime(target, ns=(there.st_mtime_ns, there.st_mtime_ns))


def _attributes(fd: int) -> dict[str, bytes]:
    return {name: os.getxattr(fd, name) for name in os.listxattr(fd) if not name.startswith(OF_OVERLAYFS)}
