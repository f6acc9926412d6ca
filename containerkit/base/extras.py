"""The optional parts of an installation: what each needs, whether that is here, and the command that brings it.

They are read from the package's own metadata, so that a list of them is nowhere else.
:see: https://packaging.python.org/en/latest/specifications/core-metadata/
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..base.frozen import frozen
from . import late

__all__ = ["Extra", "command", "extras"]

PACKAGE = "containerkit"
CHECKOUT = Path(__file__).resolve().parents[2]
_NAME = late.pattern(r"[A-Za-z0-9][\w.-]*")
_OF_EXTRA = late.pattern(r"""extra\s*==\s*["']([\w.-]+)["']""")


@frozen
class Extra:
    """One optional part.

    :ivar name: as in ``pip install 'containerkit[NAME]'``
    :ivar needs: the distributions it wants
    :ivar missing: those of them that are not installed
    """

    name: str
    needs: tuple[str, ...]
    missing: tuple[str, ...]


def extras() -> tuple[Extra, ...]:
    """Return every extra but those that only collect others.  None where the package has no metadata: it was copied, not installed."""
    import importlib.metadata as metadata

    try:
        wanted = metadata.requires(PACKAGE) or []
        names = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return ()
    found = [(name, tuple(_needs(name, wanted))) for name in names]
    return tuple(Extra(name, needs, tuple(filter(_is_missing, needs))) for name, needs in found if needs and PACKAGE not in needs)


def _needs(extra: str, wanted: list[str]) -> Iterator[str]:
    for line in wanted:
        requirement, _, marker = line.partition(";")
        name = _NAME.match(requirement)
        if name and extra in _OF_EXTRA.findall(marker):
            yield name[0]


def _is_missing(name: str) -> bool:
    import importlib.metadata as metadata

    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return True
    return False


def command(extra: str, *, newer: bool = False) -> str:
    """Return the command that installs the extra: from the checkout this is run or was installed from, or from where pip finds packages.

    :param newer: the installed package is too old
    """
    place = _checkout()
    shown = PACKAGE if place is None else "." if os.path.realpath(os.curdir) == str(place) else str(place)
    return f"pip install {'-U ' if newer else ''}'{shown}[{extra}]'"


def _checkout() -> Path | None:
    """Return the directory with the sources, where there is one."""
    return next((place for place in (CHECKOUT, _installed_from()) if place and (place / "pyproject.toml").is_file()), None)


def _installed_from() -> Path | None:
    """Return pip's note about a directory that it installed.  :see: PEP 610"""
    import importlib.metadata as metadata
    import json
    from urllib.parse import unquote, urlsplit

    try:
        url = json.loads(metadata.distribution(PACKAGE).read_text("direct_url.json") or "{}").get("url", "")
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return None
    found = urlsplit(url) if isinstance(url, str) else None
    return Path(unquote(found.path)).resolve() if found and found.scheme == "file" else None
