"""Complete a layer of an overlay once the layers below it are known, as if it had been unpacked onto them.

Directories that it goes through and does not describe lie over those of the layers below, and their owner, mode,
attributes and time show: they get those of the directory that they hide.  A hard link to a file of a layer below becomes a copy of it.
Whiteouts in a directory that no layer below has are removed: overlayfs would list them, though a lookup of the name fails.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from ...layers.merged import OPAQUE, is_opaque, is_whiteout, names
from ...linux.descriptor import owned
from ..errors import InvalidLayer
from ..tar.holes import copy
from .meaning import Borrowed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["inherit_attributes"]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OF_OVERLAYFS = ("user.overlay.", "trusted.overlay.")


def inherit_attributes(
    tree: Path, implied: Iterable[bytes], below: Sequence[Path], borrowed: Iterable[Borrowed] = (), hiding: Iterable[bytes] = ()
) -> None:
    """Copy from the layers below what a layer needs of them.  A second call changes nothing.

    :param tree: a layer, unpacked for an overlay
    :param implied: paths of directories that it does not describe
    :param below: the layers below, the lowest first, settled already
    :param borrowed: its hard links to files of layers below
    :param hiding: its directories with whiteouts
    :raises InvalidLayer: a hard link leads to a missing file
    """
    for each in borrowed:
        _borrow(tree, each, below)
    for path in hiding:
        _forget(tree, path, below)
    if below and is_opaque(tree):
        _hide(tree, below)
    for path in sorted(implied):
        with ExitStack() as held:
            parts = [part for part in path.split(b"/") if part]
            target, hidden = _walk(held, tree, parts)
            if target is None or hidden:
                continue
            for layer in reversed(below):
                source, hidden = _walk(held, layer, parts)
                if source is not None:
                    _copy(source, target)
                if source is not None or hidden:
                    break


def _borrow(tree: Path, wanted: Borrowed, below: Sequence[Path]) -> None:
    """Make the names of a file of a layer below.  Another process may make the same ones now."""
    with ExitStack() as held:
        if not wanted.names:
            _source(held, wanted, below)
            return
        places = [(_parent(held, tree, name), name.rpartition(b"/")[2]) for name in wanted.names]
        there = [place for place in places if _exists(*place)]
        if len(there) == len(places):
            return
        first = there[0] if there else places[0]
        if not there:
            source, last = _source(held, wanted, below)
            with _unchanged(first[0]):
                _copied(source, last, tree.parent, *first)
        for at, name in places:
            with _unchanged(at), contextlib.suppress(FileExistsError):
                os.link(first[1], name, src_dir_fd=first[0], dst_dir_fd=at, follow_symlinks=False)


def _parent(held: ExitStack, tree: Path, name: bytes) -> int:
    fd, _ = _walk(held, tree, name.split(b"/")[:-1])
    if fd is None:
        raise InvalidLayer(f"{name[:200]!r}: a hard link in a directory that is not there")
    return fd


def _exists(at: int, name: bytes) -> bool:
    try:
        os.lstat(name, dir_fd=at)
    except FileNotFoundError:
        return False
    return True


def _source(held: ExitStack, wanted: Borrowed, below: Sequence[Path]) -> tuple[int, bytes]:
    """Return the directory that has the file which shows in the layers below, and its name.  No link on the way is followed."""
    *parts, last = wanted.target.split(b"/")
    for layer in reversed(below):
        fd, hidden = _walk(held, layer, parts)
        if fd is not None and _exists(fd, last):
            status = os.lstat(last, dir_fd=fd)
            if stat.S_ISDIR(status.st_mode) or is_whiteout(status):
                break
            return fd, last
        if hidden or (fd is not None and is_opaque(fd)):
            break
    raise InvalidLayer(f"{b' '.join(wanted.names)[:200]!r}: a hard link to {wanted.target[:200]!r}, which is not there")


def _copied(source: int, last: bytes, scratch: Path, at: int, name: bytes) -> None:
    """Make the file under its name only when it is complete."""
    import secrets

    new = os.fsencode(scratch / f".{secrets.token_hex(8)}")
    try:
        copy(source, last, new, OF_OVERLAYFS)
        with contextlib.suppress(FileExistsError):
            os.link(new, name, dst_dir_fd=at, follow_symlinks=False)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)


@contextlib.contextmanager
def _unchanged(directory: int) -> Iterator[None]:
    """Keep a directory's times while names are made in it."""
    before = os.fstat(directory)
    yield
    os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))


def _forget(tree: Path, path: bytes, below: Sequence[Path]) -> None:
    """Take whiteouts away where no layer below has the directory."""
    parts = [part for part in path.split(b"/") if part]
    with ExitStack() as held:
        for layer in reversed(below):
            there, hidden = _walk(held, layer, parts)
            if there is not None:
                return
            if hidden:
                break
        fd, _ = _walk(held, tree, parts)
        if fd is not None:
            with _unchanged(fd):
                for name in os.listdir(fd):
                    if is_whiteout(os.lstat(name, dir_fd=fd)):
                        os.unlink(name, dir_fd=fd)


def _hide(tree: Path, below: Sequence[Path]) -> None:
    """Hide each name that the layers below show: overlayfs does not look whether the top of a layer is opaque."""
    attribute = next(name for name in OPAQUE if name in os.listxattr(tree))
    with owned(os.open(tree, DIRECTORY)) as fd, _unchanged(fd):
        for name in sorted(names([*reversed(below)])):
            if not _exists(fd, os.fsencode(name)):
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)
            elif stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                with owned(os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)) as inside:
                    os.setxattr(inside, attribute, b"y")


def _walk(held: ExitStack, layer: Path, parts: Sequence[bytes]) -> tuple[int | None, bool]:
    """Return a directory of one layer, and whether the layer hides what others have there.

    An opaque directory hides the content of another, not its attributes.  Links are not followed: overlayfs does not.
    """
    fd = os.open(layer, DIRECTORY)
    held.callback(os.close, fd)
    opaque = False
    for part in parts:
        opaque = opaque or is_opaque(fd)
        try:
            status = os.lstat(part, dir_fd=fd)
        except FileNotFoundError:
            return None, opaque
        if is_whiteout(status) or not stat.S_ISDIR(status.st_mode):
            return None, True
        fd = os.open(part, DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        held.callback(os.close, fd)
    return fd, opaque


def _copy(source: int, target: int) -> None:
    """Copy the attributes, owner first: changing it clears the mode's upper bits.  An attribute that is right is not touched."""
    there, here = os.fstat(source), os.fstat(target)
    mode = stat.S_IMODE(there.st_mode)
    if (there.st_uid, there.st_gid) != (here.st_uid, here.st_gid):
        os.fchown(target, there.st_uid, there.st_gid)
        os.fchmod(target, mode)
    elif mode != stat.S_IMODE(here.st_mode):
        os.fchmod(target, mode)
    known = _attributes(target)
    for name, value in _attributes(source).items():
        if known.get(name) != value:
            os.setxattr(target, name, value)
    if there.st_mtime_ns != here.st_mtime_ns:
        os.utime(target, ns=(there.st_mtime_ns, there.st_mtime_ns))


def _attributes(fd: int) -> dict[str, bytes]:
    return {name: os.getxattr(fd, name) for name in os.listxattr(fd) if not name.startswith(OF_OVERLAYFS)}
