"""Mount targets that the layers lack, found before anything is mounted.

    lead("etc/resolv.conf", layers)     the path that a program inside would open, and whether it exists

A link may dangle: as systemd-resolved leaves it, /etc/resolv.conf leads to a file that only a running system has.  A mount
there needs a file at the link's end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from ..base.frozen import frozen
from ..core import mounting
from ..core.mount_targets import is_kernels, order_of
from ..core.step import Phase, Place, Step
from ..linux import syscalls
from ..linux.facts import ask
from .merged import LINKS, entry_paths, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Led", "are_missing", "behind_links", "lead"]


@frozen
class Led:
    """The end of a path in a root, with links followed.

    :ivar path: the path, without links on it and without a slash before it
    :ivar exists: whether the path exists; a path that cannot be looked up counts as existing
    :ivar linked: whether a link was on the way
    :ivar through: directories that are missing and that ".." leads out of again
    """

    path: str
    exists: bool = True
    linked: bool = False
    through: tuple[str, ...] = ()


def lead(path: str, layers: Sequence[str | Path]) -> Led:
    """Return where a path leads: links are followed as a program inside would, and where nothing exists the names count.

    :param layers: the lowest first
    """
    if len(layers) == 1 and _is_plain(path, str(layers[0])):
        return Led(path)
    try:
        return _lead(path, layers)
    except OSError:
        return Led(path)


def _is_plain(path: str, layer: str) -> bool:
    """Whether a path is there with no link on it: then a single layer has no more to tell."""
    status, words = None, path.split("/")
    if not {"", ".", ".."}.isdisjoint(words):
        return False
    try:
        for word in words:
            if status and not stat.S_ISDIR(status.st_mode):
                return False
            layer = f"{layer}/{word}"
            status = os.lstat(layer)
    except OSError:
        return False
    return status is not None and not stat.S_ISLNK(status.st_mode) and not is_whiteout(status)


def _lead(path: str, layers: Sequence[str | Path]) -> Led:
    left = _words(path)
    way: list[tuple[str, list[str]]] = [("", [str(layer) for layer in reversed(layers)])]
    links, through = 0, []
    while left:
        if (name := left.pop()) == "..":
            if not way[-1][1]:
                through.append(_joined(way))
            way = way[:-1] or way
            continue
        here = entry_paths(way[-1][1], name)
        if here and os.path.islink(here[0]):
            if (links := links + 1) > LINKS:
                return Led(path)  # openat2(2) says what is wrong
            target = os.readlink(here[0])
            way = way[:1] if target.startswith("/") else way
            left += _words(target)
        else:
            way.append((name, here))
    return Led(_joined(way), bool(way[-1][1]), links > 0, tuple(through))


def _joined(way: Sequence[tuple[str, list[str]]]) -> str:
    return "/".join(name for name, _ in way[1:])


def _words(path: str) -> list[str]:
    return [word for word in reversed(path.split("/")) if word not in ("", ".")]


def are_missing(places: Iterable[Place], layers: Sequence[str | Path]) -> bool:
    """Whether a read-only root of these layers has no place for something."""
    return any(not ask(lead, place.path, tuple(layers)).exists for place in places)


def behind_links(places: Iterable[Place], layers: Sequence[str | Path]) -> Iterator[Step]:
    """Make the missing paths that links of the layers lead to, each before something is mounted there."""
    for place in places:
        if is_kernels(place.path):
            continue  # no link leads there: the child refuses one
        led, order = ask(lead, place.path, tuple(layers)), order_of(place.path) - 1
        if led.linked and place.mount and is_kernels(led.path):
            yield from _refused(place, led, order)
            continue
        for path in led.through:
            yield from mounting.make_place(Place(path), order=order)
        if led.linked and not led.exists:
            yield from mounting.make_place(Place(led.path, place.directory), order=order)


def _refused(place: Place, led: Led, order: int) -> Iterator[Step]:
    """Yield steps that refuse a target which a link leads to /proc, /sys or /dev: the kernel's filesystems would cover it in silence."""
    hint = f"/{place.path} leads to /{led.path} in this root: nothing is mounted in /proc, /sys or /dev by way of a link"
    yield mounting.find(place.path, directory=False, kernels=True, order=order).with_(hint=hint)
    yield mounting.step(Phase.MOUNTS, syscalls.close(mounting.TARGET), "%target is done with", order=order)
