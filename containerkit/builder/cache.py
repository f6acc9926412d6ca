"""The build cache: results of instructions, by a key that describes what the instruction would do.

    cache = Cache(store.directory / DIRECTORY)
    cache.get(key)                     a Record, or None
    cache.put(key, record)

A key is computed from the layers that the instruction begins with, from its text after expansion, and from the content of its
sources.  So equal keys mean equal results, independent of the rest of the Dockerfile.  Each record is one file, which appears whole:
two builds may write the same one at once, and a killed build leaves none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..base.frozen import frozen
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.documents import parse
from ..image.errors import ImageError, InvalidDocument
from ..state.files import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DIRECTORY", "Cache", "Record", "key_of", "write"]

DIRECTORY = "build/cache"  # below a store's directory
FORM = 1  # increase it when an instruction makes a different layer from the same input


@frozen
class Record:
    """The result of an instruction.

    :ivar layer: the blob of the new layer, and its diff_id; None when nothing changed
    :ivar created: the time of the instruction, in RFC 3339
    """

    layer: tuple[Descriptor, Digest] | None = None
    created: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        made = {"layer": self.layer[0].to_json(), "diff_id": self.layer[1]} if self.layer else {}
        return {"created": self.created, **made}

    @classmethod
    def from_json(cls, value: Any) -> Record:
        """Read a record from a JSON object.

        :raises KeyError, TypeError, ImageError: `value` is no record
        """
        from ..image.validate import RFC3339

        if (created := str(value["created"])) and not RFC3339.fullmatch(created):
            raise InvalidDocument(f"record.created: {created[:60]!r} is no date of RFC 3339")
        layer = (Descriptor.from_json(value["layer"], "layer"), Digest(value["diff_id"])) if "layer" in value else None
        return cls(layer, created)


def key_of(**what: Any) -> str:
    """Return the key of an instruction.

    :param what: plain values by name
    """
    import hashlib
    import json

    text = json.dumps([FORM, what], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write(path: Path, value: Any) -> None:
    """Write JSON to a file.  A reader finds the old or the new content, and a sweep removes unfinished files."""
    import json

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(path, json.dumps(value).encode())


class Cache:
    """Records by key.

    :param directory: made with the first record
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def get(self, key: str) -> Record | None:
        """Return the record of a key; None when no readable one exists."""
        try:
            return Record.from_json(parse(self._path(key).read_bytes(), "record"))
        except (OSError, KeyError, TypeError, ImageError):
            return None

    def put(self, key: str, record: Record) -> None:
        """Write a record."""
        write(self._path(key), record.to_json())

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in sorted(self.directory.glob("??/*")) if not path.name.startswith("."))

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / key
