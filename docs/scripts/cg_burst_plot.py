import sys

from matplotlib import pyplot

import containerkit as ck

# Idle for a while, then a spike: 40 ms of work at once.  The program prints each spike's time.
SPIKES = """
import time
for number in range(8):
    time.sleep(0.15 + 0.013 * number)
    begin, work = time.monotonic(), time.process_time() + 0.04
    while time.process_time() < work:
        pass
    print(time.monotonic() - begin)
"""
argv = [sys.executable, "-S", "-c", SPIKES]
try:
    plain = ck.Cgroup("plain", cpu_max=0.2, controllers=["cpu"]).make()
    saving = ck.Cgroup("saving", cpu_max=0.2, cpu_max_burst=20_000, controllers=["cpu"]).make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with plain, saving:
    both = [ck.plan(group, run=argv).spawn(stdout=ck.PIPE) for group in (plain, saving)]
    times = [[float(word) * 1000 for word in p.communicate()[0].split()] for p in both]
    for name, took, group in zip(("none", "20 ms"), times, (plain, saving), strict=True):
        cpu = group.stat().cpu
        print(f"burst {name:5}  a spike took {sorted(took)[4]:3.0f} ms,", end=" ")
        print(f"{cpu.throttled} waits, {cpu.bursts} periods with saved time")
figure, axes = pyplot.subplots(figsize=(6, 3), layout="constrained")
axes.plot(times[0], "o-", label="cpu_max=0.2")
axes.plot(times[1], "s-", label="cpu_max=0.2, cpu_max_burst=20000")
axes.axhline(40, color="0.8")
axes.set(xlabel="spike", ylabel="ms of each spike", ylim=(0, None))
axes.legend(frameon=False)
figure.savefig("plot.svg")
