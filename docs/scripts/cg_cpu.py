import sys

import containerkit as ck

try:
    group = ck.Cgroup("slow", cpu_max=0.2, controllers=["cpu"]).make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with group:
    result = ck.run(["sh", "-c", "while :; do :; done"], group, timeout=1)
    cpu = group.stat().cpu
    print("it ran for   ", f"{result.seconds:.2f} s, and was then stopped by", result.stopped_by)
    print("it used CPU  ", f"{cpu.usage_seconds:.2f} s")
    print("periods      ", cpu.periods, "and in", cpu.throttled, "of them it had to wait")
    print("cpu.max says ", group.read("cpu.max"))
