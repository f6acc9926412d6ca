"""Make an upper directory look as its layer does when it is unpacked."""

from __future__ import annotations

import os
import stat

from ...layers.merged import OPAQUE, is_opaque, is_whiteout
from ...linux.descriptor import DIRECTORY, owned
from ..tar_from_tree import OF_OVERLAYFS, TarOptions

__all__ = ["normalize"]


def normalize(upper: str | os.PathLike[str], form: TarOptions, keeps: str) -> bool:
    """Cut times to those that the layer says, and remove what no layer has (sockets, overlayfs's own notes, whiteouts of nothing).

    :param form: the form that the layer was written in
    :param keeps: the attribute that says "opaque" in the store
    :return: False where the directory cannot be used as it is: its deletions are written in another form
    """
    with owned(os.open(upper, DIRECTORY)) as fd:
        return _notes(fd, keeps) and _inside(fd, form, keeps, hidden=False)


def _inside(fd: int, form: TarOptions, keeps: str, *, hidden: bool) -> bool:
    """Normalize one directory.  :param hidden: a directory above it hides all below: whiteouts in it would be listed and not found"""
    hidden = hidden or is_opaque(fd)
    for entry in list(os.scandir(fd)):
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISSOCK(status.st_mode) or (hidden and is_whiteout(status)):
            os.unlink(entry.name, dir_fd=fd)
        elif stat.S_ISDIR(status.st_mode):
            with owned(os.open(entry.name, DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)) as below:
                if not _notes(below, keeps) or not _inside(below, form, keeps, hidden=hidden):
                    return False
                if (time := form.time(status)) != os.fstat(below).st_mtime_ns:
                    os.utime(below, ns=(time, time))
        elif not is_whiteout(status):
            path = f"/proc/self/fd/{fd}/{entry.name}"
            if not _notes(path, keeps):
                return False
            if (time := form.time(status)) != status.st_mtime_ns:
                os.utime(entry.name, ns=(time, time), dir_fd=fd, follow_symlinks=False)
    return True


def _notes(target: int | str, keeps: str) -> bool:
    """Remove the attributes of overlayfs itself, but the one that says "opaque"."""
    follow = isinstance(target, int)
    for name in os.listxattr(target, follow_symlinks=follow):
        if name in OPAQUE and (name != keeps or os.getxattr(target, name, follow_symlinks=follow) != b"y"):
            return False
        if name.startswith(OF_OVERLAYFS) and name != keeps:
            if name.endswith(".whiteout"):
                return False
            os.removexattr(target, name, follow_symlinks=follow)
    return True
