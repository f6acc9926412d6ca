"""Looking after a store while others use it: `fsck` and `usage` beside `put`, `remove`, `gc`, and beside any of them killed."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sample_images import Sample, base, image_of, tar_of

from containerkit.image.blobs import Blobs
from containerkit.image.content import Found, reach
from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
from containerkit.image.image import Image
from containerkit.store import fsck
from containerkit.store.store import Store
from containerkit.store.unpacked import UnpackedLayers, first_difference

TESTS = Path(__file__).parent
CHURN = """
import itertools, os, sys
sys.path.insert(0, sys.argv[2])
from sample_images import Sample, base, image_of, tar_of
from containerkit.store.store import Store
store = Store(sys.argv[1])
print("begun", flush=True)
for number in itertools.count():
    names = [f"x{k}:1" for k in range(4)]
    for name in names:
        store.put(image_of(Sample(base(), tar_of({"a": b"%d" % (number % 3)}), Cmd=[name])), name)
    store.layers(names[0])
    for name in names:
        store.remove(name)
    store.gc(untagged=True)
"""
FSCK = """
import sys
from containerkit.store.store import Store
print("begun", flush=True)
while True:
    Store(sys.argv[1]).fsck(repair=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@contextmanager
def running(script: str, store: Store) -> Iterator[subprocess.Popen[str]]:
    """A program that works in the store until it is killed at the end."""
    command = [sys.executable, "-c", script, str(store.directory), str(TESTS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process
        assert process.poll() is None, "it should have gone on"
    finally:
        process.kill()
        process.communicate()


def kept(store: Store) -> Image:
    return store.put(image_of(Sample(base(), tar_of({"kept": b"1" * 1000}), Cmd=["kept"])), "kept:1")


def damage(path: Path | str) -> bytes:
    """Turns one byte.  Returns what was there."""
    before = Path(path).read_bytes()
    Path(path).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    return before


def test_what_is_collected_meanwhile_is_no_damage(store: Store) -> None:
    kept(store)
    store.layers("kept:1")
    with running(CHURN, store):
        for _ in range(60):
            assert store.fsck() == ()
            assert store.usage().blobs >= 4
    assert store.fsck() == ()


def once(action: Callable[[], object]) -> Callable[[], None]:
    """Does it the first time only."""
    left = iter([action])

    def act() -> None:
        for each in left:
            each()

    return act


def forget(store: Store) -> None:
    store.remove("kept:1")
    store.gc()


def again(store: Store) -> None:
    kept(store)
    store.layers("kept:1")


def test_a_blob_that_goes_while_it_is_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(store)
    go = once(lambda: forget(store))

    def named(text: str) -> Digest:
        go()
        return Digest(text)

    monkeypatch.setattr(fsck, "Digest", named)
    monkeypatch.setattr(named, "finish", Digest.finish, raising=False)
    assert store.fsck(layers=False) == ()


def test_an_image_that_goes_and_comes_back_while_it_is_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(store)
    go, back = once(lambda: forget(store)), once(lambda: kept(store))

    def reached(blobs: Blobs, *roots: Descriptor) -> Iterator[Found]:
        go()
        try:
            yield from reach(blobs, *roots)
        finally:
            back()

    monkeypatch.setattr(fsck, "reach", reached)
    assert store.fsck(layers=False) == ()


def test_a_layer_that_goes_and_comes_back_while_it_is_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    again(store)
    go, back = once(lambda: forget(store)), once(lambda: again(store))

    def compared(one: Path, other: Path) -> str:
        go()
        try:
            return first_difference(one, other)
        finally:
            back()

    monkeypatch.setattr(fsck, "first_difference", compared)
    assert store.fsck() == ()


def test_a_layer_that_comes_while_strangers_are_looked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(store)
    looks, every = itertools.count(), UnpackedLayers._all

    def listed(trees: UnpackedLayers) -> list[Path]:
        if next(looks) == 1:
            store.layers("kept:1")
        return every(trees)

    monkeypatch.setattr(UnpackedLayers, "_all", listed)
    assert store.fsck() == ()
    assert next(looks) > 1


def test_damage_is_found_whatever_is_collected_meanwhile(store: Store) -> None:
    image = kept(store)
    store.layers("kept:1")
    layer, tree = store.blobs.path(image.layers[1].digest), store.trees.path(image.chain_ids[1]) / "kept"
    with running(CHURN, store):
        for _ in range(3):
            before = damage(layer)
            assert {(each.what, each.name) for each in store.fsck(layers=False)} == {("blob", image.layers[1].digest)}
            Path(layer).write_bytes(before)
            os.rename(layer, f"{layer}.away")
            assert ("image", "docker.io/library/kept:1") in {(each.what, each.name) for each in store.fsck(layers=False)}
            os.rename(f"{layer}.away", layer)
            before = damage(tree)
            assert [(each.what, each.name) for each in store.fsck()] == [("layer", image.chain_ids[1])]
            tree.write_bytes(before)


def test_repair_beside_collecting_takes_nothing_that_is_right(store: Store) -> None:
    image = kept(store)
    with running(CHURN, store):
        for _ in range(10):
            assert store.fsck(repair=True) == ()
            damage(store.blobs.path(image.layers[1].digest))
            assert [each.name for each in store.fsck(repair=True, layers=False) if each.what == "blob"] == [image.layers[1].digest]
            kept(store)
    assert store.fsck() == ()
    assert len(list((store.directory / "damaged").iterdir())) == 10


@pytest.mark.parametrize("script", [CHURN, FSCK], ids=["gc", "fsck"])
def test_whichever_is_killed_leaves_no_damage(store: Store, script: str) -> None:
    """And what it left behind goes with the next one."""
    image, rng = kept(store), random.Random(script)
    for _ in range(8):
        if script == FSCK:
            damage(store.blobs.path(image.layers[1].digest))
        with running(script, store) as process:
            for _ in range(rng.randrange(1, 4)):
                store.put(image_of(Sample(base(), Cmd=[str(rng.random())])), "other:1")
                store.gc(untagged=True)
            os.kill(process.pid, signal.SIGSTOP)  # at some moment
        kept(store)
        assert [each for each in store.fsck() if each.name != image.layers[1].digest] == []
        store.fsck(repair=True)
        kept(store)
    store.gc(untagged=True)
    assert store.fsck() == ()
    assert os.listdir(store.directory / "staging") == []
    assert {image.digest, image.id, *(each.digest for each in image.layers)} <= set(store.blobs)
