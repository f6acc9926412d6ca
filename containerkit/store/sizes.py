"""Sizes of unpacked layers: computed once from the layer and kept in the store; `gc` removes a size with its blob."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from ..image.errors import ImageError
from ..state.files import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from ..image.layer import Layer

__all__ = ["Sizes"]


class Sizes:
    """The bytes of the files in each layer, as docker counts them.

    :param root: the store's directory
    """

    def __init__(self, root: Path) -> None:
        self._directory = root / "sizes"

    def of(self, layer: Layer) -> int:
        """Return the bytes of the files that a layer adds, or the size of its blob when the layer cannot be read."""
        path = self._directory / layer.digest.algorithm / layer.digest.hex
        with contextlib.suppress(OSError, ValueError):
            return int(path.read_bytes()[:19])
        try:
            found = sum(entry.size for entry in layer.entries())
        except (ImageError, OSError):
            return layer.size
        with contextlib.suppress(OSError):  # the disk is full, or the store is read-only here: the next call computes it again
            _write(path, found)
        return found

    def stale(self, kept: Collection[str]) -> Iterator[Path]:
        """Yield the sizes of blobs that are not `kept`, and the files that a killed writer left."""
        for path in sorted(self._directory.glob("*/*")):
            if f"{path.parent.name}:{path.name}" not in kept:
                yield path


def _write(path: Path, number: int) -> None:

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(path, b"%d" % number)
