"""LayerFS over images: unpacked where their store is, held for as long as they are looked at, and changes as a layer."""

from __future__ import annotations

import atexit
import gc
import os
from pathlib import Path

import pytest

import containerkit as ck
from containerkit import ns
from containerkit.image.errors import Unsupported


@pytest.fixture
def store(tmp_path: Path) -> ck.Store:
    return ck.Store(tmp_path / "store")


@pytest.fixture
def image(store: ck.Store, rootdir: Path) -> ck.Image:
    return store.put(ck.Image.scratch().append(ck.Layer.from_directory(rootdir), history="programs"), "programs")


def held(store: ck.Store) -> int:
    return len(os.listdir(store.directory / "staging"))


def said(root: ck.LayerFS, *argv: str) -> str:
    return ck.run(argv, ns.User(), ns.Mount(), ns.Pid(), root, check=True).text


def test_it_is_unpacked_in_the_store_that_it_is_from(store: ck.Store, image: ck.Image) -> None:
    with ck.LayerFS(image) as root:
        assert root.lowers == tuple(store.trees.path(chain) for chain in image.chain_ids)
        assert said(root, "hostname")


def test_nobody_collects_it_meanwhile(store: ck.Store, image: ck.Image) -> None:
    with ck.LayerFS(image) as root:
        store.remove("programs")
        store.gc()
        assert said(root, "sh", "-c", "echo there") == "there\n"
    assert held(store) == 0
    assert store.gc().layers
    assert not list(store.trees)


def test_an_image_from_elsewhere_needs_no_name(tmp_path: Path, store: ck.Store, image: ck.Image) -> None:
    image.save(tmp_path / "app.tar", "app")
    other = ck.Store(tmp_path / "other")
    with other.hold(ck.Image.open(tmp_path / "app.tar")) as layers, ck.LayerFS(*layers) as root:
        assert said(root, "sh", "-c", "echo there") == "there\n"
    assert other.images() == ()


def test_a_read_only_one_is_let_go_with_the_last_that_names_it(store: ck.Store, image: ck.Image) -> None:
    plan = ck.plan(ck.sandbox(image), run=["hostname"])
    assert held(store) == 1
    assert plan.run().text == "sandbox\n"
    del plan
    gc.collect()
    assert held(store) == 0


def test_a_forked_child_lets_nothing_go(store: ck.Store, image: ck.Image) -> None:
    with ck.LayerFS(image) as root:
        if (pid := os.fork()) == 0:
            try:
                atexit._run_exitfuncs()  # as any Python ends
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert held(store) == 1
        assert said(root, "hostname")


def test_images_directories_and_others_are_laid_over_each_other(tmp_path: Path, image: ck.Image) -> None:
    (tmp_path / "top" / "etc").mkdir(parents=True)
    (tmp_path / "top" / "etc" / "motd").write_text("over all\n")
    with ck.LayerFS(image, tmp_path / "top") as below, ck.LayerFS(below) as root:
        assert len(root.lowers) == len(image.layers) + 1
        assert said(root, "cat", "/etc/motd") == "over all\n"


def test_changes_become_a_layer_and_the_layer_an_image(store: ck.Store, image: ck.Image) -> None:
    with ck.LayerFS(image) as root:
        said(root, "sh", "-c", "mkdir /made; echo new > /made/file; rm /usr/bin/stat /bin/stat 2>/dev/null; true")
        layer = root.diff()
        assert {entry.name.decode() for entry in layer.entries()} >= {"made", "made/file"}
    changed = store.put(image.append(layer, history="made"), "changed")
    changed.validate()
    with ck.LayerFS(changed) as root:
        assert said(root, "cat", "/made/file") == "new\n"
        assert "stat" not in said(root, "ls", "/usr/bin").split()
    assert store.usage().blobs == 6  # two manifests, two configs, and two layers: the lower one is there once


def test_changes_are_not_written_down_while_they_are_made(image: ck.Image) -> None:
    with ck.LayerFS(image) as root:
        plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), root, run=["sleep", "100"])
        with plan.spawn(), pytest.raises(ck.LayerError, match="still mounted"):
            root.diff()


def test_the_temporary_file_of_a_layer_goes_with_it(tmp_path: Path, image: ck.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with ck.LayerFS(image, scratch=tmp_path) as root:
        layer = root.diff()
    assert list(tmp_path.glob("containerkit-blobs-*"))
    del layer
    gc.collect()
    assert not list(tmp_path.glob("containerkit-blobs-*"))


def test_a_store_with_other_attributes_is_refused(image: ck.Image) -> None:
    other = "trusted" if ck.LayerFS(image).xattrs == "user" else "user"
    with pytest.raises(Unsupported, match="attributes"):
        ck.LayerFS(image, xattrs=other).lowers  # noqa: B018


def test_making_one_touches_nothing(store: ck.Store, image: ck.Image) -> None:
    assert "not unpacked" in repr(ck.LayerFS(image))
    assert not list(store.trees)
    assert held(store) == 0
