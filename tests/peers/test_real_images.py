"""Images as people have them: run by root and by others, built on, saved, loaded by podman, flattened; beside what podman makes of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from builds import entries, text
from conftest import User
from peertools import Containers, in_memory, private
from real_images import REAL, SPARSE, Bench, Real
from real_trees import Tree, look

from containerkit.builder import build
from containerkit.image.files import layout
from containerkit.image.files.named_images import named
from containerkit.image.image import Image
from containerkit.image.index import Index
from containerkit.store.store import Store

pytestmark = [pytest.mark.peer, pytest.mark.root, pytest.mark.timeout(400)]

TESTS = Path(__file__).resolve().parent.parent
PROGRAM = [sys.executable, "-m", "containerkit"]
OVERLAY = """\
cd "$1" && mkdir shown && mount -t overlay overlay -o "ro,$2lowerdir=$3" shown && exec "$4" "$5" shown
"""


@dataclass
class World:
    """Every image is made once, by the first test that wants it; one that cannot be made fails each of its tests.

    :ivar store: root's, with every image under its name
    """

    directory: Path
    bench: Bench
    store: Store
    theirs: Containers
    _made: dict[str, Image | Index | Exception] = field(default_factory=dict)
    _trees: dict[str, Tree] = field(default_factory=dict)

    def image(self, real: Real) -> Image:
        made = self.made(real)
        return made.image() if isinstance(made, Index) else made

    def made(self, real: Real) -> Image | Index:
        if real.name not in self._made:
            try:
                self._made[real.name] = self.store.put(real.make(self.bench), real.name)
            except Exception as error:
                self._made[real.name] = error
        if isinstance(found := self._made[real.name], Exception):
            raise found
        return found

    def saved(self, real: Real) -> Path:
        """What `containerkit save` writes: a docker-archive, or an index as it is."""
        path = self.directory / f"{real.name}.tar"
        if not path.exists():
            form = "oci-archive" if isinstance(self.made(real), Index) else "docker-archive"
            self.cli("save", "-o", path, f"--format={form}", real.name)
        return path

    def cli(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [*PROGRAM, "--store", self.store.directory, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"]})

    def loaded(self, real: Real) -> str:
        """The id that podman has loaded it under."""
        name = self.image(real).id.hex
        if not (self.theirs.directory / "storage/vfs-images" / name).exists():
            self.theirs.podman("load", "-q", "-i", self.saved(real))
        return name

    def extracted(self, real: Real) -> Tree:
        """What extract makes of it."""
        if real.name not in self._trees:
            self._trees[real.name] = extracted(self.image(real))
        return self._trees[real.name]


def extracted(image: Image) -> Tree:
    with in_memory("extracted") as place:
        image.extract(place / "root")
        return look(place / "root")


@pytest.fixture(scope="module")
def world(debian: Path) -> Iterator[World]:
    with in_memory("real") as directory:
        theirs = Containers.at(directory / "theirs")
        yield World(directory, Bench(directory, debian), Store(directory / "store"), theirs)


each = pytest.mark.parametrize("real", REAL, ids=str)
asked = pytest.mark.parametrize("real", [real for real in REAL if not real.podman], ids=str)
with_tree = pytest.mark.parametrize("real", [real for real in REAL if not real.plain], ids=str)
anybody = pytest.mark.parametrize("real", [real for real in REAL if not real.alone and not real.plain], ids=str)


def same(found: Tree, expected: Tree) -> None:
    wrong = {name: (found.get(name), expected.get(name)) for name in {*found, *expected} if found.get(name) != expected.get(name)}
    assert not wrong, "\n".join(f"{name!r}: {have}, expected {want}" for name, (have, want) in sorted(wrong.items())[:20])


# Run -------------------------------------------------------------------------------------------------------------


@each
def test_root_runs_it(world: World, real: Real) -> None:
    world.made(real)
    done = world.run("run", *real.options, real.name, *real.argv)
    assert (done.returncode, done.stdout) == (real.code, real.said), done.stderr


@pytest.fixture(scope="module")
def user_store(as_user: User) -> Path:
    return as_user.directory / "real-images"


@anybody
def test_an_ordinary_user_loads_and_runs_it(world: World, as_user: User, user_store: Path, real: Real) -> None:
    """What an ordinary user may not make, devices and files' capabilities, is left out because it is said so."""
    command = [*PROGRAM, "--store", user_store, "--skip", "devices", "--skip", "xattrs"]
    loaded = as_user.run(*command, "load", "-q", "-i", world.saved(real))
    assert loaded.returncode == 0, loaded.stderr
    name = real.name if isinstance(world.made(real), Image) else str(world.made(real).digest)
    done = as_user.run(*command, "run", *real.options, name, *real.argv)
    assert (done.returncode, done.stdout) == (real.code, real.said), done.stderr


@asked
def test_podman_runs_it_the_same_way(world: World, real: Real) -> None:
    cgroup = f"containerkit-peer-{os.getpid()}"
    argv = [*private(world.theirs.directory, "-p", "-f", "--kill-child", "--mount-proc"), sys.executable, TESTS / "podman_runs.py"]
    try:
        done = subprocess.run(
            [*argv, f"/{cgroup}", "--", *real.options, world.loaded(real), *real.argv],
            capture_output=True, text=True, timeout=60, check=True, env=world.theirs.environment,
        )  # fmt: skip
    finally:
        remove_groups(cgroup)
    said = json.loads(done.stdout)
    assert (said["code"], said["said"]) == (real.code, real.said), said["complained"]


