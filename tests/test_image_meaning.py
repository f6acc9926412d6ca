"""The meaning of odd tars: unpacking, squashing, flattening and an overlay give one answer, or all refuse."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import tar

import containerkit as ck
from containerkit.builder.tree import Tree
from containerkit.image.config import ImageConfig
from containerkit.image.errors import InvalidLayer, LimitExceeded
from containerkit.image.ids import Ids
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.image.limits import Limits
from containerkit.image.merge import Stack
from containerkit.image.tar import Entry, Reader
from containerkit.layers import merged
from containerkit.store.store import Store

ROOT = os.geteuid() == 0
Part = tuple[Entry, bytes]
Labelled = dict[str, Any] | str
REFUSED = "refused"


def d(name: str, mode: int = 0o755) -> Part:
    return Entry(os.fsencode(name), "directory", mode), b""


def f(name: str, data: str = "") -> Part:
    return Entry(os.fsencode(name)), (data or name if ".wh." not in name else "").encode("utf-8", "surrogateescape")


def sym(name: str, to: str) -> Part:
    return Entry(os.fsencode(name), "symlink", 0o777, linkname=os.fsencode(to)), b""


def hard(name: str, to: str) -> Part:
    return Entry(os.fsencode(name), "hardlink", linkname=os.fsencode(to)), b""


def image_of(*stack: Sequence[Part]) -> Image:
    return Image.of(ImageConfig(), [Layer.from_tar(io.BytesIO(tar(*parts)), compression="none") for parts in stack])


# The ways to see it ----------------------------------------------------------------------------------------------


def grouped(found: dict[str, tuple[Any, ...]], inodes: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Return the entries with each file's first name."""
    first: dict[tuple[int, int], str] = {}
    for path in sorted(found):
        first.setdefault(inodes[path], path)
    return {path: (*what, first[inodes[path]]) for path, what in found.items()}


def walked(below: Sequence[Path]) -> dict[str, Any]:
    """Return the tree that an overlay of directories shows, the topmost first; one directory is a plain tree."""
    found: dict[str, tuple[Any, ...]] = {}
    inodes: dict[str, tuple[int, int]] = {}

    def one(below: Sequence[Path], where: str) -> None:
        status = below[0].lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = os.readlink(below[0]) if kind == stat.S_IFLNK else below[0].read_bytes() if kind == stat.S_IFREG else b""
        found[where] = (kind, status.st_mode, content)
        inodes[where] = status.st_dev, status.st_ino
        if kind == stat.S_IFDIR:
            for name in sorted(merged.names(below)):
                one(merged.entry(below, name), f"{where}/{name}")

    one(below, ".")
    return grouped(found, inodes)


def or_refused(see: Callable[[], dict[str, Any]]) -> Labelled:
    try:
        return see()
    except InvalidLayer:
        return REFUSED


def extracted(image: Image) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "tree"
        place.mkdir(mode=0o755)
        image.extract(place, ids=None if ROOT else Ids.mine())
        return walked([place])


def stored(image: Image, see: Callable[[Sequence[Path]], dict[str, Any]] = walked) -> dict[str, Any]:
    """Return the tree in a store, where each layer is unpacked on its own."""
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / "store")
        with store.hold(store.put(image, "app")) as layers:
            found = see(layers[::-1])
        with store.hold("app") as layers:
            assert see(layers[::-1]) == found, "the second time something else is shown"
        assert store.fsck() == ()
        return found


def by_tree(below: Sequence[Path]) -> dict[str, Any]:
    """Return the tree that a build sees."""
    with Tree(*below[::-1]) as tree:
        found, inodes = {}, {}
        for node in tree.walk(b""):
            where = os.fsdecode(b"./" + node.path).rstrip("/") if node.path else "."
            kind = stat.S_IFMT(node.status.st_mode)
            content: Any = b""
            if node.is_link:
                content = os.fsdecode(tree.readlink(node))
            elif node.is_file:
                with open(tree.open(node), "rb") as file:
                    content = file.read()
            found[where] = (kind, node.status.st_mode, content)
            inodes[where] = node.status.st_dev, node.status.st_ino
        return grouped(found, inodes)


