"""The context of a build: the only files that COPY and ADD see, without those that .dockerignore hides.

    directory = directory_of(given, workspace)            a directory; or a tar, as a path, bytes or a file
    context = Context(directory, ignore_of(directory, path))
    context.tree, context.directory

A context is a `Tree`: no link in it leads to a file outside of it.
:see: https://docs.docker.com/build/concepts/context/
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import BinaryIO

from ..dockerfile.ignore import Ignore
from ..image import media
from ..image.digest import Readable
from ..image.errors import ImageError
from ..image.ids import Ids
from ..image.limits import Limits
from .errors import BuildError
from .tree import Tree
from .workspace import Workspace

__all__ = ["Context", "Ignored", "decompressed", "directory_of", "ignore_of", "read_inside"]

IGNORE = ".dockerignore"
KNOWN = ("gzip", "zstd", "xz", "bzip2")
LARGEST = 4 << 20  # the most bytes of a Dockerfile, and of a .dockerignore

Given = str | os.PathLike[str] | bytes | BinaryIO


class Ignored:
    """The `Filter` of a tree that hides the files named in a .dockerignore."""

    def __init__(self, ignore: Ignore) -> None:
        self._ignore = ignore

    def keeps(self, path: bytes) -> bool:
        return not path or not self._ignore.excludes(os.fsdecode(path))

    def enters(self, path: bytes) -> bool:
        """Return whether a directory must be walked: inside a hidden one only a ``!`` pattern can show a file again."""
        return not self._ignore.skips(os.fsdecode(path))


class Context:
    """The files that a build may read.

    :ivar directory: their directory
    :ivar tree: the files that are not hidden
    """

    def __init__(self, directory: Path, ignore: Ignore | None = None) -> None:
        self.directory = directory
        if not directory.is_dir():
            raise BuildError(f"the context {directory} is no directory")
        self.tree = Tree(directory, overlay=False, shown=Ignored(ignore) if ignore else None)

    def close(self) -> None:
        """Close the tree's descriptors."""
        self.tree.close()


def directory_of(given: Given, workshop: Workspace) -> Path:
    """Return the directory of a context; a tar is unpacked first.

    :raises BuildError: `given` is neither a directory nor a tar
    """
    if isinstance(given, str | os.PathLike) and os.path.isdir(given):
        return Path(given).resolve()
    place = workshop.directory()
    try:
        with _opened(given) as stream:
            unpack_context(stream, place, workshop.store.trees.limits)
    except (ImageError, OSError) as error:
        shown = given if isinstance(given, str | os.PathLike) else "of bytes"
        raise BuildError(f"the context {shown} is neither a directory nor a tar: {error}") from error
    return place


def unpack_context(stream: BinaryIO, place: Path, limits: Limits | None = None) -> None:
    """Unpack a tar.  All its files get the caller as owner."""
    from ..image.unpack.unpack import unpack

    unpack(decompressed(stream, limits), place, whiteouts="plain", ids=Ids.mine(), limits=limits, skip=("devices", "xattrs"))


def _opened(given: Given) -> contextlib.AbstractContextManager[BinaryIO]:
    if isinstance(given, bytes):
        return io.BytesIO(given)
    if isinstance(given, str | os.PathLike):
        return open(given, "rb")
    return contextlib.nullcontext(given)


def decompressed(stream: BinaryIO, limits: Limits | None = None) -> Readable:
    """Return the uncompressed bytes of a gzip, zstd, bzip2 or xz stream, or the stream itself.

    :param stream: positioned at its beginning
    :param limits: the largest size it may have when decompressed
    :raises InvalidLayer: while reading: the stream is damaged
    :raises LimitExceeded: while reading: the stream is too large
    """
    from ..image.compression.compression import Decompressed

    buffered = io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream
    head = buffered.peek(6)[:6] if isinstance(buffered, io.BufferedReader) else _peek(buffered)
    return Decompressed(buffered, limits=limits) if media.sniff(head) in KNOWN else buffered


def _peek(stream: BinaryIO) -> bytes:
    if not stream.seekable():
        raise BuildError("a context that is no file has to be a buffered stream")
    at = stream.tell()
    head = stream.read(6)
    stream.seek(at)
    return head


def read_inside(directory: Path, name: str) -> bytes | None:
    """Return the content of a file in a context, None when it has no such file.  A link cannot lead out of the context."""
    with Tree(directory, overlay=False) as tree:
        return tree.read(os.fsencode(name), LARGEST)


def ignore_of(directory: Path, dockerfile: Path | None) -> Ignore | None:
    """Return the patterns of hidden files.  NAME.dockerignore beside a Dockerfile takes precedence over the context's own.

    :param dockerfile: its absolute path
    """
    beside = [(dockerfile.parent, dockerfile.name + IGNORE)] if dockerfile else []
    for place, name in (*beside, (directory, IGNORE)):
        inside = place.is_relative_to(directory)
        data = read_inside(directory, str(place.relative_to(directory) / name)) if inside else read_inside(place, name)
        if data is not None:
            return Ignore.parse(data, name=name)
    return None
