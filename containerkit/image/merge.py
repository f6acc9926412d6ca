"""Merge several layers into one, which shows and hides the same files as the stack of them.

First the entries of all layers are laid over each other, without their contents: the meaning of each is decided as for
unpacking (see `meaning`).  Then the layers are read once more, and the contents that still show are copied.  Hard links to
files below the stack come first, then directories, then the files as they come, then other names of files, then whiteouts.
:see: https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .errors import InvalidLayer
from .limits import Limits
from .tar.tar import Entry, Reader, Writer
from .unpack.meaning import OPAQUE, WHITEOUT, Borrowed, Directory, File, Meaning, Node, walk
from .unpack.root import join

if TYPE_CHECKING:
    from .layer import Layer
    from .tar.writing import Sink

__all__ = ["Stack", "write"]


class Content(NamedTuple):
    """The origin of a name in the merged tree.

    :ivar place: the index of its layer, and of its entry in it
    """

    entry: Entry
    place: tuple[int, int]


class Stack:
    """Layers laid over each other.

    :param bottom: whether no layers lie below them
    :param limits: how much the layers may ask for
    """

    def __init__(self, *, bottom: bool = True, limits: Limits | None = None) -> None:
        self.root, self._bottom, self._limits = Directory(), bottom, limits or Limits.default()
        self._outside: dict[bytes, File] = {}  # files below the stack, by their paths

    def lay(self, place: int, entries: Iterable[Entry]) -> None:
        """Put one more layer on top.

        :raises InvalidLayer: it makes no sense, or has a hard link to a missing file
        """
        meaning = Meaning(self._limits)
        for number, entry in enumerate(entries):
            meaning.decide(entry, Content(entry, (place, number)))
        for borrowed in meaning.finish().borrowed:
            self._borrow(borrowed, meaning.root)
        _over(self.root, meaning.root)

    def _borrow(self, borrowed: Borrowed, root: Directory) -> None:
        """Make a hard link to a file of a layer below one more name of that file."""
        file = self._below(borrowed)
        for name in borrowed.names:
            *parts, last = name.split(b"/")
            above: Node | None = root
            for part in parts:
                above = above.children[part] if isinstance(above, Directory) else None
            assert isinstance(above, Directory)
            above.children[last] = file

    def _below(self, borrowed: Borrowed) -> File:
        """Return the file that shows, in the stack or below it.  :raises InvalidLayer: none does"""
        node: Node | None = self.root
        hidden = self._bottom
        for part in borrowed.target.split(b"/"):
            if not isinstance(node, Directory):
                node = None
                break
            hidden = hidden or node.opaque
            if part not in node.children and not hidden:
                return self._outside.setdefault(borrowed.target, File(borrowed=borrowed.target))
            node = node.children.get(part)
        if isinstance(node, File):
            return node
        raise InvalidLayer(f"{b' '.join(borrowed.names)[:200]!r}: a hard link to {borrowed.target[:200]!r}, which is not there")

    @property
    def outside(self) -> list[Borrowed]:
        """Return the files that must exist below the stack."""
        return [Borrowed(target, ()) for target in self._outside]

    def has(self, wanted: Iterable[Borrowed]) -> None:
        """Check files below the stack.  :raises InvalidLayer: one of these files is not in the stack"""
        for each in wanted:
            self._below(each)


def _over(root: Directory, upper: Directory) -> None:
    """Merge an upper tree into a lower one, as overlayfs shows them."""
    waiting = [(root, upper)]
    while waiting:
        below, above = waiting.pop()
        below.what = above.what if above.fresh else above.what or below.what
        below.opaque, below.fresh = below.opaque or above.opaque, below.fresh or above.fresh
        if above.opaque:
            below.children = {}
        for name, child in above.children.items():
            old = below.children.get(name)
            if isinstance(child, Directory) and isinstance(old, Directory):
                waiting.append((old, child))
                continue
            if isinstance(child, Directory) and name in below.children:
                child.opaque = child.fresh = True
            below.children[name] = child


def write(layers: Sequence[Layer], sink: Sink, *, below: Sequence[Layer] = (), limits: Limits | None = None) -> None:
    """Write the tar of several layers as one.

    :param sink: as for `Writer`
    :param below: the layers below; without any, no whiteouts are needed
    :param limits: how much each layer may ask for
    :raises InvalidLayer: one of them cannot be laid over the others;  :raises ImageError: one cannot be read
    """
    bottom, writer = not below, Writer(sink)
    stack = _laid(layers, limits, bottom=bottom)
    if outside := stack.outside:
        _laid(below, limits, bottom=True).has(outside)
    last: list[Entry] = []
    directories: list[Entry] = []
    names: dict[tuple[int, int], list[bytes]] = {}
    for path, node, hidden in walk(stack.root):
        if isinstance(node, Directory):
            directories += _directory(node, path or b".", known=not bottom and not hidden)
            last += [Entry(join(path, OPAQUE))] if node.opaque and not hidden else []
        elif node is None:
            above, _, name = path.rpartition(b"/")
            last += [] if hidden else [Entry(join(above, WHITEOUT + name))]
        elif isinstance(node.what, Content):
            names.setdefault(node.what.place, []).append(path)
        elif node.borrowed is not None and node.borrowed != path:
            writer.add(Entry(path, "hardlink", linkname=node.borrowed))
    for entry in directories:
        writer.add(entry)
    _copy(layers, writer, names, limits)
    for entry in [] if bottom else last:
        writer.add(entry)
    writer.close()


def _laid(layers: Sequence[Layer], limits: Limits | None, *, bottom: bool) -> Stack:
    stack = Stack(bottom=bottom, limits=limits)
    for place, layer in enumerate(layers):
        stack.lay(place, layer.entries(limits))
    return stack


def _directory(node: Directory, name: bytes, *, known: bool) -> list[Entry]:
    """Return the entry to write.  A directory without one gets one unless a layer below may tell what it is like."""
    if isinstance(node.what, Content):
        return [node.what.entry._replace(name=name)]
    return [Entry(name, "directory", 0o755)] if (node.fresh or not known) and name != b"." else []


def _copy(layers: Sequence[Layer], writer: Writer, names: dict[tuple[int, int], list[bytes]], limits: Limits | None) -> None:
    for place, layer in enumerate(layers):
        with layer.uncompressed(limits) as stream:
            reader = Reader(stream, limits)
            for number, entry in enumerate(reader):
                if (place, number) in names:
                    first, *others = names[place, number]
                    writer.add(entry._replace(name=first), reader)
                    for name in others:
                        writer.add(Entry(name, "hardlink", entry.mode, entry.uid, entry.gid, 0, entry.mtime, first))
            reader.drain()
