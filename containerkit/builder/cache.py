"""What was built before: a key says what an instruction would do, its record says what came of it.

    cache = Cache(store.directory / DIRECTORY)
    cache.get(key)                     a Record, or None
    cache.put(key, record)

A key is made of the layers that the instruction begins with, of its text after expansion, and of the content of its sources; so
the same key means the same result, whatever the Dockerfile around it says.  One record is one file, written whole: two builds
may write the same one at once, and whoever is killed leaves none.
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

DIRECTORY = "build/cache"  # of a store
FORM = 1  # grows when an instruction makes another layer than before of the same


@frozen
class Record:
    """What came of an instruction.

    :ivar layer: the blob of its layer, and its diff_id; None where nothing changed
    :ivar created: when, in RFC 3339
    """

    layer: tuple[Descriptor, Digest] | None = None
    created: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        made = {"layer": self.layer[0].to_json(), "diff_id": self.layer[1]} if self.layer else {}
        return {"created": self.created, **made}

    @classmethod
    def from_json(cls, value: Any) -> Record:
        """From a JSON object.  :raises KeyError, TypeError, ImageError: not one of this kind"""
        from ..image.validate import RFC3339

        if (created := str(value["created"])) and not RFC3339.fullmatch(created):
            raise InvalidDocument(f"record.created: {created[:60]!r} is no date of RFC 3339")
        layer = (Descriptor.from_json(value["layer"], "layer"), Digest(value["diff_id"])) if "layer" in value else None
        return cls(layer, created)


def key_of(**what: Any) -> str:
    """The key of an instruction: plain values by name."""
    import hashlib
    import json

    text = json.dumps([FORM, what], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write(path: Path, value: Any) -> None:
    """Writes JSON down: whoever reads the file finds the old or the new, and what is left half written is swept."""
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
        """The record; None where there is none that can be read."""
        try:
            return Record.from_json(parse(self._path(key).read_bytes(), "record"))
        except (OSError, KeyError, TypeError, ImageError):
            return None

    def put(self, key: str, record: Record) -> None:
        """Writes a record down."""
        write(self._path(key), record.to_json())

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in sorted(self.directory.glob("??/*")) if not path.name.startswith("."))

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / key
