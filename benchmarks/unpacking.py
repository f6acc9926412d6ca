"""The unpacking of a compressed layer: ours with every digest checked, against programs that check none."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

from .ground import Ground
from .material import Material, command, fresh, needed
from .measure import QUICK, Budget, Contender, in_turn
from .table import Table, Target

OURS = "containerkit"
FILTER = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
Unpack = Callable[[Path], object]


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Return one table for gzip and one for zstd."""
    material = Material.of(ground, budget == QUICK)
    return [_table(material, compression, budget) for compression in ("gzip", "zstd")]


def _table(material: Material, compression: str, budget: Budget) -> Table:
    image, packed = material.image(compression), material.compressed(compression)
    (layer,) = image.layers
    runs: dict[str, Contender] = {OURS: fresh(material.directory / "out", lambda out: layer.unpack(out, whiteouts="plain"))}
    notes = [
        material.what,
        "On a tmpfs.  containerkit checks the digests of the blob and of the tar on the way, as umoci does; tar and tarfile check none.",
    ]
    runs["tar"] = fresh(material.directory / "out", _tar(packed, f"--{compression}"))
    if compression == "gzip":
        runs["tar and igzip"] = fresh(material.directory / "out", _tar(packed, "-I", needed("igzip")))
        runs["umoci unpack"] = fresh(material.directory / "out", _umoci(material, compression))
        runs["tarfile"] = fresh(material.directory / "out", lambda out: _tarfile(packed, out))
        notes.append("umoci also writes an mtree manifest and a runtime config beside the tree.")
    rows = in_turn(runs, Budget(budget.seconds * 2, budget.rounds, turn=1, warm_up=1))
    table = Table(f"unpack-{compression}", f"Unpacking a layer, {compression}", rows, base=OURS, unit="ms", notes=notes)
    if compression == "gzip":
        table.targets.append(Target("containerkit, to GNU tar with igzip", table.ratio(OURS, "tar and igzip"), 1.0))
    else:
        table.targets.append(Target("containerkit, to GNU tar with zstd", table.ratio(OURS, "tar"), 1.0))
    return table


def _tar(packed: Path, *options: str) -> Unpack:
    def unpack(out: Path) -> None:
        out.mkdir()
        command("tar", *options, "--xattrs", "-xpf", packed, "-C", out)

    return unpack


def _umoci(material: Material, compression: str) -> Unpack:
    return lambda out: command(needed("umoci"), "unpack", "--image", f"{material.layout(compression)}:debian", out)


def _tarfile(packed: Path, out: Path) -> None:
    with tarfile.open(packed) as tar:
        tar.extractall(out, **FILTER)  # type: ignore[arg-type]
