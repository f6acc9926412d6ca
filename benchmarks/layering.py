"""The making of a compressed layer from a directory: ours with both digests, against programs that need more passes for them."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import containerkit as ck
from containerkit.image.blobs import FileBlobs

from .ground import Ground
from .material import Material, command, fresh, needed
from .measure import QUICK, Budget, Contender, in_turn
from .table import Table, Target

OURS = "containerkit"


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Return one table: gzip, which every registry accepts; and zstd by us."""
    material = Material.of(ground, budget == QUICK)
    tree, out = material.tree, material.directory / "packed"
    runs: dict[str, Contender] = {
        OURS: fresh(out, lambda place: ck.Layer.from_directory(tree, FileBlobs(place))),
        "containerkit, zstd": fresh(out, lambda place: ck.Layer.from_directory(tree, FileBlobs(place), compression="zstd")),
        "tar -cz": fresh(out, lambda place: _tar(tree, place, "gzip")),
        "tar and igzip": fresh(out, lambda place: _tar(tree, place, "igzip -1")),
        "tarfile": fresh(out, lambda place: _tarfile(tree, place)),
        "umoci insert": _umoci(material),
    }
    rows = in_turn(runs, Budget(budget.seconds * 3, budget.rounds, turn=1, warm_up=1))
    notes = [
        material.what,
        "containerkit makes the tar, both digests and the compressed blob in one pass, at its default level (fast).",
        "tar and tarfile make no digest.  umoci inserts the tree into an image as a layer, with both digests.",
        "Sizes: " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in _sizes(material).items()) + ".",
    ]
    table = Table("layers", "A layer from a directory", rows, base=OURS, unit="ms", notes=notes)
    table.targets.append(Target("containerkit, to tar -cz", table.ratio(OURS, "tar -cz"), 0.1))
    table.targets.append(Target("containerkit, to umoci", table.ratio(OURS, "umoci insert"), 0.5))
    return [table]


def _tar(tree: Path, place: Path, program: str) -> None:
    command("tar", "--sort=name", "--xattrs", "-I", program, "-cf", place, "-C", tree, ".")


def _tarfile(tree: Path, place: Path) -> None:
    with tarfile.open(place, "w:gz") as tar:
        tar.add(tree, ".")


def _umoci(material: Material) -> Contender:
    """Return a contender that writes into a new layout each time; making the layout is not measured."""
    program, layout = needed("umoci"), material.directory / "umoci"
    template = material.directory / "umoci-empty"
    if not template.exists():
        command(program, "init", "--layout", template)
        command(program, "new", "--image", f"{template}:base")
    timed = fresh(material.directory / "nothing", lambda _: command(program, "insert", "--image", f"{layout}:base", material.tree, "/"))

    def runs(count: int) -> list[float]:
        values: list[float] = []
        for _ in range(count):
            shutil.rmtree(layout, ignore_errors=True)
            shutil.copytree(template, layout)
            values += timed(1)
        return values

    return runs


def _sizes(material: Material) -> dict[str, int]:
    place = material.directory / "sizes"
    found = {OURS: ck.Layer.from_directory(material.tree, FileBlobs(place)).size, "gzip -6": material.compressed("gzip").stat().st_size}
    found["containerkit, zstd"] = ck.Layer.from_directory(material.tree, FileBlobs(place), compression="zstd").size
    shutil.rmtree(place)
    return found
