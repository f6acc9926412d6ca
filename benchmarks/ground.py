"""The directory in which a benchmark runs: in memory, with a root and the tiny programs that containers run.

On a disk the benchmark would measure the disk.  The root holds one static program, so that neither a linker nor a shell is measured.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from containerkit.errors import Unavailable

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent / "csrc"
MEMORY = Path("/dev/shm")
FLAGS = ("-std=gnu11", "-O2", "-static", "-fno-stack-protector", f"-I{CSRC}")


@dataclass(frozen=True, slots=True)
class Ground:
    """A directory for a benchmark.

    :ivar directory: ours, in memory, removed afterwards
    :ivar root: a directory with /bin/true, /proc, /dev, /tmp
    """

    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def payload(self) -> str:
        """The tiny program's path on the host."""
        return str(self.root / "bin/true")

    def program(self, name: str, source: Path, *flags: str) -> Path:
        """Compile a C file, once.  :raises Unavailable: there is no compiler"""
        target = self.directory / name
        if not target.exists():
            compile_c(source, target, *FLAGS, *flags)
        return target


def compile_c(source: Path, target: Path, *flags: str) -> None:
    """Compile by $CC, or cc.  :raises Unavailable: there is no compiler, or it fails"""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    try:
        done = subprocess.run([*compiler, *flags, "-o", str(target), str(source)], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Unavailable("a C compiler", probed=compiler[0], remedy="apt-get install gcc libc6-dev") from error
    if done.returncode:
        raise Unavailable(f"the program {target.name}", probed=done.stderr.strip(), remedy="apt-get install gcc libc6-dev")


@contextmanager
def prepared() -> Iterator[Ground]:
    """Yield a ground, removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="ck-bench-", dir=MEMORY if MEMORY.is_dir() else None))
    ground = Ground(directory)
    try:
        for name in ("bin", "proc", "dev", "tmp"):
            (ground.root / name).mkdir(parents=True)
        directory.chmod(0o755)
        shutil.copy(ground.program("true", HERE / "csrc/true.c", "-nostdlib", "-ffreestanding"), ground.payload)
        yield ground
    finally:
        shutil.rmtree(directory)
