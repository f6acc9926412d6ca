"""The meaning of the entries of one layer together: the one decision that unpacking, squashing and looking into a layer share.

    meaning = Meaning(limits)
    for entry in reader:
        decision = meaning.decide(entry)        # what to do, and where: its paths go through no link
    ending = meaning.finish()                   # the facts that only the whole layer tells

The entries count in their order, as tar(1) takes them.  A link of the layer itself is followed; one of a layer below never is,
because a layer of an overlay is unpacked before the layers below it are known.  A whiteout hides files of the layers below,
and none of its own layer, at any position in the tar.  A hard link may lead to a file of a layer below that is not hidden yet.
:see: https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ...base.frozen import field, record
from ..errors import Escape, InvalidLayer
from .root import join, split

if TYPE_CHECKING:
    from ..limits import Limits
    from ..tar.tar import Entry

__all__ = ["OPAQUE", "WHITEOUT", "Borrowed", "Decision", "Directory", "Ending", "File", "Meaning", "Node", "walk"]

WHITEOUT, OPAQUE = b".wh.", b".wh..wh..opq"
LINKS = 40  # links in a chain, as in path_resolution(7)
OF_OVERLAYFS = (b"user.overlay.", b"trusted.overlay.")


class File:
    """A file that is no directory, with one or more names.

    :ivar link: the text of a symbolic link; None for any other file
    :ivar borrowed: the path in a layer below, for a file that is there; None for a file of the layer's own
    :ivar what: an object of the caller's
    """

    __slots__ = ("borrowed", "link", "what")

    def __init__(self, link: bytes | None = None, borrowed: bytes | None = None, what: object = None) -> None:
        self.link, self.borrowed, self.what = link, borrowed, what


class Directory:
    """A directory of the layer.

    :ivar opaque: whether it hides the content that the layers below have in it
    :ivar fresh: whether it replaced another file, so that it gets no attributes from a layer below either
    :ivar what: an object of the caller's
    """

    __slots__ = ("children", "fresh", "opaque", "what")

    def __init__(self, *, fresh: bool = False) -> None:
        self.children: dict[bytes, Node | None] = {}  # None: deleted
        self.fresh, self.opaque = fresh, fresh
        self.what: object = None


Node = File | Directory
_FILE = File()
_ABSENT = Directory()


class Decision(NamedTuple):
    """The actions for one entry.

    :ivar act: "put", "root" (describe the root), "delete" (the file of the layers below at `path`), "clear" (their content of that
        directory) or "nothing"
    :ivar parent, name, path: the entry's path, with links resolved
    :ivar way: directories to make first, the topmost one first, and whether they replace another file of the layer
    :ivar fresh: whether the directory at `path` shows nothing of the layers below
    :ivar replaces: whether the layer had another file there
    :ivar source: for a hard link, the path of the file
    :ivar borrowed: whether `source` is in a layer below
    :ivar node: the file or directory that is at `path` now
    """

    act: str
    parent: bytes
    name: bytes
    path: bytes
    way: tuple[tuple[bytes, bool], ...] = ()
    fresh: bool = False
    replaces: bool = False
    source: bytes = b""
    borrowed: bool = False
    node: Node | None = None


class Borrowed(NamedTuple):
    """Names of one file of a layer below.

    :ivar target: its path there
    :ivar names: its names in this layer; `target` is among them where this layer does not hide it, so that all stay one
        file.  Empty where other entries replaced them: the file must exist all the same
    """

    target: bytes
    names: tuple[bytes, ...]


@record
class Ending:
    """The facts that only the whole layer tells.

    :ivar phantoms: whiteouts in directories that hide everything below anyway: overlayfs would list them
    :ivar hiding: directories with whiteouts that count
    :ivar borrowed: hard links to files of layers below
    :ivar way: directories that are needed for them
    """

    phantoms: list[bytes] = field(default_factory=list)
    hiding: list[bytes] = field(default_factory=list)
    borrowed: list[Borrowed] = field(default_factory=list)
    way: list[tuple[bytes, bool]] = field(default_factory=list)


class _Place(NamedTuple):
    """A directory that a name leads to.  :ivar made: those that were missing on the way"""

    path: bytes
    node: Directory
    made: tuple[tuple[bytes, bool], ...]


class Meaning:
    """One layer, entry by entry."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self.root, self.removed = limits, Directory(), 0
        self._borrowed: dict[bytes, File] = {}
        self._last, self._known = b"", _Place(b"", self.root, ())  # entries come directory by directory

    def decide(self, entry: Entry, what: object = None) -> Decision:
        """Decide what the next entry means.

        :param what: an object that is kept with the entry's file
        :raises Escape: its name climbs, or goes round in a circle;  :raises InvalidLayer: it makes no sense where it stands
        """
        parent, name = split(entry.name, self._limits)
        if entry.xattrs and any(key.startswith(OF_OVERLAYFS) for key in entry.xattrs):
            raise InvalidLayer(f"{entry.name[:200]!r}: an attribute that belongs to overlayfs itself")
        if not name:
            if entry.kind != "directory":
                raise Escape(f"{entry.name!r}: the directory itself cannot become a {entry.kind}")
            self.root.what = what
            return Decision("root", b"", b"", b"", node=self.root)
        if name.startswith(WHITEOUT):
            return self._hide(entry, parent, name)
        if entry.kind == "symlink" and not entry.linkname:
            raise InvalidLayer(f"{entry.name[:200]!r}: a symbolic link to nothing")
        if entry.kind == "char" and not entry.major and not entry.minor:
            raise InvalidLayer(f"{entry.name[:200]!r}: the device 0/0, which is how overlayfs itself says that a name is deleted")
        return self._put(entry, parent, name, what)

    # --- what is made --------------------------------------------------------------------------------------------

    def _put(self, entry: Entry, parent: bytes, name: bytes, what: object) -> Decision:
        above, node, made = self._parent(parent)
        children, path, kind = node.children, join(above, name), entry.kind
        old, replaces = children.get(name), name in children
        if kind == "directory":
            return self._put_directory(_Place(above, node, made), name, path, what)
        source, borrowed, file = b"", False, _FILE
        if kind == "hardlink":
            source, file, borrowed = self._source(entry, path)
        elif kind == "symlink" or what is not None:
            file = File(entry.linkname if kind == "symlink" else None, what=what)
        if replaces:
            self._turned(old)
        children[name] = file
        return Decision("put", above, name, path, made, False, replaces, source, borrowed, file)

    def _put_directory(self, place: _Place, name: bytes, path: bytes, what: object) -> Decision:
        children = place.node.children
        old, replaces = children.get(name), name in children
        fresh = replaces and not isinstance(old, Directory)
        if not isinstance(old, Directory):
            self._turned(old)
            old = children[name] = Directory(fresh=replaces)
        old.what = what
        return Decision("put", place.path, name, path, place.made, fresh, replaces, node=old)

    def _turned(self, old: Node | None) -> None:
        """Forget the known directory: a directory or link that other names lead through is removed."""
        if isinstance(old, Directory) or (old and old.link is not None):
            self._last, self._known = b"", _Place(b"", self.root, ())

    def _parent(self, path: bytes) -> _Place:
        """Return the directory that holds an entry, made where it is missing."""
        if path == self._last:
            return self._known
        found = self._walk(path, path.split(b"/"))
        self._last, self._known = path, found._replace(made=())
        return found

    def _walk(self, said: bytes, parts: list[bytes]) -> _Place:
        if any(part.startswith(WHITEOUT) for part in parts):
            raise InvalidLayer(f"{said[:200]!r}: a whiteout is no directory")
        made: list[tuple[bytes, bool]] = []
        way = _Way(self.root, self._limits)
        for part, of_link in way.follow(said, parts):
            if of_link:
                raise InvalidLayer(f"{said[:200]!r} goes through a link to something that is not there")
            above = way.nodes[-1].children
            new = above[part] = Directory(fresh=part in above)
            way.enter(part, new)
            made.append((way.path, new.fresh))
        return _Place(way.path, way.nodes[-1], tuple(made))

    def _source(self, entry: Entry, path: bytes) -> tuple[bytes, File, bool]:
        """Return the file that a hard link is another name of, and whether it is in a layer below."""
        said = entry.linkname[:200]
        parent, name = split(entry.linkname, self._limits)
        way = _Way(self.root, self._limits)
        for part, _ in way.follow(said, parent.split(b"/") if parent else []):
            way.enter(part, self._below(way, part, entry))
        above, source = way.nodes[-1].children, join(way.path, name)
        found = above.get(name)
        if isinstance(found, Directory) or not name:
            raise InvalidLayer(f"{entry.name[:200]!r}: a hard link to {said!r}, which is no file")
        if source == path or source.startswith(path + b"/"):
            raise InvalidLayer(f"{entry.name[:200]!r}: a hard link to {said!r}, which it takes the place of")
        if found:
            return source, found, found.borrowed is not None
        self._below(way, name, entry)
        return source, self._borrowed.setdefault(source, File(borrowed=source)), True

    @staticmethod
    def _below(way: _Way, name: bytes, entry: Entry) -> Directory:
        """Return the node for a file that a layer below may have at a path.  :raises InvalidLayer: this layer hides it"""
        if way.hidden or name in way.nodes[-1].children:
            raise InvalidLayer(f"{entry.name[:200]!r}: a hard link to {entry.linkname[:200]!r}, which is not there")
        return _ABSENT

    # --- what is hidden ------------------------------------------------------------------------------------------

    def _hide(self, entry: Entry, parent: bytes, name: bytes) -> Decision:
        target = name.removeprefix(WHITEOUT)
        if entry.kind not in ("file", "hardlink") or entry.size:
            raise InvalidLayer(f"{entry.name[:200]!r}: a whiteout is an empty file")
        if name != OPAQUE and (target in (b"", b".", b"..") or target.startswith(WHITEOUT)):
            raise Escape(f"{entry.name[:200]!r}: a whiteout of a name that cannot be")
        self.removed += 1
        place = self._parent(parent)
        if name == OPAQUE:
            place.node.opaque = True
            return Decision("clear", *place.path.rpartition(b"/")[::2], place.path, place.made, node=place.node)
        path, old = join(place.path, target), place.node.children.get(target)
        decision = Decision("nothing", place.path, target, path, place.made, node=old)
        if isinstance(old, Directory):
            old.opaque = old.fresh = True
            return decision._replace(act="clear", fresh=True)
        if target in place.node.children:
            return decision
        place.node.children[target] = None
        return decision._replace(act="delete")

    # --- the end -------------------------------------------------------------------------------------------------

    def find(self, path: bytes) -> Node | None:
        """Return the layer's node at a path, with links on the way followed.  :raises Escape, InvalidLayer: as `decide` does"""
        parent, name = split(path, self._limits)
        way = _Way(self.root, self._limits)
        for _ in way.follow(path, parent.split(b"/") if parent else []):
            return None
        return way.nodes[-1].children.get(name) if name else way.nodes[-1]

    def finish(self) -> Ending:
        """Return the facts that the whole layer tells, after the last entry."""
        ending = Ending()
        if not self.removed and not self._borrowed:
            return ending
        hiding: set[bytes] = set()
        names: dict[bytes, list[bytes]] = {target: [] for target in self._borrowed}
        for path, node, hidden in walk(self.root):
            if node is None and hidden:
                ending.phantoms.append(path)
            elif node is None:
                hiding.add(path.rpartition(b"/")[0])
            elif isinstance(node, File) and node.borrowed is not None:
                names[node.borrowed].append(path)
        ending.hiding = sorted(hiding)
        for target in sorted(names):
            shown = names[target] and self._shown(target, ending.way)
            ending.borrowed.append(Borrowed(target, tuple(sorted([*names[target], *([target] if shown else [])]))))
        return ending

    def _shown(self, target: bytes, made: list[tuple[bytes, bool]]) -> bool:
        """Make the directories on the way to a file of a layer below, and return whether the file still shows under its own name."""
        node, path, opened = self.root, b"", list[tuple[Directory, bytes, Directory, bytes]]()
        *parts, last = target.split(b"/")
        for part in parts:
            path, child = join(path, part), node.children.get(part)
            if node.opaque or (part in node.children and not isinstance(child, Directory)):
                return False
            if not isinstance(child, Directory):
                child = Directory()
                opened.append((node, part, child, path))
            node = child
        if node.opaque or last in node.children:
            return False
        for above, part, new, where in opened:
            above.children[part] = new
            made.append((where, False))
        return True


