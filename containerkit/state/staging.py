"""Directories that appear whole or not at all, wherever they are wanted."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import LayerError
from .files import sync_filesystem
from .locks import try_lock
from .scratch import GRACE, Scratch, remove

__all__ = ["appearing"]


@contextlib.contextmanager
def appearing(directory: str | os.PathLike[str]) -> Iterator[str]:
    """Give a directory to fill; it gets its name, and is on the disk, when the `with` block ends well.

    What others who were killed left of the same name is removed.

    :raises FileExistsError: something is there already
    """

    target = os.path.abspath(directory)
    parent, name = os.path.split(target)
    _sweep_old(parent, name)
    scratch = Scratch("new", parent, prefix=f".{name}.containerkit-")
    try:
        staging = scratch.path / "tree"
        staging.mkdir(0o755)
        os.chmod(staging, 0o755)
        yield str(staging)
        sync_filesystem(staging)
        _rename_new(str(staging), target)
    finally:
        with contextlib.suppress(LayerError):
            scratch.close()


def _sweep_old(parent: str, name: str) -> None:
    """Remove the leftovers of version 0.1, whose staging directory was locked itself."""
    import glob

    for path in glob.glob(os.path.join(glob.escape(parent), f".{glob.escape(name)}.*.new")):
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(path).st_mtime > GRACE and (fd := try_lock(path)) is not None:
                remove(Path(path))
                os.close(fd)


def _rename_new(staging: str, target: str) -> None:
    """rename(2) replaces an empty directory, but no other one."""
    try:
        os.rename(staging, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, "something is there already", target) from error
        raise
