"""Scratch directories: gone when their owner is, and removed without following links."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

import containerkit as ck
from containerkit.state.scratch import Scratch, listed, remove, sweep


def test_a_scratch_directory_is_gone_when_closed(tmp_path: Path) -> None:
    scratch = Scratch("test", tmp_path)
    (scratch.path / "file").touch()
    assert sweep(tmp_path) == [], "its owner lives"
    scratch.close()
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_let_go_is_swept(tmp_path: Path) -> None:
    scratch = Scratch("test", tmp_path)
    assert listed(tmp_path) == [(scratch.path, False)]
    scratch.let_go()
    assert listed(tmp_path) == [(scratch.path, True)]
    assert sweep(tmp_path) == [scratch.path]
    assert not scratch.path.exists()


def test_directories_that_deny_their_owner(tmp_path: Path) -> None:
    inner = tmp_path / "top" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "f").touch()
    for directory, mode in ((inner, 0o500), (inner.parent, 0o000), (inner.parent.parent, 0o100)):
        directory.chmod(mode)
    remove(tmp_path / "top")
    assert list(tmp_path.iterdir()) == []


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(kept)
    remove(tmp_path / "top")
    remove_link = tmp_path / "link"
    remove_link.symlink_to(kept)
    remove(remove_link)
    assert (kept / "file").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept"]


def test_what_is_gone_is_no_failure(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")


def test_a_tree_deeper_than_files_may_be_open(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_PATH)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_PATH, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove(top)
    assert not top.exists()


@pytest.mark.timeout(60)
def test_a_directory_that_becomes_a_link_meanwhile(tmp_path: Path) -> None:
    """A program inside swaps directories for links while the tree is removed: the links' targets stay."""
    kept = tmp_path / "kept"
    kept.mkdir()
    for i in range(50):
        (kept / f"file{i}").touch()
    stop = threading.Event()

    def swap(top: Path) -> None:
        while not stop.is_set():
            for i in range(20):
                try:
                    os.rename(top / f"d{i}", top / f"moved{i}")
                    os.symlink(kept, top / f"d{i}")
                except OSError:
                    continue

    for _ in range(20):
        top = tmp_path / "top"
        top.mkdir()
        for i in range(20):
            (top / f"d{i}" / "inner").mkdir(parents=True)
            (top / f"d{i}").chmod(0o000)
        attacker = threading.Thread(target=swap, args=(top,))
        attacker.start()
        try:
            remove(top)
        except ck.LayerError:
            pass  # it kept making new ones: not removed, but nothing else either
        finally:
            stop.set()
            attacker.join()
            stop.clear()
        if top.exists():
            remove(top)
        assert len(list(kept.iterdir())) == 50


@pytest.mark.root
def test_what_is_mounted_there_is_not_emptied(tmp_path: Path) -> None:
    """As the changes of an overlay are, which its owner mounted on the host and keeps: the owner was killed before it could unmount it."""
    kept = tmp_path / "kept"
    (kept / "deep").mkdir(parents=True)
    (kept / "deep/file").touch()
    scratch = Scratch("test", tmp_path)
    (scratch.path / "root").mkdir()
    subprocess.run(["mount", "--bind", kept, scratch.path / "root"], check=True)
    try:
        scratch.let_go()
        assert sweep(tmp_path) == []
        assert (kept / "deep/file").exists()
        with pytest.raises(ck.LayerError):
            remove(scratch.path / "root")
        assert (kept / "deep/file").exists()
    finally:
        subprocess.run(["umount", scratch.path / "root"], check=True)
    assert sweep(tmp_path) == [scratch.path]
