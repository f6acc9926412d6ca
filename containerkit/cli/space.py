"""What the library keeps on disk, kind by kind: what `system df` shows, and what the prune verbs can get back."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..base.frozen import frozen
from ..rootfs import tree
from ..state import scratch
from ..state.locks import locked, try_lock
from ..store.collect import cached, needed
from ..store.store import Store
from . import human

__all__ = ["Item", "Kind", "forget_damaged", "kinds", "on_disk", "total"]


@frozen
class Item:
    """One thing on disk.

    :ivar size: bytes on disk
    :ivar free: those of them that a prune verb gets back
    """

    name: str
    size: int
    active: bool = False
    free: int = 0

    def row(self) -> dict[str, Any]:
        """As `system df -v` shows it."""
        return {"Name": self.name, "Size": human.size(self.size), "Bytes": self.size, "Active": "yes" if self.active else "no",
                "Reclaimable": human.size(self.free)}  # fmt: skip


@frozen
class Kind:
    """All things of one kind.

    :ivar count: how many there are, where that is not the number of items; `active` of them are in use
    """

    name: str
    items: tuple[Item, ...]
    count: int | None = None
    used: int | None = None

    def row(self) -> dict[str, Any]:
        """As `system df` shows it."""
        size, free = sum(each.size for each in self.items), sum(each.free for each in self.items)
        share = f" ({100 * free // size}%)" if size else ""
        return {
            "Type": self.name, "TotalCount": len(self.items) if self.count is None else self.count,
            "Active": sum(each.active for each in self.items) if self.used is None else self.used,
            "Size": human.size(size), "Bytes": size, "Reclaimable": human.size(free) + share,
        }  # fmt: skip


def kinds(store: Store) -> list[Kind]:
    """Everything that is there.  Nothing of the store is collected while it is counted."""
    with locked(store.directory / "locks" / "content", shared=True):
        images, layers, builds = _content(store)
    return [images, layers, builds, _roots(), _scratch(store)]


def total(store: Store) -> int:
    """Bytes of all of it."""
    return sum(item.size for kind in kinds(store) for item in kind.items)


def _content(store: Store) -> tuple[Kind, Kind, Kind]:
    held, remembered = store.leases.pinned(), cached(store.directory)
    blobs, chains = needed(store.blobs, list(store.entries))
    named: list[Item] = []
    built: list[Item] = []
    for digest in store.blobs:
        size, active = on_disk(Path(store.blobs.path(digest))), digest in held
        only_built = digest in remembered and digest not in blobs
        free = 0 if active or digest in blobs else size
        (built if only_built else named).append(Item(digest, size, active, free))
    trees = [(chain, on_disk(store.trees.place(chain)), chain in held) for chain in store.trees]
    layers = [Item(chain, size, active, 0 if active or chain in chains else size) for chain, size, active in trees]
    images = store.images()
    aside = [Item(path.name, size := on_disk(path), False, size) for path in sorted((store.directory / "damaged").glob("*"))]
    return (
        Kind("Images", (*named, *aside), len(images), sum(each.digest in held for each in images)),
        Kind("Unpacked layers", tuple(layers)),
        Kind("Build Cache", (*built, *_records(store), *_mounts(store))),
    )


def _records(store: Store) -> list[Item]:
    """What builds wrote down."""
    build = store.directory / "build"
    paths = sorted([*(build / "cache").glob("??/*"), *(build / "digests").glob("*")])
    return [Item(str(path.relative_to(build)), size := on_disk(path), False, size) for path in paths]


def _mounts(store: Store) -> list[Item]:
    """The directories of RUN --mount=type=cache."""
    found = []
    for place in sorted((store.directory / "build" / "mounts").glob("*")):
        if any(place.glob("files")) or any(place.glob("new")):
            size, active = on_disk(place), _is_held(place)
            found.append(Item(f"mounts/{place.name}", size, active, 0 if active else size))
    return found


def _is_held(place: Path) -> bool:
    if (fd := try_lock(place)) is None:
        return True
    os.close(fd)
    return False


def _roots() -> Kind:
    """The roots that were made of this machine's programs."""
    roots = [(each.path, on_disk(each.path), each.active) for each in tree.cached_roots()]
    return Kind("Rootfs Cache", tuple(Item(path.name, size, active, 0 if active else size) for path, size, active in roots))


def _scratch(store: Store) -> Kind:
    """What programs at work need meanwhile: upper directories, contexts, downloads; and what killed ones left of it."""
    dead = set(store.leases.dead())
    leases = [(path, path in dead) for path in sorted((store.directory / "staging").glob("*"))]
    found = [(path, on_disk(path), gone) for path, gone in (*leases, *scratch.listed())]
    return Kind("Scratch", tuple(Item(str(path), size, not gone, size if gone else 0) for path, size, gone in found))


def forget_damaged(store: Store) -> None:
    """Removes the blobs that `fsck` put aside."""
    scratch.remove(store.directory / "damaged")


def on_disk(path: Path) -> int:
    """Bytes that a file, or a directory with all that is in it, takes.  What goes meanwhile takes none; a link is not followed."""
    seen: set[tuple[int, int]] = set()
    size = _blocks(lambda: os.lstat(path), seen)
    for where, directories, files, fd in os.fwalk(path, follow_symlinks=False, onerror=lambda error: None):
        del where
        for name in (*directories, *files):
            size += _blocks(lambda name=name, fd=fd: os.stat(name, dir_fd=fd, follow_symlinks=False), seen)  # type: ignore[misc]
    return size


def _blocks(status: Callable[[], os.stat_result], seen: set[tuple[int, int]]) -> int:
    with contextlib.suppress(FileNotFoundError):
        found = status()
        if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
            return found.st_blocks * 512
        if (key := (found.st_dev, found.st_ino)) not in seen:
            seen.add(key)
            return found.st_blocks * 512
    return 0