def by_kernel(below: Sequence[Path]) -> dict[str, Any]:
    """Return the tree that overlayfs shows, after checking that every listed name exists."""
    found, inodes = {}, {}
    with ck.LayerFS(*below[::-1], readonly=True).mounted() as root:
        for path in [root, *sorted(root.rglob("*"))]:
            status = path.lstat()
            kind = stat.S_IFMT(status.st_mode)
            content: Any = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            where = "./" + str(path.relative_to(root)) if path != root else "."
            found[where] = (kind, status.st_mode, content)
            inodes[where] = status.st_dev, status.st_ino
    return grouped(found, inodes)


def files(shown: Labelled) -> Labelled:
    """Return the files without their hard links: an overlay copies one name up alone, so it no longer equals its other names below."""
    return shown if isinstance(shown, str) else {path: what[:3] for path, what in shown.items()}


def agree(image: Image, *, kernel: bool = False) -> Labelled:
    """Return the tree that all readers show."""
    expected = or_refused(lambda: extracted(image))
    for see in (walked, by_tree, *([by_kernel] if kernel else [])):
        assert files(or_refused(lambda see=see: stored(image, see))) == files(expected), see  # type: ignore[misc]
    for keep in range(len(image.layers)):
        assert or_refused(lambda keep=keep: extracted(image.squash(keep, compression="none"))) == expected, keep  # type: ignore[misc]
        if expected != REFUSED:
            assert files(stored(image.squash(keep, compression="none"))) == files(expected), keep
    return expected


# Cases -----------------------------------------------------------------------------------------------------------

