"""The material of image benchmarks: a Debian root directory as a tree, as a tar, and as an image; and the storage of the peers.

The tree is made once by mmdebstrap, and kept below build/; a quick run uses this machine's own programs instead.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import containerkit as ck
from containerkit.errors import Unavailable
from containerkit.image.blobs import FileBlobs
from containerkit.rootfs import rootfs

from .ground import Ground
from .measure import Contender

KEPT = Path(__file__).resolve().parent.parent / "build" / "debian.tar"
SUITE = "bookworm"


@dataclass(frozen=True)
class Material:
    """The material, in one directory.

    :ivar directory: in memory; removed with the ground
    :ivar quick: use a small tree, only to see that everything runs
    """

    directory: Path
    quick: bool

    @classmethod
    def of(cls, ground: Ground, quick: bool) -> Material:
        directory = ground.directory / "material"
        directory.mkdir(exist_ok=True)
        return cls(directory, quick)

    @property
    def what(self) -> str:
        size = self.tar.stat().st_size / 1e6
        return f"{'A few programs of this machine' if self.quick else f'Debian {SUITE}, minbase'}: a tar of {size:.0f} MB."

    @cached_property
    def tar(self) -> Path:
        """The uncompressed layer."""
        if self.quick:
            target = self.directory / "small.tar"
            if not target.exists():
                tree = rootfs.from_programs(["sh", "ls", "cat"])
                subprocess.run(["tar", "--sort=name", "-cf", target, "-C", tree, "."], check=True)
            return target
        target = self.directory / "debian.tar"
        if not target.exists():
            shutil.copy(_debian(), target)
        return target

    def compressed(self, compression: str) -> Path:
        """Return the layer, compressed by a common command: gzip -6, zstd -3."""
        target = self.tar.with_suffix(f".tar.{compression}")
        if not target.exists():
            command = {"gzip": ["gzip", "-6", "-c"], "zstd": ["zstd", "-3", "-q", "-c"]}[compression]
            with open(target, "wb") as file:
                subprocess.run([needed(command[0]), *command[1:], self.tar], stdout=file, check=True)
        return target

    def image(self, compression: str) -> ck.Image:
        """Return an image of one layer, whose blob is the compressed file byte for byte; in an OCI layout called `layout`."""
        with open(self.compressed(compression), "rb") as file:
            layer = ck.Layer.from_tar(file, FileBlobs(self.directory / "made"))
        image = ck.Image.scratch().append(layer, history="debian")
        if not self.layout(compression).exists():
            image.save(self.layout(compression), "debian", tar=False)
        return image

    def layout(self, compression: str) -> Path:
        return self.directory / f"layout-{compression}"

    @cached_property
    def tree(self) -> Path:
        """The tree, unpacked by GNU tar."""
        target = self.directory / "tree"
        if not target.exists():
            target.mkdir()
            subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-xpf", self.tar, "-C", target], check=True)
        return target


def _debian() -> Path:
    if not KEPT.exists():
        program, made = needed("mmdebstrap"), KEPT.with_suffix(".part.tar")
        KEPT.parent.mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "TMPDIR": "/tmp"}
        subprocess.run([program, "--quiet", "--variant=minbase", "--mode=root", SUITE, made], check=True, env=environment)
        made.rename(KEPT)
    return KEPT


def needed(program: str) -> str:
    """Return the path of a program.  :raises Unavailable: it is not installed"""
    if not (found := shutil.which(program)):
        raise Unavailable(program, probed="PATH", remedy=f"apt-get install {program}")
    return found


def fresh(place: Path, run: Callable[[Path], object]) -> Contender:
    """Return a contender that works on a new directory and removes it; neither making nor removing is measured."""

    def runs(count: int) -> Sequence[float]:
        values = []
        for _ in range(count):
            shutil.rmtree(place, ignore_errors=True)
            begin = time.perf_counter_ns()
            run(place)
            values.append((time.perf_counter_ns() - begin) / 1e6)
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
        return values

    return runs


def command(*argv: str | Path, **options: object) -> None:
    """Run a peer; show its output only if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))} ended with {done.returncode}: {done.stderr[-2000:]}")


@dataclass(frozen=True)
class Containers:
    """podman and buildah with a storage of their own, all of it in memory.

    :ivar directory: holds everything
    :ivar insecure: registries to use over plain HTTP
    """

    directory: Path
    insecure: tuple[str, ...] = ()

    def __call__(self, program: str, *words: str | Path) -> None:
        command(needed(program), *words, env=self.environment)

    @cached_property
    def environment(self) -> dict[str, str]:
        own = self.directory / "conf"
        own.mkdir(parents=True, exist_ok=True)
        (own / "containers.conf").write_text(
            "[containers]\ndefault_ulimits = ['nofile=4096:4096', 'nproc=4096:4096']\n"
            "[engine]\ncgroup_manager = 'cgroupfs'\nevents_logger = 'file'\nruntime = 'runc'\n"
        )
        (own / "storage.conf").write_text(
            f"[storage]\ndriver = 'overlay'\nrunroot = '{self.directory}/run'\ngraphroot = '{self.directory}/graph'\n"
        )
        (own / "registries.conf").write_text("".join(f"[[registry]]\nlocation = '{r}'\ninsecure = true\n" for r in self.insecure))
        (own / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        names = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
        names["CONTAINERS_REGISTRIES_CONF"] = "registries.conf"
        return {"PATH": os.environ["PATH"], "HOME": str(own), "TMPDIR": str(self.directory)} | {
            name: str(own / file) for name, file in names.items()
        }


@contextmanager
def registry(directory: Path) -> Iterator[str]:
    """Yield a registry on this machine, as HOST:PORT."""
    program = needed("docker-registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    directory.mkdir(parents=True, exist_ok=True)
    config = {"version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}},
              "storage": {"filesystem": {"rootdirectory": str(directory / "blobs")}}, "http": {"addr": host}}  # fmt: skip
    (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with subprocess.Popen([program, "serve", directory / "config.yml"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as server:
        try:
            _answers(host)
            yield host
        finally:
            server.terminate()


def _answers(host: str, seconds: float = 20) -> None:
    name, _, port = host.partition(":")
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((name, int(port)), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
