"""What others made - podman, buildah, skopeo, umoci, docker - run so that nothing of it stays.

    theirs = Containers.at(tmp_path)            # podman, buildah and skopeo, with one storage between them
    theirs.podman("load", "-i", "image.tar")
    with dockerd(tmp_path) as docker:           # a daemon of the test's own, gone at the end of the block
        docker("load", "-i", "image.tar")

All they keep is in the directory they are given: they run in a mount namespace where /var/lib and /run are in it too.
A tool that is not there skips the test with "needs TOOL".
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support import until
from trees import look

from containerkit.image.image import Image

T, R = TypeVar("T"), TypeVar("R")
SHARED = "/dev/shm"
TIME = 60.0  # seconds that one command may take

# Limits of nofile and nproc are said because the defaults are above what a machine may allow; locks are files because the
# others are in /dev/shm for good.
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"
static_dir = "{directory}/static"
tmp_dir = "{directory}/tmp"
volume_path = "{directory}/volumes"
[network]
network_config_dir = "{directory}/networks"
"""
STORAGE = '[storage]\ndriver = "{driver}"\ngraphroot = "{directory}/storage"\nrunroot = "{directory}/runroot"\n'
REGISTRY = '[[registry]]\nlocation = "{host}"\ninsecure = true\n'
PRIVATE = 'mount --bind "$0/lib" /var/lib && mount --bind "$0/run" /run && exec "$@"'
DAEMON = ["--storage-driver=vfs", "--iptables=false", "--bridge=none", "--containerd-namespace=tests"]


def tool(name: str) -> str:
    """The path of a program, or a skip that names it."""
    return shutil.which(name) or pytest.skip(f"needs {name}")


def run(*command: str | Path, seconds: float = TIME, **options: object) -> str:
    """What it printed; it must end well."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return str(done.stdout)


def skopeo(*arguments: str | Path) -> str:
    """skopeo where it keeps nothing: between files.  With a registry use `Containers`."""
    return run(tool("skopeo"), "--insecure-policy", *arguments)


def umoci(*arguments: str | Path) -> str:
    """umoci keeps nothing of its own."""
    return run(tool("umoci"), *arguments)


@contextlib.contextmanager
def in_memory(name: str) -> Iterator[Path]:
    """A directory for thousands of small files: in memory where there is some.  Everybody may enter it."""
    with tempfile.TemporaryDirectory(prefix=f"ck-{name}-", dir=SHARED if os.path.isdir(SHARED) else None) as path:
        os.chmod(path, 0o755)
        yield Path(path)


def same_tree(root: Path, expected: Path, *, links: bool = True) -> None:
    """But for the directory itself, which has the mode, owner and time of whoever made it.

    :param links: hard links too
    """
    here, there = ({name: one if links else one[:-2] for name, one in look(path).items() if name != "."} for path in (root, expected))
    wrong = {name: (here.get(name), there.get(name)) for name in {*here, *there} if here.get(name) != there.get(name)}
    assert not wrong, f"{root} is not as {expected}: {wrong}"


def private(directory: Path, *unshared: str) -> list[str]:
    """What comes before a command so that its /var/lib and /run are in a directory, and its mounts are gone when it is."""
    for name in ("lib", "run"):
        (directory / name).mkdir(exist_ok=True)
    return [tool("unshare"), "-m", "--propagation", "private", *unshared, "sh", "-c", PRIVATE, str(directory)]


@dataclass(frozen=True)
class Containers:
    """podman, buildah and skopeo, with one storage between them.  Made by `at`.

    :ivar directory: where all of it is
    """

    directory: Path

    @classmethod
    def at(cls, directory: Path, *, driver: str = "vfs", plain_http: Sequence[str] = ()) -> Containers:
        """In a directory, which is made.

        :param plain_http: registries that speak no TLS, ``host:port`` each
        """
        if os.geteuid() != 0:
            pytest.skip("needs root")  # theirs as an ordinary user keep a process running for good
        directory.mkdir(parents=True, exist_ok=True)
        files = {
            "containers.conf": CONTAINERS.format(directory=directory),
            "storage.conf": STORAGE.format(directory=directory, driver=driver),
            "registries.conf": "".join(REGISTRY.format(host=host) for host in plain_http),
            "policy.json": json.dumps({"default": [{"type": "insecureAcceptAnything"}]}),
        }
        for name, text in files.items():
            (directory / name).write_text(text)
        return cls(directory)

    @property
    def environment(self) -> dict[str, str]:
        """None of the caller's but where programs are."""
        names = {"CONF": "containers", "STORAGE_CONF": "storage", "REGISTRIES_CONF": "registries"}
        made = {f"CONTAINERS_{name}": f"{self.directory / file}.conf" for name, file in names.items()}
        return {"PATH": os.environ["PATH"], "HOME": str(self.directory), "TMPDIR": str(self.directory)} | made

    def __call__(self, *command: str | Path, seconds: float = TIME) -> str:
        """Any program, with their settings and beside their storage."""
        return run(*private(self.directory), *command, env=self.environment, seconds=seconds)

    def podman(self, *arguments: str | Path) -> str:
        return self(tool("podman"), *arguments)

    def buildah(self, *arguments: str | Path, seconds: float = TIME) -> str:
        return self(tool("buildah"), *arguments, seconds=seconds)

    def skopeo(self, *arguments: str | Path) -> str:
        known = [f"--policy={self.directory}/policy.json", f"--registries-conf={self.directory}/registries.conf"]
        return self(tool("skopeo"), *known, *arguments)

    def _image(self, name: str) -> dict[str, Any]:
        images: list[dict[str, Any]] = json.loads((self.directory / "storage/vfs-images/images.json").read_bytes())
        (found,) = (each for each in images if name in (each["id"], *each.get("names", ())))
        return found

    def root_of(self, image: str) -> Path:
        """The plain tree of an image of the vfs storage, which is one directory for each layer with those below in it.

        :param image: with host and tag
        """
        return self.directory / "storage/vfs/dir" / str(self._image(image)["layer"])

    def config_of(self, image: str) -> Any:
        """The image's config, read from the storage: a process less for each."""
        found = self._image(image)["id"]
        name = "=" + base64.b64encode(f"sha256:{found}".encode()).decode()
        return json.loads((self.directory / "storage/vfs-images" / found / name).read_bytes())


