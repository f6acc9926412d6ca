import sys

import containerkit as ck

try:
    group = ck.Cgroup("small", memory_max="32M", memory_swap_max=0).make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
EAT = "x = b'x' * {}_000_000"
with group:
    for size in (10, 100):
        result = ck.run([sys.executable, "-c", EAT.format(size)], group)
        print(f"{size:3} MB: exit code {result.exit_code}, stopped by {result.stopped_by}")
    print("events:", {name: count for name, count in group.stat().memory.events.items() if count})
