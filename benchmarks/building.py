"""The build of a Dockerfile of five lines: from nothing, and again when nothing has changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import containerkit as ck
from containerkit.builder import build
from containerkit.rootfs import rootfs

from .ground import Ground
from .material import Containers, Material
from .measure import QUICK, Budget, in_turn, timed
from .table import Table, Target

MS = 1e6  # nanoseconds
OURS, THEIRS, BASE = "containerkit", "buildah", "localhost/base:latest"
DOCKERFILE = """\
FROM localhost/base
COPY src /app
RUN mkdir -p /var/lib/app && cp -r /app /var/lib/app/copy
ENV MODE=production
ENTRYPOINT ["sh", "/app/0.txt"]
"""


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Measure a cold and a cached build, in one table."""
    material = Material.of(ground, budget == QUICK)
    context, base = context_of(material), material.directory / "base.tar"
    layer = ck.Layer.from_directory(rootfs.from_programs(["sh", "cp", "mkdir", "ls", "cat"]))
    ck.Image.scratch().append(layer, history="base").with_config(cmd=["sh"]).save(base, BASE, docker=True)
    store = ck.Store(material.directory / "build-store")
    store.put(ck.Image.open(base), BASE)
    containers = Containers(material.directory / "build-containers")
    containers("podman", "load", "-q", "-i", base)
    runs = {
        f"{OURS}, cold": timed(lambda: build(context, tags=("made",), store=store, cache=False), MS),
        f"{OURS}, cached": timed(lambda: build(context, tags=("made",), store=store), MS),
        f"{THEIRS}, cold": timed(lambda: _buildah(containers, context, "--no-cache"), MS),
        f"{THEIRS}, cached": timed(lambda: _buildah(containers, context), MS),
    }
    rows = in_turn(runs, Budget(budget.seconds * 2, budget.rounds, turn=1, warm_up=1))
    table = Table("builds", "A Dockerfile of five lines", rows, base=f"{OURS}, cold", unit="ms", notes=list(NOTES))
    table.targets.append(Target("cold: containerkit, to buildah", table.ratio(f"{OURS}, cold", f"{THEIRS}, cold"), 1 / 3))
    table.targets.append(Target("cached: containerkit, to buildah", table.ratio(f"{OURS}, cached", f"{THEIRS}, cached"), 1 / 5))
    shutil.rmtree(containers.directory, ignore_errors=True)
    return [table]


NOTES = (
    "FROM, COPY of 200 small files, RUN, ENV, ENTRYPOINT; the base image is there already.  Everything is on a tmpfs.",
    "buildah runs with --layers and --isolation chroot, which is its quickest.",
    "containerkit gives RUN namespaces of its own, a system call filter and few capabilities.",
    "containerkit starts in a Python that runs already; loading its own program is part of what a buildah user pays.",
)


def context_of(material: Material) -> Path:
    context = material.directory / "context"
    (context / "src").mkdir(parents=True, exist_ok=True)
    (context / "Dockerfile").write_text(DOCKERFILE)
    for i in range(200):
        (context / "src" / f"{i}.txt").write_text(f"echo {i}\n" * 100)
    return context


def _buildah(containers: Containers, context: Path, *options: str) -> None:
    containers("buildah", "bud", "-q", "--layers", "--isolation", "chroot", "--pull-never", *options, "-t", "made", str(context))
