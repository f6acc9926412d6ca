import platform
import sys

from matplotlib import pyplot

import containerkit as ck
from containerkit.cgroup import system

COUNT = """
import time
end, rounds = time.monotonic() + 0.2, 0
while time.monotonic() < end:
    rounds += 1
print(rounds)
"""
argv = [sys.executable, "-S", "-c", COUNT]
cores = [0.1, 0.2, 0.3, 0.5, 0.7, 1]
groups = [ck.Cgroup("quota", cpu_max=(round(n * 10_000), 10_000)) for n in cores]


def measure() -> list[int]:
    """Return the work done with each quota, and without one."""
    return [int(ck.run(argv, *parts).text) for parts in [*((group,) for group in groups), ()]]


try:  # twice, because other programs may be busy; the better result counts
    *limited, free = map(max, measure(), measure())
except ck.Unavailable as error:
    print(error)
    sys.exit()
print("on Linux", platform.release(), "with cgroups", system().mode)
for share, count in zip(cores, limited, strict=True):
    print(f"{share:3} cores: {count / free:4.0%} of its work without a limit")
figure, axes = pyplot.subplots(figsize=(6, 3), layout="constrained")
axes.plot([0, 1], [0, 1], color="0.8", label="the limit")
axes.plot(cores, [count / free for count in limited], "o", label="measured")
axes.set(xlabel="cpu_max, in cores", ylabel="work done")
axes.legend(frameon=False)
figure.savefig("plot.svg")
