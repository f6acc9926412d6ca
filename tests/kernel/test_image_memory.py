"""Memory stays flat: layers larger than what a process may take are made, pulled and unpacked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import REPO

MEGABYTES = int(os.environ.get("CK_LAYER_MB", "600"))
MOST = 200  # MB above what the interpreter with all its modules takes
BEGIN = """
import os, sys
from pathlib import Path
from containerkit.image import merge, mutate
from containerkit.image.compression import compression, zstd_streams
from containerkit.image.files import layout
from containerkit.image.blobs import FileBlobs
from containerkit.image.digest import Digest
from containerkit.image.descriptor import Descriptor
from containerkit.image.ids import Ids
from containerkit.image.layer import Layer
from containerkit.image.limits import Limits
from containerkit.store.store import Store
if sys.argv[2] == "zstd":
    zstd_streams.library()
place, kind = Path(sys.argv[1]), sys.argv[2]
limits = Limits(ratio=10_000)

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # VmHWM counts from here on
before = peak()
"""
MAKE = """
layer = Layer.from_directory(place / "tree", FileBlobs(place / kind), compression=kind)
(place / f"{kind}.txt").write_text(f"{layer.digest} {layer.size} {layer.diff_id} {layer.media_type}")
"""
KNOWN = """
digest, size, diff_id, media_type = (place / f"{kind}.txt").read_text().split()
layer = Layer(Descriptor(media_type, Digest(digest), int(size)), Digest(diff_id), FileBlobs(place / kind))
"""
PULL = """
store = Store(place / f"store-{kind}", limits=limits)
with store.session() as session, layer.compressed() as stream:
    session.add(layer.descriptor, stream, unpack=(layer, layer.diff_id))
    assert (store.trees.path(layer.diff_id) / "mixed").stat().st_size == (place / "tree" / "mixed").stat().st_size
"""
UNPACK = """
layer.unpack(place / f"out-{kind}", limits=limits, ids=None if os.geteuid() == 0 else Ids.mine())
"""
END = "\nprint(peak() - before)\n"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A tree of one large file: zeros and random bytes in turns."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="ck-memory-", dir=shm if os.access(shm, os.W_OK) else None) as name:
        (Path(name) / "tree").mkdir()
        noise = os.urandom(1 << 20)
        with (Path(name) / "tree" / "mixed").open("wb") as file:
            for number in range(MEGABYTES):
                if number % 4:
                    file.seek(1 << 20, os.SEEK_CUR)
                else:
                    file.write(number.to_bytes(8, "big") + noise[8:])
            file.truncate(MEGABYTES << 20)
        yield Path(name)


@pytest.mark.timeout(60 + MEGABYTES // 5)
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_memory_stays_flat(place: Path, kind: str) -> None:
    if kind == "zstd":
        pytest.importorskip("zstandard", reason="needs zstandard: pip install containerkit[zstd]")
    for name, script in (("make", MAKE), ("pull", KNOWN + PULL), ("unpack", KNOWN + UNPACK)):
        argv = [sys.executable, "-c", BEGIN + script + END, str(place), kind]
        done = subprocess.run(argv, env=os.environ | {"PYTHONPATH": str(REPO)}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        print(f"{name} {kind}: {done.stdout.strip()} MB above the rest, for a layer of {MEGABYTES} MB")
        assert int(done.stdout) < MOST, name
        for left in (f"store-{kind}", f"out-{kind}"):
            shutil.rmtree(place / left, ignore_errors=True)
