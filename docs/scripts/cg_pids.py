import sys

import containerkit as ck

START = "for i in $(seq {}); do sleep 9 >&- 2>&- & done"
for count in (5, 20):
    few = ck.Cgroup("few", pids_max=8)  # ck.run makes it, and removes it with all its processes
    try:
        result = ck.run(["sh", "-c", START.format(count)], few)
    except ck.Unavailable as error:
        print(error)
        sys.exit()
    print(f"{count:2} more: exit code {result.exit_code}, stopped by {result.stopped_by}")
    print(result.stderr.decode(), end="")
