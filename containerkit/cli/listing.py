"""The content of a store as the verb `images` shows it: a row for each name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from ..base.frozen import frozen
from ..errors import ImageError
from ..image import Image, Reference, media
from ..image.digest import Digest
from ..store.store import Store, Stored
from . import human

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["NONE", "Listed", "listed", "rows", "shorten"]

NONE = "<none>"


@frozen(slots=False)
class Listed:
    """One image of a store.

    :ivar image: the image for this machine, if the name stands for several; None if no image is for this machine
    """

    stored: Stored
    image: Image | None
    store: Store

    @cached_property
    def id(self) -> Digest:
        """The image's id, the digest of its config; that of the index if no image is for this machine."""
        return self.image.id if self.image else self.stored.digest

    @property
    def created(self) -> str:
        return self.image.config.created if self.image else ""

    @cached_property
    def size(self) -> int:
        """Bytes of the files in the layers."""
        return self.store.size(self.image) if self.image else 0

    @property
    def compressed(self) -> int:
        """Bytes of the layers as they are stored."""
        return self.image.size if self.image else 0

    @property
    def disk(self) -> int:
        """Bytes of the image's blobs and unpacked layers on disk.  A layer that another image shares counts too."""
        from .space import on_disk

        if not self.image:
            return 0
        blobs = {self.image.digest, self.image.id, *(each.digest for each in self.image.manifest.layers)}
        trees = () if self.image.manifest.is_artifact else self.image.chain_ids
        paths = [*(Path(self.store.blobs.path(digest)) for digest in blobs), *map(self.store.trees.place, set(trees))]
        return sum(on_disk(path) for path in paths if path.exists())

    def rows(self, shorten: Callable[[Digest], str], *, sizes: bool = False) -> Iterator[dict[str, Any]]:
        """Yield a row for each name, or one row without a name.  :param sizes: add the compressed size and the size on disk"""
        about = {
            "ID": shorten(self.id), "Digest": str(self.stored.digest), "CreatedSince": human.ago(self.created),
            "CreatedAt": human.local(self.created), "Size": human.size(self.size), "Bytes": self.size,
            "CompressedSize": human.size(self.compressed), "CompressedBytes": self.compressed,
            **({"DiskSize": human.size(disk := self.disk), "DiskBytes": disk} if sizes else {}),
            "Platform": str(self.image.platform) if self.image and not self.image.manifest.is_artifact else "",
        }  # fmt: skip
        for name in self.stored.names or ("",):
            reference = Reference.parse(name) if name else None
            tail = reference.familiar.removesuffix(f"@{reference.digest}") if reference else ""
            repository = tail.removesuffix(f":{reference.tag}") if reference else NONE
            yield {"Repository": repository, "Tag": reference.tag or NONE if reference else NONE, **about}


def shorten(full: bool) -> Callable[[Digest], str]:
    """Return a function that formats ids.  :param full: as with --no-trunc"""
    return str if full else lambda digest: digest.short


def listed(store: Store, *, platforms: bool = False) -> list[Listed]:
    """List the images of a store, the newest first.  Print an error for an unreadable one, and go on.

    :param platforms: also list the images for other machines
    """
    found: list[Listed] = []
    for stored in store.images():
        try:
            found += _all(store, stored) if platforms else [_one(store, stored)]
        except ImageError as error:
            human.complain(f"{_called(stored)}: {error}")
    return sorted(found, key=lambda each: (-(human.moment(each.created) or 0), each.stored.names, each.id))


def _called(stored: Stored) -> str:
    return ", ".join(stored.familiar) or stored.digest.short


def _one(store: Store, stored: Stored) -> Listed:
    from ..image import Index

    if media.kind(stored.descriptor.media_type) != "index":
        return Listed(stored, Image.load(store.blobs, stored.descriptor), store)
    try:
        return Listed(stored, store.get(stored.digest), store)
    except LookupError:  # no image of the index is for this machine
        Index.load(store.blobs, stored.descriptor)
        return Listed(stored, None, store)


def _all(store: Store, stored: Stored) -> list[Listed]:
    from ..image import Index

    if media.kind(stored.descriptor.media_type) != "index":
        return [_one(store, stored)]
    here = [d for d in Index.load(store.blobs, stored.descriptor).leaves() if store.blobs.has(d.digest)]
    images = [Image.load(store.blobs, each) for each in here]
    return [Listed(stored, image, store) for image in images if not image.manifest.is_artifact] or [Listed(stored, None, store)]


# Filters --------------------------------------------------------------------------------------------------------


def rows(
    store: Store, found: Iterable[Listed], *, pattern: str, filters: Iterable[str], full: bool, sizes: bool = False
) -> list[dict[str, Any]]:
    """Return the rows that the filters keep.

    :param pattern: a repository, or one with a tag; ``*`` stands for a part of a path; "" for all
    :param filters: ``reference=PATTERN``, ``dangling=true``, ``label=NAME[=VALUE]``, ``before=IMAGE``, ``since=IMAGE``
    :raises ImageError: an unknown filter, or a missing image
    """
    patterns, tests = [pattern] if pattern else [], []
    for text in filters:
        name, _, value = text.partition("=")
        if name == "reference":
            patterns.append(value)
        elif name in _FILTERS:
            tests.append(_FILTERS[name](store, value))
        else:
            raise ImageError(f"there is no filter {name!r}; the filters are reference, {', '.join(sorted(_FILTERS))}")
    kept = (each for each in found if all(test(each) for test in tests))
    return [
        row
        for each in kept
        for row in each.rows(shorten(full), sizes=sizes)
        if all(matches(row, each_pattern) for each_pattern in patterns)
    ]


def matches(row: Mapping[str, Any], pattern: str) -> bool:
    """Whether a pattern matches a row's name: with the tag or without, in full or shortened."""
    if row["Repository"] == NONE:
        return False
    full = Reference.parse(f"{row['Repository']}").name
    names = [name + tag for name in (row["Repository"], full) for tag in ("", f":{row['Tag']}", f"@{row['Digest']}")]
    return any(_like(name, pattern) for name in names)


def _like(name: str, pattern: str) -> bool:
    """Match a pattern as a shell does: no star matches a slash."""
    words, patterns = name.split("/"), pattern.split("/")
    return len(words) == len(patterns) and all(map(fnmatchcase, words, patterns))


def _dangling(_: Store, value: str) -> Callable[[Listed], bool]:
    if value.lower() not in ("true", "false", "1", "0"):
        raise ImageError(f"the filter dangling is true or false, not {value!r}")
    return lambda each: (not each.stored.names) == (value.lower() in ("true", "1"))


def _label(_: Store, value: str) -> Callable[[Listed], bool]:
    name, given, wanted = value.partition("=")

    def test(each: Listed) -> bool:
        labels = each.image.config.labels if each.image else {}
        return name in labels and (not given or labels[name] == wanted)

    return test


def _created(store: Store, name: str, sign: int) -> Callable[[Listed], bool]:
    then = human.moment(store.get(name).config.created) or 0
    return lambda each: sign * ((human.moment(each.created) or 0) - then) > 0


_FILTERS: dict[str, Callable[[Store, str], Callable[[Listed], bool]]] = {
    "dangling": _dangling,
    "label": _label,
    "before": lambda store, name: _created(store, name, -1),
    "since": lambda store, name: _created(store, name, 1),
}
