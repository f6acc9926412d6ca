import os
import sys

import containerkit as ck

SHOW = ["grep", "Cpus_allowed_list", "/proc/self/status"]
last = max(os.sched_getaffinity(0))
try:
    group = ck.Cgroup("pinned", cpuset_cpus=[last]).make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with group:
    print("without:", ck.run(SHOW).text.split()[1])
    print("with:   ", ck.run(SHOW, group).text.split()[1])
