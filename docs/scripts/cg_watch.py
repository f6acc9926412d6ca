import sys

import containerkit as ck

EAT = "x = b'x' * 100_000_000"
try:
    group = ck.Cgroup("watched", memory_max="32M", memory_swap_max=0, pids_max=8).make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with group, group.events("oom_kill", "populated") as events:
    with ck.plan(group, run=[sys.executable, "-c", EAT]).spawn() as process:
        process.wait()
        group.wait_empty()
        for event in events.poll(timeout=1):
            print(event)
    stat = group.stat()
    print(f"peak {stat.memory.peak >> 20} MiB,", stat.pids)