def walk(root: Directory) -> Iterator[tuple[bytes, Node | None, bool]]:
    """Yield every path with what is there, sorted, parents first, and whether a directory above it is opaque."""
    waiting: list[tuple[bytes, Node | None, bool]] = [(b"", root, False)]
    while waiting:
        path, node, hidden = waiting.pop()
        yield path, node, hidden
        if isinstance(node, Directory):
            below = hidden or node.opaque
            waiting += [(join(path, name), child, below) for name, child in sorted(node.children.items(), key=_name, reverse=True)]


def _name(item: tuple[bytes, Node | None]) -> bytes:
    return item[0]


class _Way:
    """A walk through directories, and through links of the layer's own."""

    def __init__(self, root: Directory, limits: Limits) -> None:
        self.nodes, self._names, self._limits, self._steps = [root], list[bytes](), limits, 0

    @property
    def path(self) -> bytes:
        return b"/".join(self._names)

    @property
    def hidden(self) -> bool:
        """Whether nothing of the layers below shows here."""
        return any(node.opaque for node in self.nodes)

    def enter(self, name: bytes, node: Directory) -> None:
        self._names.append(name)
        self.nodes.append(node)
        if len(self._names) > self._limits.depth:
            self._limits.check("depth", len(self._names), f"the way to {self.path[:200]!r}", "directories")

    def follow(self, said: bytes, parts: list[bytes]) -> Iterator[tuple[bytes, bool]]:
        """Give each name that is not there, and whether a link said it; the caller enters something, or gives up.

        :raises InvalidLayer: it goes through a file;  :raises Escape: links lead in a circle
        """
        left, links = [(part, False) for part in reversed(parts)], 0
        while left:
            part, of_link = left.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                self._up()
                continue
            child = self.nodes[-1].children.get(part)
            if isinstance(child, Directory):
                self.enter(part, child)
            elif child is None:
                yield part, of_link
            elif child.link is None:
                raise InvalidLayer(f"{said[:200]!r}: {join(self.path, part)[:200]!r} has entries below it, but is no directory")
            elif (links := links + 1) > LINKS:
                raise Escape(f"{said[:200]!r} goes through a link that leads in a circle")
            else:
                left += self._linked(said, child.link)

    def _linked(self, said: bytes, link: bytes) -> list[tuple[bytes, bool]]:
        """Return the way that a link says, from the directory it is in."""
        parts = link.split(b"/")
        self._steps += len(parts)
        if self._steps > 4 * self._limits.depth:
            self._limits.check("depth", self._steps, f"the way that links lead to {said[:200]!r}", "directories")
        if link.startswith(b"/"):
            del self._names[:], self.nodes[1:]
        return [(part, True) for part in reversed(parts)]

    def _up(self) -> None:
        """Go to the parent directory; that of the root is the root."""
        del self._names[-1:]
        del self.nodes[len(self._names) + 1 :]
