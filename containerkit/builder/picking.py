"""The files that a COPY or ADD names.

pick(tree, "src/*.py")                   each matching source; links are followed inside the tree
pick(tree, "a/./b/c", parents=True)      gets the name b/c at the destination
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

from ..base.frozen import frozen
from ..dockerfile.parser import ALONE
from ..dockerfile.patterns import BadPattern, Pattern
from .errors import BuildError
from .tree import Node, Tree

__all__ = ["Pick", "pick"]


@frozen
class Pick:
    """One thing to copy.

    :ivar tree: the tree that contains it
    :ivar node: its node, never a link
    :ivar name: its name in a destination directory
    :ivar whole: for a directory: copy the directory under its name, rather than its contents
    :ivar owned: its files keep their owners unless the instruction says otherwise
    :ivar above: for a whole one: the directories named in `name`, the topmost first; they are copied too
    """

    tree: Tree
    node: Node
    name: bytes
    whole: bool = False
    owned: bool = False
    above: tuple[Node, ...] = ()


def pick(tree: Tree, source: str, *, parents: bool = False, owned: bool = False) -> list[Pick]:
    """Return everything that a source names; [] when it is a pattern without a match.

    :param parents: keep the whole path as the name, without the part before ``/./``
    :param owned: see `Pick`
    :raises BuildError: the source is no pattern and does not exist
    """
    before, _, after = os.fsencode(source).rpartition(b"/./") if parents else (b"", b"", os.fsencode(source))
    parts = [_part(part, deep=parents) for part in clean(before + b"/" + after).split(b"/") if part]
    literal, cut = all(part is not None and part.is_literal for part in parts), len(clean(before)) + 1 if clean(before) else 0
    paths = list(_expand(tree, b"", parts))
    if not paths and literal:
        hint = f"; {ALONE}" if source.startswith("#") else ""
        raise BuildError(f"{source!r} does not exist, or .dockerignore hides it{hint}")
    found = [(path, tree.get(tree.follow(path))) for path in paths]
    picks = [
        Pick(tree, node, path[cut:], True, owned, tuple(_above(tree, path, cut)))
        if parents
        else Pick(tree, node, path.rpartition(b"/")[2], owned=owned)
        for path, node in found
        if node
    ]
    if not picks and literal:
        raise BuildError(f"{source!r} is a link whose target does not exist")
    return picks


def _above(tree: Tree, path: bytes, cut: int) -> Iterator[Node]:
    """Yield the directories on the way to a path, without those in its first `cut` bytes."""
    for place in range(cut, len(path)):
        if path[place : place + 1] == b"/" and (node := tree.get(tree.follow(path[:place]))):
            yield node


def clean(path: bytes) -> bytes:
    """Return a path from the root without ``.``, ``..`` and doubled slashes, and without a leading slash."""
    return posixpath.normpath(b"/" + path).lstrip(b"/")


def _part(part: bytes, *, deep: bool) -> Pattern | None:
    """Parse one name of a source; None stands for any number of directories."""
    if deep and part == b"**":
        return None
    try:
        return Pattern.parse(os.fsdecode(part), deep=False)
    except BadPattern as error:
        raise BuildError(f"{os.fsdecode(part)!r} is not a pattern: {error}") from error


def _expand(tree: Tree, base: bytes, parts: list[Pattern | None]) -> Iterator[bytes]:
    """Yield the matching paths.  They may go through links."""
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    if part is None:
        yield from _expand(tree, base, rest)
    for name in _names(tree, base, part):
        path = _join(base, name)
        if part is None and rest:
            node = tree.get(_join(tree.follow(base), name))
            if node is not None and node.is_dir:  # a link is not entered: it may lead back up, and the walk would never end
                yield from _expand(tree, path, parts)
        elif not rest or _is_directory(tree, path):
            yield from _expand(tree, path, rest)


def _names(tree: Tree, base: bytes, part: Pattern | None) -> list[bytes]:
    """Return the names in a directory that a part matches."""
    here = tree.follow(base)
    if part is not None and part.is_literal:
        name = os.fsencode(part.literal)
        return [name] if tree.get(_join(here, name)) is not None else []
    return [name for name in tree.children(here) if part is None or part.matches(os.fsdecode(name))]


def _is_directory(tree: Tree, path: bytes) -> bool:
    node = tree.get(tree.follow(path))
    return node is not None and node.is_dir


def _join(base: bytes, name: bytes) -> bytes:
    return base + b"/" + name if base else name
