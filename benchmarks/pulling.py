"""The pull of an image from a registry on this machine: fetched, verified, kept and unpacked."""

from __future__ import annotations

from pathlib import Path

import containerkit as ck
from containerkit.registry import pull, push

from .ground import Ground
from .material import Containers, Material, command, fresh, needed, registry
from .measure import QUICK, Budget, Contender, in_turn
from .table import Table, Target

OURS = "containerkit"


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Return one table for gzip and one for zstd."""
    material = Material.of(ground, budget == QUICK)
    with registry(material.directory / "registry") as host:
        return [_table(material, host, compression, budget) for compression in ("gzip", "zstd")]


def _table(material: Material, host: str, compression: str, budget: Budget) -> Table:
    name = f"{host}/debian:{compression}"
    push(material.image(compression), name)
    out, theirs = material.directory / "pulled", material.directory / "containers"
    runs: dict[str, Contender] = {
        OURS: fresh(out, lambda place: pull(name, ck.Store(place), unpack=True)),
        "containerkit, not unpacked": fresh(out, lambda place: pull(name, ck.Store(place))),
        "podman pull": fresh(theirs, lambda place: _podman(place, host, name)),
        "skopeo copy, not unpacked": fresh(out, lambda place: _skopeo(place, name)),
    }
    rows = in_turn(runs, Budget(budget.seconds * 3, budget.rounds, turn=1, warm_up=1))
    notes = [
        material.what,
        "The registry is docker-registry on the loopback; everything is on a tmpfs.  A pull begins with an empty store.",
        "containerkit waits for the disk (fsync, syncfs) before it names what it pulled, and starts in a Python that runs already.",
    ]
    table = Table(f"pull-{compression}", f"Pulling and unpacking an image, {compression}", rows, base=OURS, unit="ms", notes=notes)
    table.targets.append(Target("containerkit, to podman", table.ratio(OURS, "podman pull"), 1 / 3))
    return table


def _podman(place: Path, host: str, name: str) -> None:
    Containers(place, (host,))("podman", "pull", "-q", name)


def _skopeo(place: Path, name: str) -> None:
    command(needed("skopeo"), "--insecure-policy", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{place}:debian")
