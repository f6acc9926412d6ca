"""Helpers for the tests of builds: a context from a dict, a build into a store of its own, layers as dicts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from containerkit.builder import Event, build
from containerkit.image.config import ImageConfig
from containerkit.image.ids import Ids
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.image.tar import Entry
from containerkit.image.tar_from_tree import TarOptions
from containerkit.store.store import Store

Files = Mapping[str, str | bytes | None]

WRITTEN = 1_600_000_000  # seconds since 1970; long ago, so that a file's digest is remembered at once


def fill(directory: Path, files: Files) -> Path:
    """Return a directory with these files: None is a directory, ``-> x`` a link."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        elif isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            path.chmod(0o644)
            os.utime(path, (WRITTEN, WRITTEN))
    return directory


class Yard:
    """A store and a directory for the builds of one test.

    :ivar store: of its own
    :ivar events: of the last build
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.store, self.events = directory, Store(directory / "store"), list[Event]()
        self._count = 0

    def context(self, files: Files | None = None) -> Path:
        """Make a new context."""
        self._count += 1
        directory = self.directory / f"context{self._count}"
        directory.mkdir()
        return fill(directory, files or {})

    def build(self, dockerfile: str, files: Files | Path | None = None, **options: Any) -> Image:
        """Build the text of a Dockerfile."""
        self.events = []
        context = files if isinstance(files, Path) else self.context(files)
        options = {"progress": self.events.append, "store": self.store} | options
        return build(context, dockerfile=dockerfile.encode(), **options)

    def base(self, root: Path, **config: Any) -> Image:
        """Keep an image of a directory under the name base."""
        layer = Layer.from_directory(root, self.store.blobs, form=TarOptions(ids=Ids.usual()))
        return self.store.put(Image.of(ImageConfig(**config), [layer]), "base")

    @property
    def cached(self) -> list[str]:
        """The steps of the last build that came from the cache."""
        return [event.name for event in self.events if event.state == "cached"]

    @property
    def made(self) -> list[str]:
        """The steps of the last build that ran."""
        return [event.name for event in self.events if event.state == "started"]

    @property
    def output(self) -> str:
        """All output of the last build's programs."""
        return b"".join(event.data for event in self.events if event.state == "output").decode()


@contextmanager
def yard_in_memory() -> Iterator[Yard]:
    """Give a yard in memory if possible, where writing costs little."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(prefix="ck-build-", dir=memory if _keeps_attributes(memory) else None) as directory:
        yield Yard(Path(directory).resolve())


def _keeps_attributes(directory: str) -> bool:
    """Return whether a directory can hold user.* attributes, which deletions need; a tmpfs before Linux 6.6 cannot."""
    try:
        with tempfile.NamedTemporaryFile(dir=directory) as file:
            os.setxattr(file.name, "user.containerkit.probe", b"")
    except OSError:
        return False
    return True


def entries(layer: Layer) -> dict[str, Entry]:
    """Return the entries of a layer, by name."""
    return {os.fsdecode(entry.name): entry for entry in layer.entries()}


def text(layer: Layer, path: str) -> str:
    """Return the text of a file of a layer."""
    with layer.open(path) as file:
        return file.read().decode()


def tree(image: Image, directory: Path) -> dict[str, str]:
    """Return all files and links that an image shows, with their texts."""
    shutil.rmtree(directory, ignore_errors=True)
    image.extract(directory)
    found = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = path.read_bytes().decode(errors="replace")
    return found
