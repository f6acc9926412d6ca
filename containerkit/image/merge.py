"""Several layers as one: what a stack of them shows, and what it hides of what lies below.

First the entries of all layers are laid over each other, without their contents.  Then the layers are read once more, and
the contents that are still seen are copied.  Directories come first, then the files as they come, then other names of
files, then whiteouts.
:see: https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .digest import CHUNK
from .errors import Escape, InvalidLayer
from .tar import Entry, Reader, Writer

if TYPE_CHECKING:
    from ._write import Sink
    from .layer import Layer

__all__ = ["Stack", "write"]

WHITEOUT, META, OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"
Path = tuple[bytes, ...]


@dataclass(slots=True, eq=False)
class File:
    """What one or more names stand for.

    :ivar place: of its layer, and of its entry in it
    """

    entry: Entry
    place: tuple[int, int]


@dataclass(slots=True, eq=False)
class Node:
    """A name in the stack.

    :ivar file: what it stands for; None for a directory that has no entry of its own, and for a whiteout
    :ivar children: by name; None for what is no directory
    :ivar opaque: hides what lies below the stack
    :ivar anew: a directory that took the place of something else, so that it has nothing from one below the stack
    """

    file: File | None = None
    children: dict[bytes, Node] | None = None
    opaque: bool = False
    anew: bool = False

    @property
    def is_whiteout(self) -> bool:
        return self.file is None and self.children is None


def _directory() -> Node:
    return Node(children={})


@dataclass(slots=True)
class Stack:
    """Layers laid over each other."""

    root: Node = field(default_factory=_directory)

    def lay(self, place: int, entries: Iterable[Entry]) -> None:
        """Put one more layer on top.

        :raises InvalidLayer: it has a name below something that is no directory, or another name of what is not there
        """
        found = [(path_of(entry.name), File(entry, (place, number))) for number, entry in enumerate(entries)]
        for path, _ in sorted(found, key=lambda each: len(each[0])):  # what is hidden from above hides nothing that this layer has
            if path and path[-1].startswith(WHITEOUT):
                self._hide(path)
        mine: set[Path] = set()
        for path, file in found:
            if not (path and path[-1].startswith(WHITEOUT)):
                self._put(path, file, mine)

    def _hide(self, path: Path) -> None:
        """A whiteout works on the layers below its own, wherever in the layer it stands."""
        *above, name = path
        if name == OPAQUE:
            parent = self._reach(tuple(above))
            parent.children, parent.opaque = {}, True
        elif not name.startswith(META):
            hidden = name.removeprefix(WHITEOUT)
            if hidden in (b"", b".", b".."):
                raise InvalidLayer(f"a whiteout of {hidden!r}")
            parent = self._reach(tuple(above))
            assert parent.children is not None
            parent.children[hidden] = Node()

    def _put(self, path: Path, file: File, mine: set[Path]) -> None:
        for length in range(1, len(path)):
            self._parent_is_directory(path[:length], mine)
        entry = file.entry
        if entry.kind == "directory":
            self._reach(path).file = file
        elif not path:
            raise InvalidLayer("the root of a layer is a directory")
        else:
            if entry.kind == "hardlink":
                file = self._target(entry)
            children = self._reach(path[:-1]).children
            assert children is not None
            children[path[-1]] = Node(file)
        mine.add(path)

    def _parent_is_directory(self, path: Path, mine: set[Path]) -> None:
        node = self._find(path)
        if node and node.children is None and path in mine:
            raise InvalidLayer(f"{b'/'.join(path)[:200]!r} has entries below it, but is no directory")

    def _reach(self, path: Path) -> Node:
        """The directory at `path`.  One that takes the place of something else hides it."""
        node = self.root
        for name in path:
            assert node.children is not None
            child = node.children.get(name)
            if child is None:
                child = node.children[name] = _directory()
            elif child.children is None:
                child = node.children[name] = Node(children={}, opaque=True, anew=True)
            node = child
        return node

    def _find(self, path: Path) -> Node | None:
        node: Node | None = self.root
        for name in path:
            node = (node.children or {}).get(name) if node else None
        return node

    def _target(self, entry: Entry) -> File:
        node = self._find(path_of(entry.linkname))
        if not node or not node.file or node.children is not None:
            raise InvalidLayer(f"{entry.name[:200]!r} is another name of {entry.linkname[:200]!r}, which is not there")
        return node.file

    def walk(self) -> Iterator[tuple[Path, Node]]:
        """Every name with its node, sorted, parents first."""
        waiting: list[tuple[Path, Node]] = [((), self.root)]
        while waiting:
            path, node = waiting.pop()
            yield path, node
            below = sorted((node.children or {}).items(), reverse=True)
            waiting += [((*path, name), child) for name, child in below]


def write(layers: Sequence[Layer], sink: Sink, *, bottom: bool) -> None:
    """Write the tar of several layers as one.

    :param sink: as `Writer` has it
    :param bottom: nothing lies below them, so that no whiteouts are needed
    :raises InvalidLayer: one of them cannot be laid over the others;  :raises ImageError: one cannot be read
    """
    stack, writer = Stack(), Writer(sink)
    for place, layer in enumerate(layers):
        stack.lay(place, layer.entries())
    names: dict[tuple[int, int], list[bytes]] = {}
    for path, node in stack.walk():
        name = b"/".join(path) or b"."
        if node.children is not None:
            if entry := _directory_entry(node, name, bottom):
                writer.add(entry)
        elif node.file:
            names.setdefault(node.file.place, []).append(name)
    _copy(layers, writer, names)
    if not bottom:
        _whiteouts(stack, writer)
    writer.close()


def _directory_entry(node: Node, name: bytes, bottom: bool) -> Entry | None:
    """The entry to write.  A directory without one gets one where nothing below may tell what it is like."""
    if node.file:
        return node.file.entry._replace(name=name)
    return Entry(name, "directory", 0o755) if (node.anew or bottom) and name != b"." else None


def _copy(layers: Sequence[Layer], writer: Writer, names: dict[tuple[int, int], list[bytes]]) -> None:
    for place, layer in enumerate(layers):
        with layer.uncompressed() as stream:
            reader = Reader(stream)
            for number, entry in enumerate(reader):
                if (place, number) in names:
                    first, *others = names[place, number]
                    writer.add(entry._replace(name=first, sparse=None, stored=entry.size), Contents(reader, entry))
                    for name in others:
                        writer.add(Entry(name, "hardlink", entry.mode, entry.uid, entry.gid, 0, entry.mtime, first))
            reader.drain()


def _whiteouts(stack: Stack, writer: Writer) -> None:
    for path, node in stack.walk():
        if node.opaque:
            writer.add(Entry(b"/".join((*path, OPAQUE))))
        elif node.is_whiteout:
            writer.add(Entry(b"/".join((*path[:-1], WHITEOUT + path[-1]))))


class Contents:
    """The contents of the current entry of a reader, with zeros where a sparse file has holes."""

    def __init__(self, reader: Reader, entry: Entry) -> None:
        self._reader, self._at, self._size = reader, 0, entry.size
        self._extents = list(entry.sparse) if entry.sparse is not None else [(0, entry.size)]

    def read(self, size: int = -1, /) -> bytes:
        wanted = min(CHUNK if size < 0 else size, self._size - self._at)
        if wanted <= 0:
            return b""
        while self._extents and self._at >= sum(self._extents[0]):
            self._extents.pop(0)
        start, length = self._extents[0] if self._extents else (self._size, 0)
        in_hole = self._at < start
        data = bytes(min(wanted, start - self._at)) if in_hole else self._reader.read(min(wanted, start + length - self._at))
        self._at += len(data)
        return data


def path_of(name: bytes) -> Path:
    """The parts of a name.  :raises Escape: it goes up"""
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise Escape(f"{name[:200]!r} goes up")
    return parts
