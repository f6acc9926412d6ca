import sys

import containerkit as ck

group = ck.Cgroup("lesson", memory_max="64M", pids_max=32, cpu_max=0.5)
try:
    group.make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with group:
    for path in group.paths:
        print(path)
    result = ck.run([sys.executable, "-c", "x = b'x' * 20_000_000; sum(range(10**6))"], group)
    print("exit code", result.exit_code, "stopped by", result.stopped_by)
    print(f"at most   {result.usage.memory_peak / 1e6:.0f} MB of memory")
    print(f"used      {group.stat().cpu.usage_seconds:.2f} s of CPU time")
    print("inside   ", group.procs())
