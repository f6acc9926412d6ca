"""COPY and ADD: from an instruction to a layer.

    copy = Copying(workspace, step, source_tree, "/app")       looks up the sources; nothing is written
    copy.key(digests)                                          the sources' part of the cache key
    copy.layer(layers)                                         the layer, over `layers`

:see: https://docs.docker.com/reference/dockerfile/#add
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from ..dockerfile.ignore import Ignore
from ..dockerfile.instructions import Add, Copy
from ..image.errors import ImageError, LimitExceeded
from .context import decompressed
from .digests import Digests
from .errors import BuildError
from .modes import chmod, chown
from .picking import Pick, clean, pick
from .tree import Node, Tree
from .workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from ..image.layer import Layer

__all__ = ["Copying", "destination"]

HEREDOC = 0o644


def destination(dest: str, directory: str) -> bytes:
    """Return the target of a COPY, from the root; it ends in a slash when it is written as a directory."""
    path = posixpath.normpath(posixpath.join("/", directory, dest)).lstrip("/")
    ends = dest.endswith("/") or posixpath.basename(dest) in (".", "..", "")
    return os.fsencode(path + "/" if ends and path else path)


class Copying:
    """One COPY or ADD.  Close it, or use it in a ``with`` block.

    :param step: the instruction, with variables expanded
    :param tree: the files that the sources are looked up in
    :param directory: the parent of a relative destination
    :param owned: files come from a stage or an image, so they keep their owners unless --chown says otherwise
    :raises BuildError: a source does not exist, or cannot be fetched
    """

    def __init__(self, workshop: Workspace, step: Copy | Add, tree: Tree, directory: str, *, owned: bool = False) -> None:
        self.workshop, self.step, self.dest = workshop, step, destination(step.dest, directory)
        self._mode = chmod(step.chmod) if step.chmod else None
        ignore = Ignore.of(step.excludes) if step.excludes else None
        self._excluded: Callable[[bytes], bool] | None = (lambda path: ignore.excludes(os.fsdecode(path))) if ignore else None
        self._opened = ExitStack()
        try:
            self.picks = self._pick(tree, owned)
        except BaseException:
            self.close()
            raise

    # --- sources -------------------------------------------------------------------------------------------------

    def _pick(self, tree: Tree, owned: bool) -> list[Pick]:
        step = self.step
        found: list[Pick] = []
        for source in step.sources:
            found += self._source(tree, source, owned)
        found += [self._heredoc(each.name, each.content) for each in step.heredocs]
        if not found:
            raise BuildError(f"{step.keyword} {' '.join(step.sources)}: nothing matches")
        return found

    def _source(self, tree: Tree, source: str, owned: bool) -> list[Pick]:
        from .fetching import is_git, is_url

        if isinstance(self.step, Add) and is_git(source):
            raise BuildError(f"ADD {source}: git repositories are not fetched here; clone it into the context")
        if isinstance(self.step, Add) and is_url(source):
            return [self._fetched(source)]
        found = pick(tree, source, parents=isinstance(self.step, Copy) and self.step.parents, owned=owned)
        if not isinstance(self.step, Add):
            return found
        if self.step.checksum:
            raise BuildError("--checksum needs a URL as the source")
        return [self._archive(each) if self.step.unpack is not False else each for each in found]

    def _fetched(self, url: str) -> Pick:
        from .fetching import fetch

        assert isinstance(self.step, Add)
        place = self.workshop.directory()
        path = fetch(url, place, checksum=self.step.checksum, limits=self.workshop.store.trees.limits)
        found = self._of(place, os.fsencode(path.name))
        return self._archive(found) if self.step.unpack else found

    def _heredoc(self, word: str, content: str) -> Pick:
        name = clean(os.fsencode(word)).rpartition(b"/")[2]
        if not name:
            raise BuildError(f"<<{word}: {word!r} cannot be the name of a file")
        place = self.workshop.directory()
        path = place / "file"
        path.write_bytes(content.encode(errors="surrogateescape"))
        os.chmod(path, HEREDOC)
        found = self._of(place, b"file")
        return Pick(found.tree, found.node, name)

    def _of(self, directory: Path, name: bytes, *, owned: bool = False) -> Pick:
        tree = self._opened.enter_context(Tree(directory, overlay=False))
        node = tree.get(name)
        assert node is not None
        return Pick(tree, node, name, owned=owned)

    def _archive(self, pick: Pick) -> Pick:
        """Unpack a tar and pick its content; pick a file that is no tar as it is."""
        from ..image.unpack.unpack import unpack

        if not pick.node.is_file or not is_archive(pick.tree, pick.node):
            return pick
        place, store = self.workshop.directory(), self.workshop.store
        os.chmod(place, 0o755)
        try:
            with open(pick.tree.open(pick.node), "rb") as file:
                trees = store.trees
                tar = decompressed(file, trees.limits)
                unpack(tar, place, whiteouts="plain", ids=trees.ids, limits=trees.limits, skip=trees.skip)
        except (ImageError, OSError) as error:
            raise BuildError(f"{os.fsdecode(pick.node.path)} cannot be unpacked: {error}") from error
        return self._of(place, b"", owned=True)

    @property
    def is_alone(self) -> bool:
        """Whether the layer is the same over any base: links below are not followed, and no user is looked up by name."""
        return self.step.link and re.fullmatch(r"([0-9]+(:[0-9]+)?)?", self.step.chown) is not None

    # --- the result ----------------------------------------------------------------------------------------------

    def key(self, digests: Digests) -> dict[str, Any]:
        """Return the part of the cache key that describes this instruction and its sources.  The layers below are not part of it."""
        step = self.step
        words = {"dest": os.fsdecode(self.dest), "chown": step.chown, "chmod": step.chmod, "link": step.link, "excludes": step.excludes}
        return {**words, "sources": digests.of(self.picks, self._excluded)}

    def layer(self, layers: Sequence[Layer]) -> Layer:
        """Make the layer.

        :param layers: the layers below it
        :raises BuildError: a file and a directory have the same path, or --chown names an unknown user
        """
        with self.workshop.tree(() if self.is_alone else layers) as below, Tree() as nothing:
            from .laying import Laying

            owner = chown(self.step.chown, below) if self.step.chown else None
            there = nothing if self.step.link else below
            laying = Laying(there, self.workshop.form, owner=owner, mode=self._mode, excluded=self._excluded)
            parents = isinstance(self.step, Copy) and self.step.parents
            slash = parents or len(self.picks) > 1 or any(self._unpacks(each) for each in self.picks)
            laying.put(self.picks, self.dest + b"/" if slash and self.dest and not self.dest.endswith(b"/") else self.dest)
            return self.workshop.layer(laying.write)

    @staticmethod
    def _unpacks(pick: Pick) -> bool:
        return pick.node.is_dir and pick.node.path == b"" and pick.owned and not pick.name

    def close(self) -> None:
        """Close the trees that were opened for the sources."""
        self._opened.close()

    def __enter__(self) -> Copying:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def is_archive(tree: Tree, node: Node) -> bool:
    """Return whether a file is a tar, compressed or not.  Its first entry decides, not its name."""
    from ..image.tar.tar import Reader

    if not stat.S_ISREG(node.status.st_mode) or not node.status.st_size:
        return False
    try:
        with open(tree.open(node), "rb") as file:
            return next(iter(Reader(decompressed(file))), None) is not None
    except LimitExceeded as error:  # the file is too large to be checked, so it must not be copied as if it were no tar
        raise BuildError(f"{os.fsdecode(node.path)} cannot be unpacked: {error}") from error
    except (ImageError, OSError):
        return False
