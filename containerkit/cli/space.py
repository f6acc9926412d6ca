"""The library's use of the disk, kind by kind: what `system df` shows, and how much the prune verbs can free."""

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
    :ivar free: the part of them that a prune verb can free
    """

    name: str
    size: int
    active: bool = False
    free: int = 0

    def row(self) -> dict[str, Any]:
        """Return the row of `system df -v`."""
        return {"Name": self.name, "Size": human.size(self.size), "Bytes": self.size, "Active": "yes" if self.active else "no",
                "Reclaimable": human.size(self.free)}  # fmt: skip


@frozen
class Kind:
    """All items of one kind.

    :ivar count: the number to show, if it is not the number of items
    :ivar used: the number in use, if it is not the number of active items
    """

    name: str
    items: tuple[Item, ...]
    count: int | None = None
    used: int | None = None

    def row(self) -> dict[str, Any]:
        """Return the row of `system df`."""
        size, free = sum(each.size for each in self.items), sum(each.free for each in self.items)
        share = f" ({100 * free // size}%)" if size else ""
        return {
            "Type": self.name, "TotalCount": len(self.items) if self.count is None else self.count,
            "Active": sum(each.active for each in self.items) if self.used is None else self.used,
            "Size": human.size(size), "Bytes": size, "Reclaimable": human.size(free) + share,
        }  # fmt: skip


def kinds(store: Store) -> list[Kind]:
    """List everything on disk.  A lock keeps the store from being collected meanwhile."""
    with locked(store.directory / "locks" / "content", shared=True):
        images, layers, builds = _content(store)
    return [images, layers, builds, _roots(), _scratch(store)]


def total(store: Store) -> int:
    """Return the bytes of all kinds."""
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
    """List the records that builds wrote."""
    build = store.directory / "build"
    paths = sorted([*(build / "cache").glob("??/*"), *(build / "digests").glob("*")])
    return [Item(str(path.relative_to(build)), size := on_disk(path), False, size) for path in paths]


def _mounts(store: Store) -> list[Item]:
    """List the directories of RUN --mount=type=cache."""
    found = []
    for directory in sorted((store.directory / "build" / "mounts").glob("*")):
        if any(directory.glob("files")) or any(directory.glob("new")):
            size, active = on_disk(directory), _is_held(directory)
            found.append(Item(f"mounts/{directory.name}", size, active, 0 if active else size))
    return found


def _is_held(directory: Path) -> bool:
    if (fd := try_lock(directory)) is None:
        return True
    os.close(fd)
    return False


def _roots() -> Kind:
    """List the roots that were made of this machine's programs."""
    roots = [(each.path, on_disk(each.path), each.active) for each in tree.cached_roots()]
    return Kind("Rootfs Cache", tuple(Item(path.name, size, active, 0 if active else size) for path, size, active in roots))


def _scratch(store: Store) -> Kind:
    """List the temporary files of running programs (upper directories, contexts, downloads), and those that killed ones left."""
    dead = set(store.leases.dead())
    leases = [(path, path in dead) for path in sorted((store.directory / "staging").glob("*"))]
    found = [(path, on_disk(path), gone) for path, gone in (*leases, *scratch.listed())]
    return Kind("Scratch", tuple(Item(str(path), size, not gone, size if gone else 0) for path, size, gone in found))


def forget_damaged(store: Store) -> None:
    """Remove the blobs that `fsck` moved aside."""
    scratch.remove(store.directory / "damaged")


def on_disk(path: Path) -> int:
    """Return the bytes that a file, or a directory with its content, takes.  A file that vanishes takes none; links are not followed."""
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
