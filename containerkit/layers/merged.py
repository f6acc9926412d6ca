"""The files that layers show together, found without a mount.

    find("/etc/passwd", layers)      the layer that shows the path, and the path in that layer, or None
    read("/etc/passwd", layers)      the file's bytes

Links are followed as a program inside would follow them: an absolute one begins at the root of the layers.
:see: https://docs.kernel.org/filesystems/overlayfs.html#upper-and-lower
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack

from ..errors import LayerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    StrPath = str | Path

__all__ = ["entry", "entry_paths", "find", "is_opaque", "is_whiteout", "names", "read"]

OPAQUE = ("user.overlay.opaque", "trusted.overlay.opaque")
LINKS = 40  # links that are followed at most, as in path_resolution(7)
LARGEST = 16 << 20
INSIDE = os.O_NOFOLLOW | os.O_CLOEXEC


def is_whiteout(status: os.stat_result) -> bool:
    """Return whether an entry is a whiteout, which marks its path as deleted."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(directory: str | Path | bytes | int) -> bool:
    """Return whether a directory is opaque, so that it hides the directories below it.

    :param directory: its path, or a descriptor that was opened to read it
    """
    for name in OPAQUE:
        try:
            if os.getxattr(directory, name, follow_symlinks=isinstance(directory, int)) == b"y":
                return True
        except OSError:
            continue
    return False


def entry(below: Sequence[StrPath], name: str) -> list[Path]:
    """Return the files that show under a name in directories laid over each other.

    :param below: the directories, the topmost first
    :return: [], one file, or the directories that are merged under the name, the topmost first
    """
    from pathlib import Path

    return [Path(path) for path in entry_paths(below, name)]


def entry_paths(below: Sequence[StrPath], name: str) -> list[str]:
    """Return the same paths as text, for callers that ask often."""
    found: list[str] = []
    for layer in below:
        path = os.path.join(layer, name)
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if is_whiteout(status) or (found and not stat.S_ISDIR(status.st_mode)):
            break
        found.append(path)
        if not stat.S_ISDIR(status.st_mode) or layer is below[-1] or is_opaque(path):
            break
    return found


def names(below: Sequence[StrPath]) -> set[str]:
    """Return the names that show in directories laid over each other."""
    return {name for layer in below for name in os.listdir(layer) if entry(below, name)}


def find(path: str, layers: Sequence[StrPath]) -> tuple[StrPath, str] | None:
    """Find the file that a program inside sees at a path, links followed.

    :param layers: the lowest first
    :return: the layer, and the path in it; None when no file is there, or the path goes through a file
    :raises LayerError: links lead in a circle
    """
    from pathlib import Path

    left, done = [part for part in reversed(path.split("/")) if part not in ("", ".")], [[str(layer) for layer in reversed(layers)]]
    links = 0
    while left:
        if (name := left.pop()) == "..":
            done = done[:-1] or done
            continue
        if not (here := entry_paths(done[-1], name)):
            return None
        if os.path.islink(here[0]):
            if (links := links + 1) > LINKS:
                raise LayerError(errno.ELOOP, f"{path}: links lead in a circle")
            target = os.readlink(here[0])
            done = done[:1] if target.startswith("/") else done
            left += [part for part in reversed(target.split("/")) if part not in ("", ".")]
            continue
        done.append(here)

    top = Path(done[-1][0])
    layer = next(layer for layer in reversed(layers) if top.is_relative_to(layer))
    return layer, str(top.relative_to(layer))


def read(path: str, layers: Sequence[StrPath]) -> bytes | None:
    """Return the bytes of the file that shows at a path; None when no file is there.

    Once the file is found no link is followed any more, so a program that changes a layer meanwhile cannot lead out of it.

    :raises LayerError: links lead in a circle, or the path is no regular file, or a large one
    """
    if (found := find(path, layers)) is None:
        return None
    layer, inside = found
    with ExitStack() as opened:
        here = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, here)
        *parents, last = inside.split("/")
        try:
            for name in parents:
                here = os.open(name, os.O_PATH | os.O_DIRECTORY | INSIDE, dir_fd=here)
                opened.callback(os.close, here)
            fd = os.open(last, os.O_RDONLY | os.O_NONBLOCK | INSIDE, dir_fd=here)
        except OSError as error:
            raise LayerError(error.errno, f"{path}: {error.strerror}") from error
        opened.callback(os.close, fd)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise LayerError(errno.EINVAL, f"{path} is not a file of at most {LARGEST} bytes")
        with open(fd, "rb", closefd=False) as file:
            return file.read(LARGEST)