def remove_groups(name: str) -> None:
    """What podman leaves of them."""
    for path, _, _ in [walked for top in Path("/sys/fs/cgroup").glob(f"*/{name}") for walked in os.walk(top, topdown=False)]:
        with contextlib.suppress(FileNotFoundError):  # cpu and cpuacct are one, under two names
            os.rmdir(path)


# Built on --------------------------------------------------------------------------------------------------------

BUILT = "FROM {name}\nCOPY file /added/file\n{step}\n"


@each
def test_it_is_built_on(world: World, real: Real, tmp_path: Path) -> None:
    """A layer of a RUN has what the program wrote and nothing that we put there for it."""
    image = world.image(real)
    (tmp_path / "file").write_text("added\n")
    shell = "USER root\n" if real.step == "RUN echo made > /made" else ""
    dockerfile = BUILT.format(name=real.name, step=shell + real.step)
    built = build(tmp_path, dockerfile=dockerfile.encode(), store=world.store)
    copied, *ran = built.layers[len(image.layers) :]
    assert text(copied, "/added/file") == "added\n"
    assert set(entries(copied)) == {"added", "added/file"}
    made = {"made"} if "/made" in real.step else set()
    found = {name for layer in ran for name in entries(layer)}
    assert found - set(working_directories(image)) == made
    assert all(text(layer, "/made") == "made\n" for layer in ran if made)
    assert built.config.labels == image.config.labels


def working_directories(image: Image) -> Iterator[str]:
    """A RUN makes the working directory where it is not there."""
    words = image.config.working_dir.strip("/").split("/")
    return ("/".join(words[: at + 1]) for at in range(len(words)))


# Trees -----------------------------------------------------------------------------------------------------------


@with_tree
def test_podman_unpacks_it_to_the_same_tree(world: World, real: Real) -> None:
    """But for times before 1970, which podman and docker have none of."""
    expected = {name: [*one[:3], max(0, int(str(one[3]))), *one[4:]] for name, one in world.extracted(real).items()}
    same(look(world.theirs.root_of(world.loaded(real))), expected)


@with_tree
def test_flattened_it_is_the_same_tree(world: World, real: Real) -> None:
    image = world.image(real)
    flat = image.flatten(blobs=world.bench.blobs, compression="none")
    assert len(flat.layers) == 1
    same(extracted(flat), world.extracted(real))
    kept = flat.config.with_(diff_ids=(), history=(), created="")
    assert kept == image.config.with_(diff_ids=(), history=(), created="")


@with_tree
def test_an_overlay_of_its_layers_is_the_same_tree(world: World, real: Real, tmp_path: Path) -> None:
    """What a container sees.  The layers have short names, for mount(2) takes a page of them."""
    with world.store.hold(world.image(real)) as layers:
        (tmp_path / "nothing").mkdir()
        for number, layer in enumerate(layers):
            (tmp_path / str(number)).symlink_to(layer)
        lowers = ":".join(["nothing", *map(str, reversed(range(len(layers))))])
        user = "userxattr," if world.store.trees.xattrs == "user" else ""
        argv = ["unshare", "-m", "sh", "-c", OVERLAY, "sh", tmp_path, user, lowers, sys.executable, TESTS / "real_trees.py"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    same(*(without_links(tree) for tree in (json.loads(done.stdout), world.extracted(real))))


def without_links(tree: Tree) -> Tree:
    """An overlay has no hard links from one layer to another."""
    return {name: one[:-1] for name, one in tree.items()}


def test_a_hole_of_gigabytes_takes_no_room(world: World, tmp_path: Path) -> None:
    """On disk, in a layer that is not compressed, in what is saved and in what is built of it."""
    (real,) = (real for real in REAL if real.name == "sparse_database")
    with world.store.hold(world.image(real)) as layers:
        (unpacked,) = (path for path in (layer / "var/lib/data.mdb" for layer in layers) if path.exists())
        assert (unpacked.stat().st_size, unpacked.stat().st_blocks < 1000) == (SPARSE, True)
    flat = world.image(real).flatten(blobs=world.bench.blobs, compression="none")
    assert flat.layers[0].size < 16 << 20
    assert world.saved(real).stat().st_size < 16 << 20
    built = build(
        tmp_path, dockerfile=f"FROM {real.name}\nRUN truncate -s {SPARSE} /hole && echo end >> /hole\n".encode(), store=world.store
    )
    assert built.layers[-1].size < 1 << 20
    built.save(tmp_path / "built.tar")
    assert Image.open(tmp_path / "built.tar").layers[-1].diff_id == built.layers[-1].diff_id


# Saved and loaded ------------------------------------------------------------------------------------------------


@each
def test_saved_by_podman_and_by_us_it_is_the_same_image(world: World, real: Real, tmp_path: Path) -> None:
    """podman keeps every byte of the config, and every layer's content; we keep the manifest too."""
    made, image = world.made(real), world.image(real)
    layout.write(tmp_path / "ours.tar", [(named(made.descriptor, real.name), made.blobs)], tar=True)
    saved = [tmp_path / "ours.tar", world.saved(real)]
    if not real.unsaved:
        saved.append(tmp_path / "theirs.tar")
        world.theirs.podman("save", "-q", "-o", saved[-1], world.loaded(real))
    for path in saved:
        again = Image.open(path)
        for layer in again.layers:
            assert sum(1 for _ in layer.entries()) >= 0  # read to its end it is what its digests say
        assert (again.id, again.config_data) == (image.id, image.config_data)
    assert Image.open(saved[0]) == image
