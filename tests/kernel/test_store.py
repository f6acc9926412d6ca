"""The store under kill -9, the order of its writes to the disk, and its layers as a root."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from registries import serving
from sample_images import base, tar_of
from support import REPO, again

import containerkit as ck
from containerkit import ns
from containerkit.image.config import ImageConfig
from containerkit.image.content import Found
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.store import fsck
from containerkit.store.store import Store

KILLS = int(os.environ.get("CK_KILLS", "60"))
WORKERS = REPO / "tests" / "store_workers.py"


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{REPO}:{REPO / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path, on the disk."""
    with tempfile.TemporaryDirectory(prefix="ck-store-") as path:
        yield Path(path)


@pytest.mark.unprivileged
def test_fsck_reports_nothing_that_gc_removes_meanwhile(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(place / "store")
    image = store.put(Image.of(ImageConfig(), [Layer.from_tar(io.BytesIO(tar_of({"f": b"x"})))]), "x")
    store.layers(image)
    real = fsck.reach

    def forgotten(*args: Any) -> Iterator[Found]:
        store.remove("x") if store.images() else None
        store.gc()
        return real(*args)

    monkeypatch.setattr(fsck, "reach", forgotten)
    assert store.fsck() == ()

    def removed(*args: Any) -> str:
        shutil.rmtree(store.trees.place(image.chain_ids[0]))
        raise FileNotFoundError("gone")

    image = store.put(Image.of(ImageConfig(), [Layer.from_tar(io.BytesIO(tar_of({"f": b"y"})))]), "x")
    store.layers(image)
    monkeypatch.setattr(fsck, "reach", real)
    monkeypatch.setattr(fsck, "first_difference", removed)
    assert store.fsck() == ()


# kill -9 --------------------------------------------------------------------------------------------------------


def possible(lines: list[str]) -> dict[str, set[str]]:
    """Return the digests that each name may have: the last acknowledged one, and those begun later; "" is no image."""
    found: dict[str, set[str]] = {}
    for line in lines:
        how, *words = line.split()
        if how == "killed" or words[0] not in ("put", "pull", "build", "untag"):
            continue
        verb, name, digest = words
        leads = {"" if verb == "untag" else digest}
        found[name] = leads if how == "done" else found.get(name, {""}) | leads
    return found


@pytest.mark.timeout(60 + KILLS * 2)
def test_two_processes_killed_at_random_moments_lose_nothing(place: Path) -> None:
    seed = random.randrange(1 << 30)
    log = place / "log"
    with serving(place / "registry") as server:
        argv = [sys.executable, str(WORKERS), str(place / "store"), str(log), str(KILLS), str(seed), server.host]
        done = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert not [line for line in lines if line.startswith("failed")], f"seed {seed}"
    counts = Counter(line.split()[0] for line in lines)
    assert counts["killed"] == KILLS
    acknowledged = Counter(line.split()[1] for line in lines if line.startswith("done"))
    begun = Counter(line.split()[1] for line in lines if line.startswith("begin"))
    print(f"seed {seed}: begun {dict(begun)}, acknowledged {dict(acknowledged)}")
    assert acknowledged.keys() >= {"put", "pull", "hold"}, "hardly anything was done between the kills"
    assert begun["build"]
    store = Store(place / "store")
    assert store.fsck() == (), f"seed {seed}"
    there = {name: stored.digest for stored in store.images() for name in stored.familiar}
    wrong = {name: (digests, there.get(name)) for name, digests in possible(lines).items() if there.get(name, "") not in digests}
    assert wrong == {}, f"seed {seed}"
    assert list((place / "store" / "staging").iterdir()) == []
    for name in there:
        assert all(layer.is_dir() for layer in store.layers(name))
    store.gc(untagged=True)
    assert store.fsck() == ()


def test_possible_names_follow_from_the_log() -> None:
    lines = ["begin put a 1", "done put a 1", "begin put a 2", "killed", "begin untag b 0", "begin hold c 1", "begin put d 1"]
    assert possible(lines) == {"a": {"1", "2"}, "b": {""}, "d": {"", "1"}}


# The disk -------------------------------------------------------------------------------------------------------

PUT = """
import sys
from sample_images import Sample, base, image_of, tar_of
from containerkit.store.store import Store
store = Store(sys.argv[1])
image = image_of(Sample(base(), tar_of({"a": b"a"})))
print("begin", flush=True)
store.put(image, "app:1")
store.layers("app:1")
"""


def traced(place: Path) -> list[tuple[str, list[str]]]:
    """Return the calls of a put and an unpacking in order, each with its paths."""
    strace = shutil.which("strace") or pytest.skip("needs strace")
    argv = [strace, "-f", "-qq", "-y", "-s", "500", "-e", "trace=fsync,syncfs,rename,renameat,renameat2", "-e", "status=successful"]
    argv += ["-o", str(place / "trace"), sys.executable, "-c", PUT, str(place / "store")]
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    calls = []
    for line in (place / "trace").read_text().splitlines():
        if found := re.match(r"\d+ +(\w+)\((.*)\) += 0", line):
            calls.append((found[1], re.findall(r'["<](/[^">]*)[">]', found[2])))
    return calls


def test_files_are_synced_before_they_get_their_names(place: Path) -> None:
    """Killing a process does not show a missing sync; only a power failure would."""
    store, synced, named, layers = str(place / "store"), set[str](), [], 0
    for call, paths in traced(place):
        if call in ("fsync", "syncfs"):
            synced.update(paths)
            continue
        source, target = paths
        relative = target.removeprefix(f"{store}/")
        assert source in synced, f"{relative} had its name before it was on the disk"
        if relative == "index.json":
            blobs = {os.path.dirname(path) for path in named if path.startswith("blobs/")}
            assert {f"{store}/{path}" for path in blobs} <= synced, "the name came before the blobs"
        if relative.startswith("blobs/"):
            synced.discard(f"{store}/{os.path.dirname(relative)}")
        layers += relative.startswith("layers/")
        named.append(relative)
    assert layers == 2
    assert sum(path.startswith("blobs/") for path in named) == 4
    assert named[-3] == "index.json"
    assert store in synced


# As a root ------------------------------------------------------------------------------------------------------


def run_image(rootdir: Path, place: Path) -> list[str]:
    """Run a program in a root of three layers, of which the last deletes and replaces files."""
    changes = tar_of({"etc/.wh.hosts": b"", "hello": b"hello\n", "opt": None, "opt/.wh..wh..opq": b"", "opt/new": b""})
    lower = tar_of({"opt": None, "opt/old": b""})
    image = Image.of(
        ImageConfig(cmd=("sh",)), [Layer.from_directory(rootdir), Layer.from_tar(open_bytes(lower)), Layer.from_tar(open_bytes(changes))]
    )
    store = Store(place / "store")
    store.put(image, "app")
    with store.hold("app") as layers:
        script = "cat /hello; ls /opt; ls /etc | grep -c hosts; id -u"
        result = ck.run(["/bin/sh", "-c", script.replace("| grep -c hosts", "")], ns.User(), ns.Mount(), ck.LayerFS(*layers, readonly=True))
    assert result.exit_code == 0, result.stderr
    return result.text.split()


def open_bytes(data: bytes) -> object:
    import io

    return io.BytesIO(data)


def test_layers_become_a_root(rootdir: Path, place: Path) -> None:
    words = run_image(rootdir, place)
    assert words[:2] == ["hello", "new"]
    assert "old" not in words
    assert "hosts" not in words
    assert "passwd" in words


@pytest.mark.unprivileged
def test_layers_become_a_root_for_an_ordinary_user(rootdir: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ck-store-") as path:
        words = run_image(rootdir, Path(path))
    assert words[:2] == ["hello", "new"]
    assert "hosts" not in words


@pytest.mark.unprivileged
def test_an_ordinary_users_store_is_below_the_home_directory() -> None:
    with tempfile.TemporaryDirectory(prefix="ck-store-") as path:
        os.environ["XDG_DATA_HOME"] = path
        try:
            store = Store()
        finally:
            del os.environ["XDG_DATA_HOME"]
        assert store.directory == Path(path) / "containerkit" / "store"
        store.put(Image.of(ImageConfig(), [Layer.from_tar(open_bytes(base()))]), "app")
        assert (store.layers("app")[0] / "big").stat().st_uid == os.getuid()
        assert store.fsck() == ()


@pytest.mark.root
@pytest.mark.parametrize("file", ["store", "layout", "archive"])
def test_image_tests_pass_for_an_ordinary_user(as_user: object, file: str) -> None:
    again(as_user, f"tests/test_image_{file}.py")
