"""A whole Debian as a layer: unpacked by us as GNU tar and umoci unpack it, and packed again by us to the same tree."""

from __future__ import annotations

import hashlib
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peertools import in_memory, run, umoci
from trees import look

from containerkit.image.blobs import FileBlobs
from containerkit.image.config import ImageConfig
from containerkit.image.image import Image
from containerkit.image.layer import Layer

pytestmark = [pytest.mark.peer, pytest.mark.root, pytest.mark.timeout(400)]

Tree = dict[str, tuple[Any, ...]]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with in_memory("debian") as directory:
        yield directory


@pytest.fixture(scope="module")
def expected(debian: Path, place: Path) -> Tree:
    """What GNU tar makes of it."""
    untar(debian, place / "gnu")
    return whole(place / "gnu")


def untar(tar: Path, target: Path) -> None:
    target.mkdir()
    run("tar", "-C", target, "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-permissions", "-xf", tar)


def whole(directory: Path) -> Tree:
    """Mode, owner, time, device, content, attributes and links of everything."""
    return {name: _digested(one) for name, one in look(directory).items()}


def _digested(one: tuple[Any, ...]) -> tuple[Any, ...]:
    *before, content, attributes, links, first = one
    digest = (len(content), hashlib.sha256(content).hexdigest()) if isinstance(content, bytes) else content
    return *before, digest, attributes, links, first


def test_it_has_what_is_worth_comparing(expected: Tree) -> None:
    modes = [one[0] for one in expected.values()]
    assert len(modes) > 5000
    assert any(mode & stat.S_ISUID for mode in modes)
    assert any(mode & stat.S_ISGID for mode in modes)
    assert any(stat.S_ISCHR(mode) for mode in modes)
    assert any(stat.S_ISREG(one[0]) and one[-2] > 1 for one in expected.values())
    assert any(one[2] for one in expected.values())


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_unpacked_as_gnu_tar_does(debian: Path, expected: Tree, tmp_path: Path, place: Path, compression: str) -> None:
    if compression == "zstd":
        pytest.importorskip("zstandard", reason="needs zstandard: pip install containerkit[zstd]")
    with debian.open("rb") as stream:
        layer = Layer.from_tar(stream, FileBlobs(tmp_path / "blobs"), compression=compression)
    target = place / f"ours-{compression}"
    layer.unpack(target, whiteouts="plain")
    try:
        assert whole(target) == expected
    finally:
        shutil.rmtree(target)


def test_unpacked_as_umoci_does(debian: Path, expected: Tree, place: Path) -> None:
    with debian.open("rb") as stream:
        layer = Layer.from_tar(stream, FileBlobs(place / "blobs"))
    Image.of(ImageConfig()).append(layer, history="debian").save(place / "layout", "debian")
    umoci("unpack", "--image", f"{place}/layout:debian", place / "bundle")
    try:
        assert whole(place / "bundle/rootfs") == expected
    finally:
        shutil.rmtree(place / "bundle")


def test_packed_by_us_and_unpacked_it_is_the_same(expected: Tree, place: Path) -> None:
    layer = Layer.from_directory(place / "gnu", FileBlobs(place / "blobs"))
    layer.unpack(place / "again", whiteouts="plain")
    assert whole(place / "again") == expected
    again = Layer.from_directory(place / "again", FileBlobs(place / "blobs"))
    assert (again.digest, again.diff_id) == (layer.digest, layer.diff_id)
    untar(_tar(layer, place / "ours.tar"), place / "gnu-again")
    assert whole(place / "gnu-again") == expected


def _tar(layer: Layer, path: Path) -> Path:
    with layer.uncompressed() as source, path.open("wb") as target:
        while data := source.read(1 << 20):
            target.write(data)
    return path
