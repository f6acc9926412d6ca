"""A root for a program that you do not trust."""

from pathlib import Path

import containerkit as ck


def jail(root: Path, data: Path) -> list[ck.Part]:
    """Return parts for a program that runs as root of its own user namespace, where

    - `root` is its root directory, and cannot be changed
    - `data`, a directory of the host, is at /data, and cannot be changed
    - /tmp can be written to: at most one megabyte
    - /proc shows its own processes and no others
    """
    raise NotImplementedError
