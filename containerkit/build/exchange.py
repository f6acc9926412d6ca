"""What was built, for builds elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..image.store import Store
from .cache import Cache, Record
from .errors import BuildError
from .workshop import Workshop

__all__ = ["export_cache", "import_cache"]


def import_cache(source: str | os.PathLike[str], workshop: Workshop, cache: Cache) -> None:
    raise BuildError("not yet")


def export_cache(target: str | os.PathLike[str], records: Mapping[str, Record], store: Store) -> None:
    raise BuildError("not yet")
