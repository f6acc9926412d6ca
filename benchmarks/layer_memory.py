"""The memory for a large layer: packed, brought into a store, unpacked; each in a Python of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .ground import Ground
from .material import Material
from .measure import QUICK, Budget, Sample
from .table import Table, Target

SIZES = (64, 1024, 4096)  # MiB
LIMIT = 200.0
STAGES = {
    "pack": "layer = ck.Layer.from_directory(place / 'tree', FileBlobs(place / 'blobs')); layer_file(layer)",
    "store and unpack": "store = ck.Store(place / 'store'); image = ck.Image.scratch().append(the_layer()); "
    "held = store.put(image, 'large')\nwith store.hold(held): pass",
    "unpack": "the_layer().unpack(place / 'out', whiteouts='plain')",
}
PROGRAM = """
import json, sys
from pathlib import Path
import containerkit as ck
from containerkit.image.blobs import FileBlobs
from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
place = Path(sys.argv[1])
def layer_file(layer):
    (place / 'layer.json').write_text(json.dumps([layer.descriptor.to_json(), layer.diff_id]))
def the_layer():
    descriptor, diff_id = json.loads((place / 'layer.json').read_text())
    return ck.Layer(Descriptor.from_json(descriptor, 'layer'), Digest(diff_id), FileBlobs(place / 'blobs'))
{work}
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
print(int(status['VmHWM'].split()[0]) / 1024)  # ru_maxrss would count the parent's memory from before the exec
"""


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Measure the most MiB of memory in use, in one table."""
    material, sizes = Material.of(ground, budget == QUICK), (8, 16) if budget == QUICK else SIZES
    rows: dict[str, Sample] = {}
    for size in sizes:
        place = _disk(material) / f"large-{size}"
        try:
            _tree(place / "tree", size)
            for stage, work in STAGES.items():
                rows[f"{stage}, {size} MiB"] = Sample(tuple(_peak(place, work) for _ in range(2)))
        finally:
            shutil.rmtree(place, ignore_errors=True)
    lines = {stage: [(float(size), f"{stage}, {size} MiB") for size in sizes] for stage in STAGES}
    notes = [
        "A layer of files of 16 MiB, half of whose bytes cannot be compressed.  Most memory in use at once (VmHWM) of a Python of its own.",
        "Python itself and the library are in it.",
    ]
    table = Table("layer-memory", "Memory for a large layer", rows, unit="MiB", notes=notes, lines=lines, axis="MiB of layer")
    worst = max(rows[f"{stage}, {sizes[-1]} MiB"].median for stage in STAGES)
    table.targets.append(Target(f"most memory for {sizes[-1]} MiB, in MiB", worst, LIMIT))
    return [table]


def _disk(material: Material) -> Path:
    """Return a directory on disk: gigabytes do not fit into memory."""
    place = Path(__file__).resolve().parent.parent / "build" / f"large-{os.getpid()}"
    return material.directory if material.quick else place


def _tree(tree: Path, size: int) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    half = os.urandom(1 << 20) + bytes(1 << 20)
    for number in range(max(1, size // 16)):
        (tree / str(number)).write_bytes(half * 8)


def _peak(place: Path, work: str) -> float:
    for name in ("out", "store"):
        shutil.rmtree(place / name, ignore_errors=True)
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(work=work), place], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout)
