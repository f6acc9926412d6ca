import platform
import sys
from pathlib import Path

from matplotlib import pyplot

import containerkit as ck
from containerkit.cgroup import system

# The program writes past the page cache, straight to the disk, so that each write counts at once.
WRITE = """
import mmap, os, time
piece = mmap.mmap(-1, 256 << 10)
fd = os.open("data", os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
begin, done = time.monotonic(), 0
while time.monotonic() < begin + 1:
    done += os.pwrite(fd, piece, done % (64 << 20))
    print(time.monotonic() - begin, done / (1 << 20))
"""
argv = [sys.executable, "-S", "-c", WRITE]
print("on Linux", platform.release(), "with cgroups", system().mode)
figure, axes = pyplot.subplots(figsize=(6, 3), layout="constrained")
try:
    for rate in ("4M", "16M"):
        group = ck.Cgroup("writer", io_max={Path.cwd(): {"wbps": rate}})
        said = ck.run(argv, group, check=True, cwd=Path.cwd()).text
        lines = [[float(word) for word in line.split()] for line in said.splitlines()]
        print(f"wbps={rate:4} wrote {lines[-1][1] / lines[-1][0]:5.2f} MiB/s")
        axes.plot(*zip(*lines, strict=True), ".-", label=f"wbps={rate}")
except (ck.Unavailable, ck.PlanError, ck.Failed) as error:  # no right, no disk, no direct IO
    print(error)
    sys.exit()
axes.set(xlabel="seconds", ylabel="MiB written")
axes.legend(frameon=False)
figure.savefig("plot.svg")
