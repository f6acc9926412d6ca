"""The directory for temporary files, without `tempfile`, which loads twenty modules."""

from __future__ import annotations

import os
import sys

__all__ = ["directory", "made"]

NAMES = ("TMPDIR", "TEMP", "TMP")
PLACES = ("/tmp", "/var/tmp", "/usr/tmp")


def directory() -> str:
    """Return the directory that `tempfile.gettempdir` chooses.  Ask `tempfile` where it is loaded: the program may have set another one."""
    if "tempfile" not in sys.modules:
        for path in (*filter(None, map(os.environ.get, NAMES)), *PLACES):
            if os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK):
                return os.path.abspath(path)
    import tempfile

    return tempfile.gettempdir()


def made(prefix: str, parent: str | os.PathLike[str]) -> str:
    """Return a new directory that is this user's alone.  :return: its path, which begins with `prefix` in `parent`"""
    while True:
        path = os.path.join(parent, prefix + os.urandom(4).hex())
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            continue
        return path
