"""Trees for tests: made from a dict, and read back as one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from containerkit.image.tar import Entry, Writer

Model = dict[str, Any]  # name -> a dict for a directory, or (kind, content, mode, mtime, owner, attributes), or ("hardlink", name)

NAMES = ["a", "b", "c", "d\udcff"]
MODES = [0o644, 0o755, 0o4755, 0o700, 0o1777, 0o600]


def tar(*entries: tuple[Entry, bytes]) -> bytes:
    """Return a tar of entries and the bytes of the files."""
    blocks: list[bytes] = []
    writer = Writer(lambda block: blocks.append(bytes(block)))
    for entry, data in entries:
        writer.add(entry._replace(size=len(data)), data if entry.kind == "file" else None)
    writer.close()
    return b"".join(blocks)


def leaf() -> st.SearchStrategy[Any]:
    contents = st.sampled_from([b"", b"x", b"y", b"xx" * 3000])
    attributes = st.sampled_from([{}, {}, {"user.a": b"1"}, {"user.b": b"2\0"}])
    targets = st.sampled_from(["a", "../b", "/etc/passwd", "nowhere"])
    mode, mtime, owner = st.sampled_from(MODES), st.sampled_from([0, 5_000_000_000, 1_600_000_000_123_456_789]), st.sampled_from([0, 7])
    file = st.tuples(st.just("file"), contents, mode, mtime, owner, attributes)
    link = st.tuples(st.just("symlink"), targets, st.just(0o777), mtime, owner, st.just({}))
    fifo = st.tuples(st.just("fifo"), st.just(b""), mode, mtime, owner, st.just({}))
    again = st.tuples(st.just("hardlink"), st.sampled_from(NAMES))
    return st.one_of(file, file, link, fifo, again)


def models() -> st.SearchStrategy[Model]:
    """Draw trees as dicts: a directory holds names."""
    return st.recursive(
        st.dictionaries(st.sampled_from(NAMES), leaf(), max_size=3),
        lambda inner: st.dictionaries(st.sampled_from(NAMES), st.one_of(leaf(), inner), max_size=4),
        max_leaves=8,
    )


def make(model: Model, directory: Path) -> None:
    """Make the tree.  A hard link names another file of its own directory, and is left out if that does not exist."""
    later = []
    for name, what in model.items():
        path = directory / name
        if isinstance(what, dict):
            path.mkdir()
            make(what, path)
            path.chmod(0o755 if len(what) % 2 else 0o711)
            os.utime(path, ns=(0, 10**9 * len(what)))
        elif what[0] == "hardlink":
            later.append((path, directory / what[1]))
        else:
            _make_leaf(path, *what)
    for path, other in later:
        if _is_leaf(other):
            os.link(other, path, follow_symlinks=False)
    os.utime(directory, ns=(0, 10**9 * len(model)))


def _is_leaf(path: Path) -> bool:
    return os.path.lexists(path) and not stat.S_ISDIR(path.lstat().st_mode)


def _make_leaf(path: Path, kind: str, content: Any, mode: int, mtime: int, owner: int, attributes: dict[str, bytes]) -> None:
    if kind == "symlink":
        path.symlink_to(content)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    if os.geteuid() == 0:
        os.chown(path, owner, owner, follow_symlinks=False)
    if kind != "symlink":
        path.chmod(mode)
    for name, value in attributes.items():
        os.setxattr(path, name, value)
    os.utime(path, ns=(mtime, mtime), follow_symlinks=False)


def look(directory: Path | str, *, times: bool = True) -> dict[str, tuple[Any, ...]]:
    """Return all properties of a tree, so that two trees can be compared."""
    found: dict[str, tuple[Any, ...]] = {}
    inodes: dict[int, str] = {}
    top = os.fsdecode(directory)
    for here, directories, files in os.walk(top):
        directories.sort()
        files.sort()
        for name in [".", *directories, *files] if here == top else [*directories, *files]:
            path = os.path.join(here, name)
            relative = os.path.relpath(path, top)
            found[relative] = _one(path, relative, inodes, times)
    return dict(sorted(found.items()))


def _one(path: str, relative: str, inodes: dict[int, str], times: bool) -> tuple[Any, ...]:
    s = os.lstat(path)
    content: Any = None
    if stat.S_ISREG(s.st_mode):
        with open(path, "rb") as file:
            content = file.read()
    elif stat.S_ISLNK(s.st_mode):
        content = os.readlink(path)
    names = sorted(os.listxattr(path, follow_symlinks=False))
    xattrs = [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]
    first = inodes.setdefault(s.st_ino, relative) if s.st_nlink > 1 and not stat.S_ISDIR(s.st_mode) else ""
    links = 0 if stat.S_ISDIR(s.st_mode) else s.st_nlink
    return s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns if times else 0, s.st_rdev, content, xattrs, links, first
