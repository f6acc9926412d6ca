"""Which files a COPY or ADD means.

pick(tree, "src/*.py")                   each source that matches, links followed inside the tree
pick(tree, "a/./b/c", parents=True)      called b/c at the destination
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import BuildError
from .matching import is_pattern, matches, plain
from .tree import Node, Tree

__all__ = ["Pick", "pick"]


@dataclass(frozen=True, slots=True)
class Pick:
    """One thing to copy.

    :ivar tree: where it is
    :ivar node: what it is; no link
    :ivar name: what it is called in a destination that is a directory
    :ivar whole: of a directory: itself under that name, rather than what is in it
    :ivar owned: its files keep their owners unless the instruction says otherwise
    """

    tree: Tree
    node: Node
    name: bytes
    whole: bool = False
    owned: bool = False


def pick(tree: Tree, source: str, *, parents: bool = False, owned: bool = False) -> list[Pick]:
    """All that a source means; nothing where it is a pattern that nothing matches.

    :raises BuildError: no pattern, and it is not there
    """
    before, _, after = os.fsencode(source).rpartition(b"/./") if parents else (b"", b"", os.fsencode(source))
    pattern = clean(before + b"/" + after)
    cut = len(clean(before)) + 1 if clean(before) else 0
    found = list(_expand(tree, b"", pattern.split(b"/") if pattern else [], deep=parents))
    if not found and not is_pattern(pattern):
        raise BuildError(f"{source!r} is not there, or .dockerignore hides it")
    picks = []
    for path in found:
        node = tree.get(tree.follow(path))
        if node is not None:
            picks.append(Pick(tree, node, path[cut:] if parents else path.rpartition(b"/")[2], whole=parents, owned=owned))
    if not picks and not is_pattern(pattern):
        raise BuildError(f"{source!r} is a link to something that is not there")
    return picks


def clean(path: bytes) -> bytes:
    """A path from the root without ``.``, ``..`` and doubled slashes, and without a slash before it."""
    return posixpath.normpath(b"/" + path).lstrip(b"/")


def _expand(tree: Tree, base: bytes, parts: list[bytes], *, deep: bool) -> Iterator[bytes]:
    """Paths as they are called, which may go through links."""
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    if deep and part == b"**":
        yield from _expand(tree, base, rest, deep=deep)
    if not is_pattern(part):
        path = _join(base, plain(part))
        if tree.get(_join(tree.follow(base), plain(part))) is not None:
            yield from _expand(tree, path, rest, deep=deep)
        return
    for name in tree.children(tree.follow(base)):
        if _fits(part, name):
            path = _join(base, name)
            if not rest or _is_directory(tree, path):
                yield from _expand(tree, path, rest, deep=deep)
            if deep and part == b"**" and _is_directory(tree, path):
                yield from _expand(tree, path, parts, deep=deep)


def _fits(pattern: bytes, name: bytes) -> bool:
    try:
        return matches(pattern, name)
    except ValueError as error:
        raise BuildError(f"not a pattern: {error}") from error


def _is_directory(tree: Tree, path: bytes) -> bool:
    node = tree.get(tree.follow(path))
    return node is not None and node.is_dir


def _join(base: bytes, name: bytes) -> bytes:
    return base + b"/" + name if base else name
