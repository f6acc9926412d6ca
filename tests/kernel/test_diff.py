"""Tars of trees: what is written down and unpacked again is the same tree; layers as dicts are the model."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from support import again
from trees import Model, look, make, models

import containerkit as ck
from containerkit import ns
from containerkit.image.errors import InvalidLayer, LimitExceeded, Unsupported
from containerkit.image.ids import Ids
from containerkit.image.tar import Entry, Reader
from containerkit.image.tar_from_tree import TarOptions, write_tree, write_upper
from containerkit.image.tar_from_two_trees import write_difference
from containerkit.image.unpack.unpack import unpack

ROOT = os.geteuid() == 0
IDS = Ids() if ROOT else Ids.mine()
EXACT = TarOptions(ids=IDS, nanoseconds=True)
slow = settings(
    max_examples=60, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def written(write: Any, *arguments: Any) -> bytes:
    blocks: list[bytes] = []
    size = write(*arguments[:-1], lambda block: blocks.append(bytes(block)), arguments[-1])
    data = b"".join(blocks)
    assert size == len(data)
    return data


def entries(data: bytes) -> list[Entry]:
    return list(Reader(io.BytesIO(data)))


def names(data: bytes) -> list[bytes]:
    return [entry.name for entry in entries(data)]


def put(data: bytes, directory: Path, whiteouts: Any = "plain") -> None:
    unpack(io.BytesIO(data), directory, whiteouts=whiteouts, ids=IDS)


@slow
@given(models())
def test_a_tree_comes_back(model: Model) -> None:
    with tempfile.TemporaryDirectory() as top:
        one, two = Path(top, "one"), Path(top, "two")
        one.mkdir()
        two.mkdir()
        make(model, one)
        data = written(write_tree, one, EXACT)
        put(data, two, "overlay")
        assert look(two) == look(one)
        assert written(write_tree, two, EXACT) == data, "the same tree is the same bytes"


@slow
@given(models(), models())
def test_a_difference_turns_one_tree_into_the_other(old: Model, new: Model) -> None:
    with tempfile.TemporaryDirectory() as top:
        one, two, onto = (Path(top, name) for name in ("one", "two", "onto"))
        for directory, model in ((one, old), (two, new), (onto, old)):
            directory.mkdir()
            make(model, directory)
        os.utime(onto, ns=(0, one.stat().st_mtime_ns))
        data = written(write_difference, one, two, EXACT)
        put(data, onto)
        assert look(onto) == look(two)
        assert names(written(write_difference, two, onto, EXACT)) == []


@pytest.mark.skipif(not ROOT, reason="needs root to mount")
@settings(slow, max_examples=30)
@given(models(), models())
def test_an_overlay_and_its_upper_directory(old: Model, new: Model) -> None:
    """The difference as a layer for an overlay: the kernel shows the new tree, and the layer read back from it is the same."""
    with tempfile.TemporaryDirectory() as top:
        one, two, upper, plain = (Path(top, name) for name in ("one", "two", "upper", "plain"))
        for directory, model in ((one, old), (two, new)):
            directory.mkdir()
            make(model, directory)
        upper.mkdir()
        plain.mkdir()
        data = written(write_difference, one, two, EXACT)
        put(data, upper, "overlay")
        with ck.LayerFS(one, upper, readonly=True).mounted() as shown:
            assert _without_root(look(shown)) == _without_root(look(two))
        put(written(write_tree, one, EXACT), plain)
        put(written(write_upper, upper, EXACT), plain)
        assert _without_root(look(plain)) == _without_root(look(two))


def _without_root(found: dict[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in found.items() if path != "."}


@pytest.mark.skipif(not ROOT, reason="needs root to mount")
def test_what_a_container_did_is_a_layer(tmp_path: Path, rootdir: Path) -> None:
    base, plain = tmp_path / "base", tmp_path / "plain"
    (base / "data" / "deep").mkdir(parents=True)
    (base / "data" / "file").write_text("old")
    (base / "gone").mkdir()
    script = "echo new > /data/file; rm -r /gone; rm -r /data/deep; mkdir /data/deep; echo x > /data/deep/x"
    with ck.LayerFS(rootdir, base) as root:
        assert ck.run(["/bin/sh", "-c", script], ns.User(), ns.Mount(), root, timeout=30).exit_code == 0
        os.link(root.upper / "data" / "file", root.upper / "data" / "hard")
        data = written(write_upper, root.upper, TarOptions())
    assert names(data) == [
        b"data", b"data/deep", b"data/deep/.wh..wh..opq", b"data/deep/x", b"data/file", b"data/hard", b".wh.gone",
    ]  # fmt: skip
    assert [entry.linkname for entry in entries(data) if entry.kind == "hardlink"] == [b"data/file"]
    assert all(not entry.xattrs for entry in entries(data)), "what overlayfs notes for itself stays out"
    plain.mkdir()
    put(data, plain)
    assert (plain / "data" / "hard").read_text() == "new\n"


@pytest.mark.parametrize("prefix", ["user", "trusted"] if ROOT else ["user"])
def test_an_upper_directory_with_what_overlayfs_writes(prefix: str, tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    os.setxattr(tmp_path / "o", f"{prefix}.overlay.opaque", b"y")
    os.setxattr(tmp_path / "o", f"{prefix}.overlay.origin", b"o")
    os.mknod(tmp_path / "gone", stat.S_IFCHR, 0)
    (tmp_path / "x").mkdir()
    os.setxattr(tmp_path / "x", f"{prefix}.overlay.opaque", b"x")
    for name in ("empty", "gone"):
        (tmp_path / "x" / name).touch()
    os.setxattr(tmp_path / "x" / "gone", f"{prefix}.overlay.whiteout", b"")
    data = written(write_upper, tmp_path, TarOptions(ids=IDS))
    assert names(data) == [b".wh.gone", b"o", b"o/.wh..wh..opq", b"x", b"x/empty", b"x/.wh.gone"]


@pytest.mark.parametrize("word", ["metacopy", "redirect"])
def test_a_layer_that_is_not_whole_is_refused(word: str, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    os.setxattr(tmp_path / "x", f"user.overlay.{word}", b"")
    with pytest.raises(Unsupported, match=word):
        written(write_upper, tmp_path, TarOptions(ids=IDS))


def test_no_time_is_later_than_the_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").touch()
    os.utime(tmp_path / "f", ns=(0, 5_500_000_000))
    assert entries(written(write_tree, tmp_path, TarOptions(epoch=100)))[1].mtime == 5_000_000_000
    assert entries(written(write_tree, tmp_path, TarOptions(nanoseconds=True)))[1].mtime == 5_500_000_000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "3")
    assert {entry.mtime for entry in entries(written(write_tree, tmp_path, TarOptions()))} == {3_000_000_000}


def test_the_order_of_making_does_not_count(tmp_path: Path) -> None:
    for directory, order in (("one", "abc"), ("two", "cab")):
        (tmp_path / directory).mkdir()
        for name in order:
            (tmp_path / directory / name).write_text(name)
    assert written(write_tree, tmp_path / "one", TarOptions(epoch=0)) == written(write_tree, tmp_path / "two", TarOptions(epoch=0))


def test_names_that_mean_deletions_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".wh.x").touch()
    with pytest.raises(InvalidLayer, match="deletion"):
        written(write_tree, tmp_path, TarOptions())


def test_a_tree_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 12)).mkdir(parents=True)
    with pytest.raises(LimitExceeded):
        written(write_tree, tmp_path, TarOptions(depth=10))


def test_only_what_changed_and_the_way_to_it(tmp_path: Path) -> None:
    for tree in ("old", "new"):
        (tmp_path / tree / "same" / "below").mkdir(parents=True)
        (tmp_path / tree / "way" / "down").mkdir(parents=True)
        (tmp_path / tree / "way" / "down" / "file").write_text(tree)
        (tmp_path / tree / "way" / "other").write_text("same")
        os.utime(tmp_path / tree / "way" / "other", (0, 0))
        os.utime(tmp_path / tree / "way" / "down" / "file", (0, 0))
        for here, _, _ in os.walk(tmp_path / tree):
            os.utime(here, (0, 0))
    data = written(write_difference, tmp_path / "old", tmp_path / "new", TarOptions())
    assert names(data) == [b".", b"way", b"way/down", b"way/down/file"]


@pytest.mark.root
def test_owners_are_shifted_back(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    os.chown(tmp_path, 100_000, 100_000)
    os.chown(tmp_path / "f", 100_005, 100_006)
    found = entries(written(write_tree, tmp_path, TarOptions(ids=Ids.shifted(100_000))))
    assert [(entry.uid, entry.gid) for entry in found] == [(0, 0), (5, 6)]
    with pytest.raises(InvalidLayer, match="not mapped"):
        written(write_tree, tmp_path, TarOptions(ids=Ids.shifted(200_000)))


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, "tests/kernel/test_diff.py", "-k", "not difference_turns")
