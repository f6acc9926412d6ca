import platform
import sys

from matplotlib import pyplot

import containerkit as ck
from containerkit.cgroup import system

# The program allocates one megabyte after the other, and prints each one that it has.
EAT = """
import time
begin, held = time.monotonic(), []
for megabytes in range(1, 49):
    held.append(bytearray(b"x" * 1_000_000))
    print(time.monotonic() - begin, megabytes, flush=True)
"""
argv = [sys.executable, "-S", "-c", EAT]
figure, axes = pyplot.subplots(figsize=(6, 3), layout="constrained")
print("on Linux", platform.release(), "with cgroups", system().mode)
for word in ("memory_max", "memory_high"):
    try:
        group = ck.Cgroup("eater", memory_swap_max=0, **{"memory_max": "64M", word: "32M"})
        result = ck.run(argv, group, timeout=2.5)
    except ck.Unavailable as error:
        print(error)
        continue
    lines = [[float(number) for number in line.split()] for line in result.text.splitlines()]
    took, held = zip(*lines, strict=True)
    print(f"{word}='32M': got {held[-1]:.0f} MB, stopped by {result.stopped_by}")
    axes.plot(took, held, ".-", label=word)
    axes.text(took[-1], held[-1] + 3, result.stopped_by, ha="center")
if axes.lines:
    axes.axhline(32 * 1.048576, color="0.8")
    axes.set(xlabel="seconds", ylabel="MB held", ylim=(0, 40))
    axes.legend(frameon=False, loc="lower right")
    figure.savefig("plot.svg")
