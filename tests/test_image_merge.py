"""Squashed and flattened images show the same tree as the layers they were made of."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_images import tar_of

from containerkit.image.blobs import FileBlobs
from containerkit.image.config import ImageConfig
from containerkit.image.errors import Escape, ImageError, InvalidLayer
from containerkit.image.history import History
from containerkit.image.ids import Ids
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.image.merge import Stack
from containerkit.image.tar import Entry, Reader, Writer


def layer_of(*entries: tuple[Entry, bytes]) -> Layer:
    out = io.BytesIO()
    writer = Writer(out.write)
    for entry, data in entries:
        writer.add(entry._replace(size=len(data), stored=len(data)), data)
    writer.close()
    return Layer.from_tar(io.BytesIO(out.getvalue()), compression="none")


def image_of(*layers: Layer) -> Image:
    return Image.of(ImageConfig(history=tuple(History(f"layer {place}") for place in range(len(layers)))), layers)


def tree(image: Image) -> dict[str, Any]:
    """Return the tree after unpacking the layers one after the other."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        for layer in image.layers:
            layer.unpack_into(name, whiteouts="plain", ids=None if os.geteuid() == 0 else Ids.mine())
        root, inodes = Path(name), dict[int, str]()
        found: dict[str, Any] = {}
        for path in sorted(root.rglob("*")):
            status, kind = path.lstat(), stat.S_IFMT(path.lstat().st_mode)
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            same = inodes.setdefault(status.st_ino, str(path.relative_to(root)))
            moment = 0 if kind == stat.S_IFDIR else status.st_mtime_ns
            found[str(path.relative_to(root))] = (kind, status.st_mode & 0o7777, content, same, moment)
        return found


PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)


@st.composite
def layers(draw: st.DrawFn) -> list[tuple[Entry, bytes]]:
    """Draw a valid layer: no entry is below a file, whiteouts come first, a link's target exists."""
    made: dict[str, str] = {}
    for path in draw(st.lists(PATHS, max_size=6, unique=True)):
        parents = ["/".join(path.split("/")[:length]) for length in range(1, path.count("/") + 1)]
        if all(made.get(parent, "directory") == "directory" for parent in parents):
            made |= dict.fromkeys(parents, "directory")
            below = any(other.startswith(f"{path}/") for other in made)
            made[path] = "directory" if below else draw(st.sampled_from(["file", "directory", "symlink", "hardlink"]))
    entries = [(Entry(name), b"") for name in draw(whiteouts(made))]
    files = [path for path, kind in sorted(made.items()) if kind == "file"]
    for path, kind in sorted(made.items(), key=lambda item: (item[1] == "hardlink", item[0])):
        if kind == "hardlink" and not files:
            continue
        link = {"hardlink": files[:1], "symlink": ["x"]}.get(kind, [""])[0]
        data = draw(st.binary(max_size=3)) if kind == "file" else b""
        mode = 0o777 if kind == "symlink" else draw(st.sampled_from([0o755, 0o700, 0o1750]))
        entries.append((Entry(path.encode(), kind, mode, linkname=link.encode(), mtime=draw(st.integers(0, 9)) * 10**9), data))
    return entries


@st.composite
def whiteouts(draw: st.DrawFn, made: dict[str, str]) -> list[bytes]:
    found = []
    for path in draw(st.lists(PATHS, max_size=3, unique=True)):
        above, _, name = path.rpartition("/")
        parents = ["/".join(path.split("/")[:length]) for length in range(1, path.count("/") + 1)]
        if all(made.get(parent) == "directory" for parent in parents):
            opaque = above and draw(st.booleans())
            found.append(f"{above}/.wh..wh..opq".lstrip("/") if opaque else f"{above}/.wh.{name}".lstrip("/"))
    return [name.encode() for name in dict.fromkeys(found)]


@settings(max_examples=150, deadline=None)
@given(st.lists(layers(), min_size=1, max_size=4))
def test_squashed_and_flattened_look_the_same(stack: list[list[tuple[Entry, bytes]]]) -> None:
    image = image_of(*(layer_of(*entries) for entries in stack))
    expected = tree(image)
    flat = image.flatten(compression="none")
    flat.validate()
    assert tree(flat) == expected
    assert not any(b".wh." in entry.name for entry in flat.layers[0].entries())
    for keep in range(1, len(stack)):
        squashed = image.squash(keep, compression="none")
        squashed.validate()
        assert squashed.manifest.layers[:keep] == image.manifest.layers[:keep]
        assert tree(squashed) == expected


