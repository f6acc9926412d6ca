"""Directories that appear whole or not at all, wherever they are wanted."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

from ..linux.descriptor import DIRECTORY, owned
from .files import sync_filesystem, try_lock

__all__ = ["appearing"]

GRACE = 60.0  # seconds in which a directory without a lock may still be in the making


@contextlib.contextmanager
def appearing(directory: str | os.PathLike[str]) -> Iterator[str]:
    """A directory to be filled; it gets its name, and is on the disk, when the `with` ends well.

    What others who were killed left of the same name is removed.

    :raises FileExistsError: something is there already
    """
    import tempfile

    target = os.path.abspath(directory)
    parent, name = os.path.split(target)
    _sweep(parent, name)
    staging = tempfile.mkdtemp(prefix=f".{name}.", suffix=".new", dir=parent)
    with owned(os.open(staging, DIRECTORY)) as fd:
        import shutil

        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            os.chmod(staging, 0o755)
            yield staging
            sync_filesystem(staging)
            _rename_new(staging, target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise


def _sweep(parent: str, name: str) -> None:
    import glob
    import shutil

    for path in glob.glob(os.path.join(glob.escape(parent), f".{glob.escape(name)}.*.new")):
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(path).st_mtime > GRACE and (fd := try_lock(path)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(fd)


def _rename_new(staging: str, target: str) -> None:
    """rename(2) replaces an empty directory, but no other one."""
    try:
        os.rename(staging, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, "something is there already", target) from error
        raise
