"""A place to run what one does not trust."""

from pathlib import Path

import containerkit as ck


def jail(root: Path, data: Path) -> list[ck.Part]:
    """Parts for a program that runs as root of its own user namespace, where

    - `root` is its root directory, and cannot be changed
    - `data`, a directory of the host, is at /data, and cannot be changed
    - /tmp can be written to: at most one megabyte
    - /proc shows its own processes and nobody else's
    """
    raise NotImplementedError