LOW = [d("x", 0o711), f("x/a", "low"), f("x/b"), d("y"), f("y/c")]
CASES: dict[str, tuple[list[list[Part]], list[str] | None]] = {
    "a whiteout where all is hidden": ([LOW, [d("x"), f("x/.wh..wh..opq"), f("x/.wh.a"), f("x/n")]], ["x", "x/n", "y", "y/c"]),
    "a whiteout before all is hidden": ([LOW, [d("x"), f("x/.wh.a"), f("x/.wh..wh..opq"), f("x/n")]], ["x", "x/n", "y", "y/c"]),
    "a whiteout in a new directory": ([LOW, [d("new"), f("new/.wh.a"), f("new/n")]], ["new", "new/n", "x", "x/a", "x/b", "y", "y/c"]),
    "a whiteout at the bottom": ([[f(".wh.x"), f("n")]], ["n"]),
    "an entry through a link": ([[d("s"), d("s/p"), d("n"), sym("n/p", "../s/p"), f("n/p/f")]], ["n", "n/p", "s", "s/p", "s/p/f"]),
    "an entry through an absolute link": ([[d("s"), sym("l", "/s"), f("l/f")]], ["l", "s", "s/f"]),
    "an entry through two links": ([[d("s"), sym("l", "s"), sym("m", "l"), d("m/d"), f("l/d/f")]], ["l", "m", "s", "s/d", "s/d/f"]),
    "a whiteout through a link": ([LOW, [d("x"), sym("l", "x"), f("l/.wh.a")]], ["l", "x", "x/b", "y", "y/c"]),
    "a link to a directory of a layer below": ([LOW, [sym("l", "x"), f("l/f")]], None),
    "an entry below a file": ([[f("a"), f("a/b")]], None),
    "a whiteout below a file": ([[f("a"), f("a/.wh.b")]], None),
    "a hard link to a lower layer": ([LOW, [hard("h", "x/a")]], ["h", "x", "x/a", "x/b", "y", "y/c"]),
    "a hard link to a lower layer, then another to it": ([LOW, [hard("h", "x/a"), hard("i", "h"), hard("j", "x/a")]], None),
    "a hard link whose target is hidden later": ([LOW, [hard("h", "x/a"), f("x/.wh.a")]], ["h", "x", "x/b", "y", "y/c"]),
    "a hard link whose target was hidden before": ([LOW, [f("x/.wh.a"), hard("h", "x/a")]], None),
    "a hard link whose target's directory is hidden": ([LOW, [hard("h", "x/a"), f(".wh.x")]], ["h", "y", "y/c"]),
    "a hard link whose target is replaced": ([LOW, [hard("h", "x/a"), f("x/a", "new")]], ["h", "x", "x/a", "x/b", "y", "y/c"]),
    "a hard link whose target becomes a directory": ([LOW, [hard("h", "x/a"), d("x/a")]], ["h", "x", "x/a", "x/b", "y", "y/c"]),
    "a hard link into what is replaced": ([LOW, [hard("h", "x/a"), f("x")]], ["h", "x", "y", "y/c"]),
    "a hard link to what is replaced": ([[f("a", "1"), hard("b", "a"), f("a", "2")]], ["a", "b"]),
    "a hard link to a later entry": ([[hard("b", "a"), f("a")]], None),
    "a hard link to a link": ([[sym("l", "nowhere"), hard("h", "l")]], ["h", "l"]),
    "a hard link to a link of a lower layer": ([[sym("l", "nowhere")], [hard("h", "l")]], ["h", "l"]),
    "an entry through a hard link to a link": ([[d("s"), sym("l", "s"), hard("h", "l"), f("h/f")]], ["h", "l", "s", "s/f"]),
    "a hard link to a directory below": ([LOW, [hard("h", "x")]], None),
    "a hard link through a link below": ([[*LOW, sym("l", "x")], [hard("h", "l/a")]], None),
    "a hard link over its target": ([LOW, [hard("x", "x/a")]], None),
    "a hard link to itself": ([LOW, [hard("x/a", "x/a")]], None),
    "a hard link two layers down": ([LOW, [f("n")], [hard("h", "x/a")], [f(".wh.h")]], ["n", "x", "x/a", "x/b", "y", "y/c"]),
    "a hard link to a hard link below": ([LOW, [hard("h", "x/a")], [hard("i", "h")]], ["h", "i", "x", "x/a", "x/b", "y", "y/c"]),
    "a file that becomes a directory": ([LOW, [f("x"), d("x"), f("x/n")]], ["x", "x/n", "y", "y/c"]),
    "a directory that becomes a file and comes back": ([LOW, [d("x"), f("x/n"), f("x"), d("x")]], ["x", "y", "y/c"]),
    "a link that becomes a directory": ([LOW, [sym("x", "y"), d("x"), f("x/n")]], ["x", "x/n", "y", "y/c"]),
    "described late": ([LOW, [f("x/n"), d("x", 0o700)]], ["x", "x/a", "x/b", "x/n", "y", "y/c"]),
    "the same name in other words": ([[f("./a", "1"), f("/a", "2"), d("d/"), f("./d/f"), d("."), f("a", "3")]], ["a", "d", "d/f"]),
    "a name with an empty part": ([[f("a//b")]], None),
    "a name with a dot": ([[f("a/./b")]], None),
    "a name that climbs": ([[f("a/../b")]], None),
    "a name that is no text": ([[f("\udcff\udcfe"), hard("h", "\udcff\udcfe")], [f(".wh.\udcff\udcfe")]], ["h"]),
    "a long name": ([[d("n" * 120), f("n" * 120 + "/" + "m" * 120)], [hard("h", "n" * 120 + "/" + "m" * 120)]], ["h"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_all_readers_agree_about_odd_tars(name: str) -> None:
    stack, expected = CASES[name]
    found = agree(image_of(*stack), kernel=ROOT)
    if expected is None:
        if name != "a hard link to a lower layer, then another to it":
            assert found == REFUSED
    elif name != "a long name":
        assert isinstance(found, dict)
        assert sorted(path.removeprefix("./") for path in found if path != ".") == expected


def test_a_borrowed_file_is_the_same_file() -> None:
    found = agree(image_of(LOW, [hard("h", "x/a"), hard("i", "h"), hard("j", "x/a")]))
    assert isinstance(found, dict)
    assert {found[path][3] for path in ("./h", "./i", "./j", "./x/a")} == {"./h"}
    assert found["./h"][2] == b"low"


def test_reading_one_file_agrees_with_unpacking() -> None:
    parts = [d("s"), sym("l", "s"), f("l/f", "1"), hard("h", "s/f"), f("s/f", "2")]
    layer = image_of(parts).layers[0]
    for path, expected in (("s/f", b"2"), ("l/f", b"2"), ("h", b"1")):
        with layer.open(path) as file:
            assert file.read() == expected


def test_depth_is_limited_also_through_links() -> None:
    """Also if links make the path long, and if layers are only laid over each other."""
    deep = image_of([f("d/" * 300 + "f")])
    with pytest.raises(LimitExceeded):
        deep.flatten()
    long = "/".join(["d"] * 200)
    with pytest.raises(LimitExceeded):
        image_of([d(long), sym("l", long), f("l/" + long)]).flatten()
    assert len(image_of([f("d/" * 300 + "f")]).flatten(limits=Limits(depth=1000)).layers) == 1


# Anything --------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "a", "b", "\udcff", "n" * 110])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
SPELT = st.sampled_from(["{}", "{}", "{}", "{}", "{}", "./{}", "/{}", "{}/", "{}//x", "./", "../{}", "{}/./y"])
TARGETS = st.one_of(PATHS, PATHS.map("/{}".format), PATHS.map("../{}".format), st.sampled_from([".", "/", "..", "a/../b"]))


@st.composite
def entries(draw: st.DrawFn) -> Part:
    path = draw(PATHS)
    name = draw(SPELT).format(path)
    above, _, last = path.rpartition("/")
    kind = draw(st.sampled_from(["file", "file", "directory", "directory", "link", "hard", "hard", "whiteout", "whiteout", "opaque"]))
    match kind:
        case "file":
            return f(name, draw(st.sampled_from(["1", "2", "3"])))
        case "directory":
            return d(name, draw(st.sampled_from([0o755, 0o700, 0o1777])))
        case "link":
            return sym(name, draw(TARGETS))
        case "hard":
            return hard(name, draw(st.one_of(PATHS, PATHS, PATHS, PATHS.map("./{}".format))))
        case "whiteout":
            return f(f"{above}/.wh.{last}".lstrip("/"))
    return f(f"{above}/.wh..wh..opq".lstrip("/"))


def made(stack: list[list[Part]]) -> Image:
    """Leave out each entry that makes a layer malformed, so that most drawn layers are valid."""
    kept: list[list[Part]] = []
    for parts in stack:
        layer: list[Part] = []
        for part in parts:
            if senseful([*kept, [*layer, part]]):
                layer.append(part)
        kept.append(layer)
    return image_of(*kept)


def senseful(stack: list[list[Part]]) -> bool:
    laid = Stack()
    try:
        for place, parts in enumerate(stack):
            laid.lay(place, Reader(io.BytesIO(tar(*parts))))
    except InvalidLayer:
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(entries(), max_size=7), min_size=1, max_size=3))
def test_all_readers_agree_about_random_tars(stack: list[list[Part]]) -> None:
    agree(image_of(*stack))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(entries(), max_size=7), min_size=2, max_size=4))
def test_all_readers_agree_about_random_valid_tars(stack: list[list[Part]]) -> None:
    assert agree(made(stack), kernel=ROOT) != REFUSED
