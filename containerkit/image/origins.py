"""Which repositories have a blob of a store, because the user pulled it from there or pushed it there.

    origins.add(digests, "example.com/team/app");  origins.of(digest)      the latest first

One file for each blob, ``origins/sha256/HEX``, which `gc` removes with the blob.  It is a hint, and no more: a push may ask a registry
to take a blob from another repository of its own.  So what cannot be read or written counts for nothing, and nothing waits for the disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator

from ..state.files import replace
from ..state.locks import locked
from .blobs import Blobs
from .digest import Digest
from .documents import Fields, dump, parse
from .errors import ImageError, InvalidReference
from .reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Origins", "note_origin", "origins_of"]

MOST = 8  # repositories that are remembered of one blob


def origins_of(blobs: Blobs, digest: Digest) -> tuple[Reference, ...]:
    """Repositories that have a blob, as far as `blobs` says without asking any registry."""
    asked = getattr(blobs, "origins", None)
    return tuple(asked(digest)) if asked else ()


def note_origin(blobs: Blobs, digests: Iterable[Digest], place: Reference) -> None:
    """Notes that a repository has these blobs, where `blobs` keeps such notes."""
    if note := getattr(blobs, "note", None):
        note(list(digests), place)


class Origins:
    """Where the blobs of a store came from, and where they went.  :param root: the store's directory"""

    def __init__(self, root: Path) -> None:
        self._directory, self._lock = root / "origins", root / "locks" / "origins"

    def of(self, digest: Digest) -> tuple[Reference, ...]:
        """Repositories that had a blob, the latest first; none where nothing is known."""
        try:
            names = Fields(parse(self._path(digest).read_bytes(), "origins"), "origins").texts("repositories")
        except (OSError, ImageError):
            return ()
        return tuple(found for name in names[:MOST] if (found := _repository(name)))

    def add(self, digests: Iterable[Digest], place: Reference) -> None:
        """Notes that a repository has these blobs.  Where that cannot be written, nothing is noted, and nothing is lost but time."""
        with contextlib.suppress(OSError), locked(self._lock):
            for digest in digests:
                before = [each.name for each in self.of(digest)]
                if place.name not in before[:1]:
                    self._write(self._path(digest), [place.name, *(name for name in before if name != place.name)][:MOST])

    def stale(self, kept: Collection[str]) -> Iterator[Path]:
        """What is noted of blobs that are not `kept`, and what a killed writer left."""
        for path in sorted(self._directory.glob("*/*")):
            if f"{path.parent.name}:{path.name}" not in kept:
                yield path

    def _path(self, digest: Digest) -> Path:
        return self._directory / digest.algorithm / digest.hex

    def _write(self, path: Path, names: list[str]) -> None:

        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(path, dump({"repositories": names}))


def _repository(name: str) -> Reference | None:
    try:
        return Reference.parse(name)
    except InvalidReference:
        return None
