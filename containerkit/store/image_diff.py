"""The difference between two images: layers, configuration and, on request, files.

found = image.diff(other)
found.shared, found.removed, found.added     layers
found.config                                 field -> (before, after)
print(found)                                 all of the above
for change in found.changes(store): ...      files, which takes both images unpacked
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ..base.frozen import fields, frozen
from ..image.layer import Layer
from ..image.picture import human, printable
from ..layers.changes import Change
from ..layers.merged import entry, names
from .unpacked import same_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from ..image.image import Image
    from .store import Store

__all__ = ["Comparison"]

BESIDE = ("diff_ids", "history", "data", "extra")  # fields that follow from the layers, or record history
WIDEST = 60


@frozen(repr=False)
class Comparison:
    """The difference between two images.

    :ivar old: the image before
    :ivar new: the image after
    """

    old: Image
    new: Image

    @property
    def shared(self) -> tuple[Layer, ...]:
        """The lowest layers that both images have in common: the same content, however it is compressed."""
        pairs = zip(self.old.config.diff_ids, self.new.config.diff_ids, strict=False)
        count = next((place for place, (one, other) in enumerate(pairs) if one != other), None)
        least = min(len(self.old.config.diff_ids), len(self.new.config.diff_ids))
        return self.new.layers[: least if count is None else count]

    @property
    def removed(self) -> tuple[Layer, ...]:
        """The layers of the old image above the shared ones."""
        return self.old.layers[len(self.shared) :]

    @property
    def added(self) -> tuple[Layer, ...]:
        """The layers of the new image above the shared ones."""
        return self.new.layers[len(self.shared) :]

    @property
    def config(self) -> dict[str, tuple[Any, Any]]:
        """The fields of the configuration that differ: before and after."""
        one, other = self.old.config, self.new.config
        together = ((each.name, getattr(one, each.name), getattr(other, each.name)) for each in fields(one) if each.name not in BESIDE)
        return {name: (before, after) for name, before, after in together if before != after}

    def __bool__(self) -> bool:
        """Return whether a program in a container could see a difference."""
        return bool(self.removed or self.added or self.config)

    def changes(self, store: Store | None = None) -> Iterator[Change]:
        """Yield the files that were added, modified or deleted, as programs inside see them, in order.

        :param store: the store that unpacks the images; by default the one they were read from
        :raises ImageError: an image cannot be unpacked
        """
        with ExitStack() as held:
            old, new = (held.enter_context(image.hold(store))[::-1] for image in (self.old, self.new))
            yield from _changes(old, new, "/")

    def __repr__(self) -> str:
        old, new = self.old.digest.short, self.new.digest.short
        return f"<Comparison {old} {new}: {len(self.shared)} layers shared, {len(self.removed)} removed, {len(self.added)} added>"

    def __str__(self) -> str:
        lines = [f"{self.old.digest.short} -> {self.new.digest.short}", f"  {len(self.shared)} layers shared"]
        lines += [f"  - {layer.digest.short} {human(layer.size):>8}" for layer in self.removed]
        lines += [f"  + {layer.digest.short} {human(layer.size):>8}" for layer in self.added]
        lines += [f"  {name}: {_short(before)} -> {_short(after)}" for name, (before, after) in self.config.items()]
        return "\n".join(lines)


def _short(value: object) -> str:
    text = printable(str(value) if not isinstance(value, tuple) else " ".join(map(str, value))) or "none"
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _changes(old: Sequence[Path], new: Sequence[Path], path: str) -> Iterator[Change]:
    """Walk two stacks of directories together, the topmost layer of each first."""
    for name in sorted(names(old) | names(new)):
        before, after, here = entry(old, name), entry(new, name), os.path.join(path, name)
        if not before or not after:
            yield Change(here, "added" if after else "deleted")
        elif before != after and _differ(before[0], after[0]):
            yield Change(here, "modified")
        if after and before != after and stat.S_ISDIR(after[0].lstat().st_mode):
            is_directory = bool(before) and stat.S_ISDIR(before[0].lstat().st_mode)
            yield from _changes(before if is_directory else [], after, here)


def _differ(one: Path, other: Path) -> bool:
    before, after = one.lstat(), other.lstat()
    whats = ("st_mode", "st_uid", "st_gid", "st_rdev")
    if os.path.samestat(before, after):
        return False
    if any(getattr(before, what) != getattr(after, what) for what in whats) or _attributes(one) != _attributes(other):
        return True
    if stat.S_ISLNK(after.st_mode):
        return os.readlink(one) != os.readlink(other)
    return stat.S_ISREG(after.st_mode) and (before.st_size != after.st_size or not same_bytes(one, other))


def _attributes(path: Path) -> dict[str, bytes]:
    found = [name for name in os.listxattr(path, follow_symlinks=False) if ".overlay." not in name]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in found}