def at_a_time(count: int, directory: Path, base: Image, name: str, work: Callable[[Containers, T], R], items: Sequence[T]) -> list[R]:
    """`work` of each item, several at a time and each with a storage of its own that has an image in it.

    buildah sleeps to the end of a second for every stage that it builds: one after the other takes five times as long.
    """
    base.save(directory / "base", "base")
    free: queue.SimpleQueue[Containers] = queue.SimpleQueue()
    for number in range(count):
        containers = Containers.at(directory / f"theirs-{number}")
        containers.skopeo("copy", "-q", f"oci:{directory}/base:base", f"containers-storage:{name}")
        free.put(containers)

    def one(item: T) -> R:
        containers = free.get()
        try:
            return work(containers, item)
        finally:
            free.put(containers)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, items))


@dataclass(frozen=True)
class Docker:
    """The client of a daemon."""

    socket: Path

    def __call__(self, *arguments: str | Path) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.socket.parent)}
        return run(tool("docker"), "-H", f"unix://{self.socket}", *arguments, env=environment)

    def answers(self) -> bool:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as one, contextlib.suppress(OSError):
            one.connect(str(self.socket))
            return True
        return False


@contextlib.contextmanager
def dockerd(directory: Path) -> Iterator[Docker]:
    """A docker daemon with storage, network and mounts of its own; it and its containerd have ended when the block has."""
    daemon, _ = tool("dockerd"), tool("docker")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    directory.mkdir(parents=True, exist_ok=True)
    # Below /run, which is in the directory: sockets have names of at most 107 bytes.
    places = [f"--data-root={directory}/data", "--exec-root=/run/docker", "--pidfile=/run/pid", "--host=unix:///run/socket"]
    docker, log = Docker(directory / "run/socket"), directory / "log"
    with log.open("wb") as out, subprocess.Popen([*private(directory, "-n"), daemon, *DAEMON, *places], stdout=out, stderr=out) as process:
        try:
            assert until(lambda: docker.answers() or process.poll() is not None, 30), log.read_text()[-2000:]
            assert process.poll() is None, log.read_text()[-2000:]
            yield docker
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
