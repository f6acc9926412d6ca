"""A file descriptor that is owned: closed when its block ends, however it ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

__all__ = ["DIRECTORY", "owned"]

#: The flags of open(2) for a directory.
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def owned(fd: int) -> Iterator[int]:
    """Close `fd` when the block ends.

    :param fd: an open descriptor; the block owns it from here on
    :see: close(2)
    """
    try:
        yield fd
    finally:
        os.close(fd)
