"""Directories that no other user enters: files that programs of containers write are kept in one, for they may be set-user-ID.

A container's root can make a file that runs as root for every user who executes it.  Inside that is the container's affair; on the
host no other user must reach the file (CVE-2021-41091).
"""

from __future__ import annotations

import errno
import os
import stat

from ..errors import LayerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CHANGES", "check_private", "private"]

#: The directory inside of a kept directory that has the changes.
CHANGES = "changes"
OLD = ("upper", "work")


def private(directory: Path) -> Path:
    """Return a directory of mode 700 in one that the caller named, which is made where it is missing and else stays as it is.

    Changes that an older version kept in `directory` itself are moved into it.

    :raises LayerError: it is there, and is not the caller's alone
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    inner = directory / CHANGES
    try:
        inner.mkdir(mode=0o700)
    except FileExistsError:
        status = os.lstat(inner)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            said = f"{inner} is not a directory of mode 700 that is this user's: others could run what a program left there"
            raise LayerError(errno.EPERM, said) from None
        return inner
    for name in OLD:
        old = directory / name
        if old.is_dir() and not old.is_symlink() and os.lstat(old).st_uid == os.geteuid():
            os.rename(old, inner / name)
    return inner


def check_private(directory: Path) -> None:
    """Refuse a directory that others may enter.  :raises LayerError: others may enter it and every one above it"""
    for path in (directory, *directory.parents):
        if not os.stat(path).st_mode & 0o011:
            return
    said = (
        f"{directory} is open to others, who could run a set-user-ID file that a program left: choose a place below a directory of mode 700"
    )
    raise LayerError(errno.EPERM, said)
