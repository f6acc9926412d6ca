"""Writing files and blobs into one tar: sorted, without times and owners, so that the same images give the same bytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

from ...state.files import appearing_file
from ..blobs import Blobs
from ..content import Found, opened
from ..descriptor import Descriptor
from ..digest import Digest
from .tar import Entry, Writer

__all__ = ["appearing", "tar_file", "tar_stream"]

StrPath = str | os.PathLike[str]
Reached = Iterable[tuple[Found, Blobs]]


def tar_file(path: StrPath, files: Mapping[str, bytes], found: Reached) -> None:
    """Write a tar with these files and blobs.  It appears whole or not at all."""
    with appearing(path) as file:
        tar_stream(file, files, found)


def tar_stream(file: BinaryIO, files: Mapping[str, bytes], found: Reached) -> None:
    """Write the same tar into an open file, which need not be seekable."""
    blobs: dict[Digest, tuple[Descriptor, Blobs]] = {}
    for each, source in found:
        blobs.setdefault(each.descriptor.digest, (each.descriptor, source))
    places = {f"blobs/{digest.algorithm}/{digest.hex}": where for digest, where in blobs.items()}
    directories = {"blobs", *(os.path.dirname(name) for name in places)}
    writer = Writer(file.write)
    for name in sorted({*files, *places, *directories}):
        if name in places:
            _add_blob(writer, name, *places[name])
        elif name in files:
            writer.add(Entry(name.encode(), size=len(files[name])), files[name])
        else:
            writer.add(Entry(name.encode(), "directory", 0o755))
    writer.close()


def _add_blob(writer: Writer, name: str, descriptor: Descriptor, blobs: Blobs) -> None:
    with opened(blobs, descriptor) as stream:
        writer.add(Entry(name.encode(), size=descriptor.size), stream)


@contextlib.contextmanager
def appearing(path: StrPath) -> Iterator[BinaryIO]:
    """Give a new file, which appears under its name when the `with` block ends well; an old file stays until then."""
    with appearing_file(path, mode=0o666 & ~_umask()) as fd, os.fdopen(fd, "wb", closefd=False) as file:
        yield file
        file.flush()


def _umask() -> int:
    """Return the umask: the bits that open(2) takes from the mode of a new file."""
    with open("/proc/thread-self/status") as status:
        return next((int(line.split()[1], 8) for line in status if line.startswith("Umask:")), 0o022)
