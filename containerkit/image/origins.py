"""Origins: which repositories have a blob of a store, because the user pulled it from there or pushed it there.

    origins.add(digests, "example.com/team/app");  origins.of(digest)      the latest first

Each blob has one file, ``origins/sha256/HEX``, which `gc` removes with the blob.  The file is only a hint: a push may ask a
registry to take a blob from another of its repositories.  So an unreadable or unwritable file is ignored, and nothing is synced
to the disk.
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

MOST = 8  # repositories that are remembered for one blob


def origins_of(blobs: Blobs, digest: Digest) -> tuple[Reference, ...]:
    """Return the repositories that have a blob, as far as `blobs` knows without asking a registry."""
    asked = getattr(blobs, "origins", None)
    return tuple(asked(digest)) if asked else ()


def note_origin(blobs: Blobs, digests: Iterable[Digest], place: Reference) -> None:
    """Note that a repository has these blobs, if `blobs` keeps such notes."""
    if note := getattr(blobs, "note", None):
        note(list(digests), place)


class Origins:
    """The repositories that the blobs of a store came from or went to.

    :param root: the store's directory
    """

    def __init__(self, root: Path) -> None:
        self._directory, self._lock = root / "origins", root / "locks" / "origins"

    def of(self, digest: Digest) -> tuple[Reference, ...]:
        """Return the repositories that had a blob, the latest first; () when none is known."""
        try:
            names = Fields(parse(self._path(digest).read_bytes(), "origins"), "origins").texts("repositories")
        except (OSError, ImageError):
            return ()
        return tuple(found for name in names[:MOST] if (found := _repository(name)))

    def add(self, digests: Iterable[Digest], place: Reference) -> None:
        """Note that a repository has these blobs.  A failed write is ignored: a later push merely takes longer."""
        with contextlib.suppress(OSError), locked(self._lock):
            for digest in digests:
                before = [each.name for each in self.of(digest)]
                if place.name not in before[:1]:
                    self._write(self._path(digest), [place.name, *(name for name in before if name != place.name)][:MOST])

    def stale(self, kept: Collection[str]) -> Iterator[Path]:
        """Yield the files about blobs that are not `kept`, and the files that a killed writer left."""
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
