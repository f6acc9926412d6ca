"""The names of a store: its index.json, changed by one process at a time and replaced as a whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..image.content import below
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.documents import parse
from ..image.errors import InvalidReference, Missing
from ..image.files.layout import INDEX_JSON, index_of
from ..image.files.named_images import name_of, named
from ..image.media import OCI_INDEX
from ..image.reference import Reference
from ..state.files import replace
from ..state.locks import locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Entries", "Names", "full_name"]

Entries = list[Descriptor]


def full_name(name: str | Reference) -> str:
    """Return a name as the store keeps it: the full name, with a tag.

    :raises InvalidReference: `name` is not a name, or has a digest
    """
    reference = Reference.parse(name)
    if reference.digest:
        raise InvalidReference(f"{name}: a name that is given to an image has a tag and no digest")
    return str(reference)


class Names:
    """The names in a store and the images they lead to.

    :param root: the store's directory
    """

    def __init__(self, root: Path) -> None:
        self._path, self._lock = root / INDEX_JSON, root / "locks" / "names"

    def read(self) -> Entries:
        """Return the entries of the index, in order.

        :raises InvalidDocument: the file is no index
        """
        data = self._path.read_bytes()
        return below(Descriptor.of(data, OCI_INDEX), data)

    @contextlib.contextmanager
    def change(self) -> Iterator[Entries]:
        """Give the entries to change.  They are written, and on the disk, when the `with` block ends without an error."""
        with locked(self._lock):
            before = self.read()
            after = list(before)
            yield after
            if [e.to_json() for e in after] != [e.to_json() for e in before]:
                self._write(after)

    def _write(self, entries: Entries) -> None:
        old = parse(self._path.read_bytes(), INDEX_JSON)
        more = {key: value for key, value in old.items() if key not in ("schemaVersion", "mediaType", "manifests")}
        replace(self._path, index_of(entries, **more), mode=0o644, sync=True)


def give(entries: Entries, target: Descriptor, names: list[str]) -> None:
    """Make the names lead to `target` only.  An image that loses its last name to it stays, without a name."""
    moved = [e for e in entries if name_of(e) in names and e.digest != target.digest]
    entries[:] = [e for e in entries if name_of(e) not in names and (name_of(e) or not names or e.digest != target.digest)]
    entries += [named(target, name) for name in names]
    for entry in (*moved, target):
        if all(e.digest != entry.digest for e in entries):
            entries.append(named(entry, ""))


def take(entries: Entries, name: str) -> Descriptor:
    """Remove a name, and return the entry it had.

    :raises Missing: no entry has that name
    """
    found = next((e for e in entries if name_of(e) == name), None)
    if found is None:
        raise Missing(f"there is no {name!r} in the store")
    entries.remove(found)
    return found


def drop(entries: Entries, digest: Digest) -> list[str]:
    """Remove all entries of a digest, and return the names they had."""
    gone = [name_of(e) for e in entries if e.digest == digest]
    entries[:] = [e for e in entries if e.digest != digest]
    return list(filter(None, gone))
