"""LayerFS without a kernel: what it refuses, and how it reads an upper directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import containerkit as ck
from containerkit import ns
from containerkit.layers.changes import Change, changes, usage
from containerkit.layers.merged import is_whiteout
from containerkit.state.scratch import Scratch, sweep


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    (tmp_path / "lower" / "d").mkdir(parents=True)
    (tmp_path / "lower" / "f").write_text("f")
    (tmp_path / "lower" / "d" / "x").write_text("x")
    return tmp_path / "lower"


def test_no_layers() -> None:
    with pytest.raises(ck.PlanError, match="1 to 500 layers"):
        ck.LayerFS()


def test_too_many_layers(tmp_path: Path) -> None:
    with pytest.raises(ck.PlanError, match="1 to 500 layers, not 501"):
        ck.LayerFS(*[tmp_path / str(i) for i in range(501)])


def test_a_layer_is_a_directory(lower: Path) -> None:
    with pytest.raises(ck.PlanError, match="a layer is a directory"):
        ck.LayerFS(lower / "f")


def test_a_layer_is_there_once(lower: Path) -> None:
    with pytest.raises(ck.PlanError, match="named twice"):
        ck.LayerFS(lower, lower / "d" / "..")


def test_a_nul_in_a_path() -> None:
    with pytest.raises(ck.PlanError, match="NUL"):
        ck.LayerFS("/tmp\0x")


def test_readonly_keeps_nothing(lower: Path, tmp_path: Path) -> None:
    with pytest.raises(ck.PlanError, match="keeps no changes"):
        ck.LayerFS(lower, readonly=True, directory=tmp_path)


def test_unknown_xattrs(lower: Path) -> None:
    with pytest.raises(ck.PlanError, match="'user' or 'trusted'"):
        ck.LayerFS(lower, xattrs="security")


def test_it_wants_to_be_entered(lower: Path) -> None:
    with pytest.raises(ck.PlanError, match="enter it first"):
        ck.plan(ns.User(), ns.Mount(), ck.LayerFS(lower), run=["/x"])


def test_it_is_entered_once(lower: Path) -> None:
    with ck.LayerFS(lower) as root, pytest.raises(ck.LayerError, match="entered already"):
        root.__enter__()


def test_two_roots(lower: Path) -> None:
    view = ck.LayerFS(lower, readonly=True)
    with pytest.raises(ck.PlanError, match="two parts claim the root"):
        ck.plan(ns.Mount(), view, ck.mounts.Root(lower), run=["/x"])


def test_a_root_needs_a_mount_namespace(lower: Path) -> None:
    with pytest.raises(ck.PlanError, match=r"ns\.Mount\(\)"):
        ck.plan(ck.LayerFS(lower, readonly=True), run=["/x"])


def test_another_layerfs_stands_for_its_layers(lower: Path, tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    assert ck.LayerFS(ck.LayerFS(lower), tmp_path / "top").lowers == (lower, tmp_path / "top")


def test_it_leaves_nothing(lower: Path, tmp_path: Path) -> None:
    with ck.LayerFS(lower, scratch=tmp_path) as root:
        locked = root.upper / "locked"
        locked.mkdir()
        (locked / "f").touch()
        locked.chmod(0)
    assert [p.name for p in tmp_path.iterdir()] == ["lower"]


def test_changes_of_an_upper_made_by_hand(lower: Path, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "d").mkdir(parents=True)
    (upper / "d" / "new").touch()
    (upper / "f").write_text("other")
    assert list(changes(upper, [lower])) == [Change("/d/new", "added"), Change("/f", "modified")]


def test_an_opaque_directory_made_by_hand(lower: Path, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "d" / "sub").mkdir(parents=True)
    try:
        os.setxattr(upper / "d", "user.overlay.opaque", b"y")
    except OSError:
        pytest.skip("this file system has no user extended attributes")
    assert [str(c) for c in changes(upper, [lower])] == ["added    /d/sub", "deleted  /d/x"]


def test_lower_layers_hide_each_other(lower: Path, tmp_path: Path) -> None:
    middle, upper = tmp_path / "middle", tmp_path / "upper"
    middle.mkdir()
    (middle / "d").write_text("a file now")
    (upper / "d").mkdir(parents=True)
    (upper / "d" / "x").touch()
    assert [str(c) for c in changes(upper, [lower, middle])] == ["modified /d", "added    /d/x"]


def test_a_changed_mode_is_a_change(lower: Path, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "d").mkdir(parents=True)
    (upper / "d").chmod(0o711)
    assert [str(c) for c in changes(upper, [lower])] == ["modified /d"]


def test_usage_counts_a_file_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(8192))
    os.link(tmp_path / "a", tmp_path / "b")
    found = usage(tmp_path)
    assert (found.bytes, found.entries) == ((tmp_path / "a").stat().st_blocks * 512, 2)


def test_a_sweep_takes_only_what_is_scratch(tmp_path: Path) -> None:
    """A source tree, or the kept changes of a LayerFS, may bear such a name too; a lock that was never taken leaves it empty."""
    for name, content in ("containerkit-0.1", "setup.py"), ("containerkit-half", "locking"), ("containerkit-layer-x", "lock"):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).touch()
        os.utime(tmp_path / name, (1, 1))
    assert {path.name for path in sweep(tmp_path)} == {"containerkit-half", "containerkit-layer-x"}
    assert (tmp_path / "containerkit-0.1" / "setup.py").exists()


def test_a_removal_that_was_cut_short_is_swept_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = Scratch("layer", tmp_path)
    for name in "abcdef":
        (scratch.path / name).mkdir()

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rmdir", cut)
    with pytest.raises(KeyboardInterrupt):
        scratch.close()
    monkeypatch.undo()
    assert scratch.path.exists()
    assert sweep(tmp_path) == [scratch.path]


def test_null_is_no_whiteout() -> None:
    assert not is_whiteout(os.stat("/dev/null"))