def test_a_directory_that_has_no_entry_takes_the_place_of_what_was_there() -> None:
    """The result is that of layers laid over each other as directories: no link of a lower layer is followed."""
    image = image_of(
        layer_of((Entry(b"d", "symlink", linkname=b"e"), b""), (Entry(b"e", "directory"), b"")), layer_of((Entry(b"d/f"), b"1"))
    )
    assert [(entry.name, entry.kind) for entry in image.flatten().layers[0].entries()] == [
        (b"d", "directory"),
        (b"e", "directory"),
        (b"d/f", "file"),
    ]


def test_hidden_files_are_removed_and_history_stays() -> None:
    secret = Layer.from_tar(io.BytesIO(tar_of({"etc": None, "etc/secret": b"key", "etc/name": b"a"})))
    gone = Layer.from_tar(io.BytesIO(tar_of({"etc/.wh.secret": b"", "etc/name": b"b"})))
    image = image_of(secret, gone)
    flat = image.flatten()
    assert [entry.name for entry in flat.layers[0].entries()] == [b"etc", b"etc/name"]
    with flat.layers[0].open("etc/name") as file:
        assert file.read() == b"b"
    assert [(entry.created_by, entry.empty_layer) for entry in flat.history] == [("layer 0", True), ("layer 1", False)]
    assert flat.flatten().digest == flat.digest == image.flatten().digest
    assert image.squash(2) == image
    with pytest.raises(ImageError, match="3 of them cannot stay"):
        image.squash(3)


def test_a_squashed_layer_still_hides_what_lies_below() -> None:
    base = Layer.from_tar(io.BytesIO(tar_of({"d": None, "d/old": b"1", "f": b"2", "g": b"3"})))
    first = Layer.from_tar(io.BytesIO(tar_of({".wh.d": b"", ".wh.f": b"", ".wh.g": b""})))
    second = Layer.from_tar(io.BytesIO(tar_of({"d": None, "d/new": b"4", "g": b"5"})))
    squashed = image_of(base, first, second).squash(1)
    names = [entry.name for entry in squashed.layers[1].entries()]
    assert names == [b"d", b"d/new", b"g", b"d/.wh..wh..opq", b".wh.f"]
    assert sorted(tree(squashed)) == ["d", "d/new", "g"]


def test_the_new_layer_goes_into_the_given_blobs(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    flat = image_of(*[layer_of((Entry(b"a"), bytes([place]))) for place in range(3)]).flatten(blobs=blobs)
    assert list(blobs) == [flat.layers[0].digest]


def test_holes_stay_holes() -> None:
    """A flattened sparse file has the same map: a hole takes no bytes in the tar, however large it is."""
    out = io.BytesIO()
    writer = Writer(out.write)
    writer.add(Entry(b"sparse", size=1 << 35, sparse=((3, 4), (12, 2)), stored=6), b"abcdef")
    writer.close()
    flat = image_of(Layer.from_tar(io.BytesIO(out.getvalue())), layer_of((Entry(b"x"), b""))).flatten(compression="none")
    with flat.layers[0].uncompressed() as tar:
        reader = Reader(tar)
        entry = reader.next()
        assert entry is not None
        assert (entry.name, entry.size, entry.sparse, reader.read()) == (b"sparse", 1 << 35, ((3, 4), (12, 2), (1 << 35, 0)), b"abcdef")
    assert flat.layers[0].size < 10_000


@pytest.mark.parametrize(
    ("entries", "kind", "words"),
    [
        ([Entry(b"a/../b")], Escape, "'.' or '..' in it"),
        ([Entry(b"f"), Entry(b"f/g")], InvalidLayer, "is no directory"),
        ([Entry(b"l", "symlink", linkname=b"/no"), Entry(b"l/g")], InvalidLayer, "a link to something that is not there"),
        ([Entry(b"h", "hardlink", linkname=b"none")], InvalidLayer, "which is not there"),
        ([Entry(b"d", "directory"), Entry(b"h", "hardlink", linkname=b"d")], InvalidLayer, "which is no file"),
        ([Entry(b".wh..")], InvalidLayer, "a whiteout of a name that cannot be"),
        ([Entry(b"./")], Escape, "the directory itself cannot become a file"),
    ],
)
def test_malformed_layers_are_refused(entries: list[Entry], kind: type[ImageError], words: str) -> None:
    with pytest.raises(kind, match=words):
        Stack().lay(0, entries)


def test_names_that_are_not_utf8_stay() -> None:
    image = image_of(layer_of((Entry(b"\xff\xfe"), b"x")), layer_of((Entry(b"long" * 60), b"y")))
    with image.flatten().layers[0].uncompressed() as tar:
        assert [entry.name for entry in Reader(tar)] == [b"\xff\xfe", b"long" * 60]
