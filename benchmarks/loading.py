"""Measure how long a user waits before anything happens: Python itself, the package, and the verbs, typed into a shell.

The package is installed as a user installs it: a copy with its .pyc files in a virtual environment without anything else.
Every run is a new process, so that nothing is warm but the page cache.
"""

from __future__ import annotations

import compileall
import os
import shutil
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import _cffi_backend

import containerkit as ck
from containerkit import rootfs
from containerkit.errors import Unavailable

from .building import BASE, context_of
from .ground import Ground
from .material import Containers, Material, needed
from .measure import QUICK, Budget, Sample, in_turn, timed
from .table import Table, Target

MS = 1e6  # nanoseconds
PYTHON, CACHED, THEIRS = "python -c pass", "containerkit build, all cached", "buildah bud, all cached"
#: The longest wait that is allowed, as a multiple of the time that Python itself takes.
LIMITS = {"import containerkit": 3, "containerkit run --rootfs DIR -- true": 6, "containerkit images, an empty store": 6}


@dataclass(frozen=True)
class Installed:
    """:ivar directory: a virtual environment with containerkit in it"""

    directory: Path

    @property
    def python(self) -> str:
        return str(self.directory / "bin/python")

    @property
    def script(self) -> str:
        return str(self.directory / "bin/containerkit")


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Measure all commands in turn, in two tables: the time that one waits, and the time of the processors."""
    installed = install(ground.directory / "installed")
    base = rootfs.from_programs(["true"])
    store = ground.directory / "empty-store"
    runs: dict[str, Command] = {
        PYTHON: _command(installed.python, "-c", "pass"),
        "import containerkit": _command(installed.python, "-c", "import containerkit"),
        "containerkit run --rootfs DIR -- true": _command(installed.script, "run", "--rootfs", str(base), "--", "true"),
        "containerkit images, an empty store": _command(installed.script, "--store", str(store), "images"),
        **_builds(ground, budget, installed),
    }
    waited = {name: timed(command.run, MS) for name, command in runs.items()}
    worked = {name: command.milliseconds for name, command in runs.items()}
    return [
        _table("loading", "From a shell, in a new process", in_turn(waited, _budget(budget))),
        _table("loading_cpu", "The same: processor time", in_turn(worked, _budget(budget))),
    ]


def _budget(budget: Budget) -> Budget:
    return Budget(budget.seconds, budget.rounds, turn=1, warm_up=2)


def _table(name: str, title: str, rows: Mapping[str, Sample]) -> Table:
    table = Table(name, title, rows, base=PYTHON, unit="ms", notes=list(NOTES))
    table.targets += [Target(f"{row}, to {PYTHON}", table.ratio(row), limit) for row, limit in LIMITS.items()]
    if THEIRS in rows:
        table.targets.append(Target("a cached build: containerkit, to buildah", table.ratio(CACHED, THEIRS), 1 / 2))
    return table


NOTES = (
    "A virtual environment with a copy of the package and its .pyc files; its console script is the one that pip writes.",
    "What Python does before the first line of ours is in every row: its own start, `site`, and the .pth files of others.",
    "The script of pip loads `re` first, which takes a third of what Python itself takes; the command needs it too, for its options.",
    "An editable installation adds what its finder loads, as much again as Python itself takes.",
    "buildah runs with --layers and --isolation chroot.  Nothing is made in either build.",
)


def install(directory: Path) -> Installed:
    """Install the files that ``pip install containerkit`` installs, without the network.

    :raises Unavailable: the command is not installed here, so its script cannot be copied
    """
    script = Path(sysconfig.get_path("scripts"), "containerkit")
    if not script.exists():
        raise Unavailable("the command containerkit", probed=str(script), remedy="make venv")
    venv.create(directory, symlinks=True, with_pip=False)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(directory), "platbase": str(directory)}))
    shutil.copytree(ck.__path__[0], site / "containerkit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_cffi_backend.__file__, site)
    compileall.compile_dir(site, quiet=2)
    made = Installed(directory)
    Path(made.script).write_text(f"#!{made.python}\n" + script.read_text().partition("\n")[2])
    Path(made.script).chmod(0o755)
    return made


@dataclass(frozen=True)
class Command:
    """A command as a shell starts it.

    :ivar argv: its words
    :ivar environment: its variables
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]

    def run(self) -> float:
        """Run the command.  :return: milliseconds of processor time, its own and its children's  :raises RuntimeError: it failed"""
        with open(os.devnull, "r+b") as null:
            streams = [(os.POSIX_SPAWN_DUP2, null.fileno(), number) for number in (0, 1, 2)]
            pid = os.posix_spawn(self.argv[0], self.argv, self.environment, file_actions=streams)
            _, status, used = os.wait4(pid, 0)
        if status:
            raise RuntimeError(f"{' '.join(self.argv)} ended with {os.waitstatus_to_exitcode(status)}")
        return (used.ru_utime + used.ru_stime) * 1000

    def milliseconds(self, count: int) -> list[float]:
        """A contender: runs it so many times."""
        return [self.run() for _ in range(count)]


def _command(*argv: str) -> Command:
    """The settings of this Python, which may keep another from finding .pyc files, do not count."""
    return Command(argv, {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")})


def _builds(ground: Ground, budget: Budget, installed: Installed) -> dict[str, Command]:
    """Return builds of which every step is cached; buildah's too, where it is installed."""
    material = Material.of(ground, budget == QUICK)
    context, base, store = context_of(material), material.directory / "base.tar", str(ground.directory / "build-store")
    layer = ck.Layer.from_directory(rootfs.from_programs(["sh", "cp", "mkdir", "ls", "cat"]))
    ck.Image.scratch().append(layer, history="base").with_config(cmd=["sh"]).save(base, BASE, docker=True)
    ck.Store(store).put(ck.Image.open(base), BASE)
    runs = {CACHED: _command(installed.script, "--store", store, "build", "-q", "-t", "made", str(context))}
    if shutil.which("buildah") and shutil.which("podman"):
        containers = Containers(material.directory / "build-containers")
        containers("podman", "load", "-q", "-i", base)
        words = ("bud", "-q", "--layers", "--isolation", "chroot", "--pull-never", "-t", "made", str(context))
        runs[THEIRS] = Command((needed("buildah"), *words), containers.environment)
    for command in runs.values():
        command.run()
    return runs
