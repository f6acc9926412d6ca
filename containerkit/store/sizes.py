"""How large a layer is once it is unpacked: read out of it once, and kept in the store, for `gc` to remove with the blob."""

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
    """Bytes of the files in layers, as docker counts them.  :param root: the store's directory"""

    def __init__(self, root: Path) -> None:
        self._directory = root / "sizes"

    def of(self, layer: Layer) -> int:
        """Bytes of the files that a layer adds; of one that cannot be read those of its blob."""
        path = self._directory / layer.digest.algorithm / layer.digest.hex
        with contextlib.suppress(OSError, ValueError):
            return int(path.read_bytes()[:19])
        try:
            found = sum(entry.size for entry in layer.entries())
        except (ImageError, OSError):
            return layer.size
        with contextlib.suppress(OSError):  # no room, or somebody else's store: it is read again the next time
            _write(path, found)
        return found

    def stale(self, kept: Collection[str]) -> Iterator[Path]:
        """What is noted of blobs that are not `kept`, and what a killed writer left."""
        for path in sorted(self._directory.glob("*/*")):
            if f"{path.parent.name}:{path.name}" not in kept:
                yield path


def _write(path: Path, number: int) -> None:

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(path, b"%d" % number)
