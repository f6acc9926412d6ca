"""Directories without an entry in a layer: the same in a store, in a plain tree and in a squashed layer."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import tar

from containerkit.image.config import ImageConfig
from containerkit.image.ids import Ids
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.image.tar import Entry
from containerkit.layers import merged
from containerkit.store.store import Store

ROOT = os.geteuid() == 0
Part = tuple[Entry, bytes]


def image_of(*stack: Sequence[Part]) -> Image:
    import io

    return Image.of(ImageConfig(), [Layer.from_tar(io.BytesIO(tar(*parts)), compression="none") for parts in stack])


def d(name: str, mode: int = 0o755, owner: int = 0, **fields: Any) -> Part:
    return Entry(name.encode(), "directory", mode, owner, owner, **fields), b""


def f(name: str, data: bytes = b"") -> Part:
    return Entry(name.encode()), data


def link(name: str, to: str) -> Part:
    return Entry(name.encode(), "symlink", 0o777, linkname=to.encode()), b""


def what(path: Path) -> tuple[Any, ...]:
    status = path.lstat()
    content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
    return status.st_mode, status.st_uid, status.st_gid, content


def shown(below: Sequence[Path], where: str = ".") -> dict[str, tuple[Any, ...]]:
    """Return the tree that an overlay of directories shows, the topmost first."""
    found = {where: what(below[0])}
    for name in merged.names(below):
        here = merged.entry(below, name)
        found |= shown(here, f"{where}/{name}") if stat.S_ISDIR(here[0].lstat().st_mode) else {f"{where}/{name}": what(here[0])}
    return found


def extracted(image: Image) -> dict[str, tuple[Any, ...]]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "tree"
        place.mkdir(mode=0o755)
        image.extract(place, ids=None if ROOT else Ids.mine())
        return shown([place])


def stored(image: Image) -> dict[str, tuple[Any, ...]]:
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / "store")
        found = shown(store.layers(store.put(image, "app"))[::-1])
        assert store.fsck() == ()
        return found


def agree(image: Image) -> dict[str, tuple[Any, ...]]:
    found = extracted(image)
    assert stored(image) == found
    for keep in range(len(image.layers)):
        assert extracted(image.squash(keep, compression="none")) == found, keep
    return found


CASES = {
    "mode and owner": ([d("a", 0o1777, 7), d("a/b", 0o700, 8)], [f("a/b/c")]),
    "two layers up": ([d("a", 0o711)], [f("x")], [f("a/y")]),
    "settled below": ([d("a", 0o711)], [f("a/x")], [f("a/y")], [d("a", 0o700)], [f("a/z")]),
    "described after": ([d("a", 0o711)], [f("a/x"), d("a", 0o750)]),
    "the root": ([d(".", 0o711, 5), f("x")], [f("y")]),
    "a new one": ([f("x")], [f("a/b/c")]),
    "in place of a file": ([f("a")], [f("a/b")]),
    "in place of a link": ([d("real", 0o700), link("a", "real")], [f("a/b")]),
    "in place of a link in the middle": ([d("real", 0o700), d("real/sub", 0o700), link("a", "real")], [f("a/sub/b")]),
    "in place of a link to nothing": ([link("a", "/nowhere")], [f("a/b")]),
    "after a whiteout": ([d("a", 0o700), f("a/old")], [f(".wh.a")], [f("a/b")]),
    "after a whiteout above": ([d("a", 0o700), d("a/b", 0o700)], [f(".wh.a")], [f("a/b/c")]),
    "opaque": ([d("a", 0o700), f("a/old")], [f("a/.wh..wh..opq"), f("a/b")]),
    "below an opaque one": ([d("a", 0o700), d("a/b", 0o711)], [f("a/.wh..wh..opq")], [f("a/b/c")]),
    "of a whiteout": ([d("a", 0o711), f("a/b")], [f("a/.wh.b")]),
    "of a whiteout through a link": ([d("real", 0o711), f("real/b"), link("a", "real")], [f("a/.wh.b")]),
    "of a whiteout of nothing": ([f("x")], [f("a/.wh.b")]),
    "a file between": ([d("a", 0o700)], [f("a")], [f("a/b")]),
}


@pytest.mark.parametrize("name", CASES)
def test_all_readers_agree_about_implied_directories(name: str) -> None:
    found = agree(image_of(*CASES[name]))
    if name == "mode and owner":
        assert found["./a/b"][:3] == (stat.S_IFDIR | 0o700, *((8, 8) if ROOT else (os.getuid(), os.getgid())))
    if name == "in place of a link in the middle":
        assert sorted(found) == [".", "./a", "./a/sub", "./a/sub/b", "./real", "./real/sub"]


PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
KINDS = st.sampled_from(["file", "file", "directory", "link", "whiteout", "opaque"])


@st.composite
def layers(draw: st.DrawFn) -> list[Part]:
    """Draw a layer in which few directories have an entry, and no file lies below its own files and links."""
    made: dict[str, str] = {}
    for path in draw(st.lists(PATHS, max_size=5, unique=True)):
        kind = draw(KINDS)
        above = [path[:at] for at, char in enumerate(path) if char == "/"]
        if any(made.get(each) in ("file", "link", "whiteout") for each in above):
            continue
        if kind not in ("directory", "opaque") and any(other.startswith(f"{path}/") for other in made):
            continue
        made[path] = kind
    mode = st.sampled_from([0o755, 0o700, 0o1777])
    makers = {
        "file": lambda path: f(path, path.encode()), "directory": lambda path: d(path, draw(mode), draw(st.sampled_from([0, 7]))),
        "link": lambda path: link(path, draw(st.sampled_from(["a", "/b", "c/a"]))), "opaque": lambda path: f(f"{path}/.wh..wh..opq"),
        "whiteout": lambda path: f("/".join([*path.split("/")[:-1], f".wh.{path.split('/')[-1]}"])),
    }  # fmt: skip
    return [makers[kind](path) for path, kind in made.items()]


@settings(max_examples=100, deadline=None)
@given(st.lists(layers(), min_size=1, max_size=4))
def test_all_readers_agree_about_random_layers(stack: list[list[Part]]) -> None:
    agree(image_of(*stack))


@pytest.mark.root
def test_overlayfs_shows_the_same(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("needs root to mount")
    for number, stack in enumerate(CASES.values()):
        image, place = image_of(*stack), tmp_path / str(number)
        layers_ = Store(place / "store", xattrs="trusted").layers(image)
        (place / "empty").mkdir()
        (place / "root").mkdir()
        lowers = ":".join(map(str, [*reversed(layers_), place / "empty"]))
        find = "find . -printf '%p %m %U\\n' || true"  # it may stumble over a whiteout where nothing lies below
        script = f"mount -t overlay overlay -o lowerdir={lowers} {place}/root && cd {place}/root && {find}"
        out = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=True).stdout
        found = dict(line.split(" ", 1) for line in out.splitlines())
        assert found == {path: f"{stat.S_IMODE(mode):o} {uid}" for path, (mode, uid, *_) in extracted(image).items()}
