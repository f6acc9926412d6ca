import os
import sys

import containerkit as ck

CARELESS = """
import os, signal
import containerkit as ck

group = ck.Cgroup("orphan", pids_max=8).make()
ck.plan(group, run=["sleep", "60"]).spawn(stdout=ck.DEVNULL, stderr=ck.DEVNULL)
print(group.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)  # so the `with` never ends
"""
try:
    ck.Cgroup("probe", pids_max=8).make().close()
except ck.Unavailable as error:
    print(error)
    sys.exit()
result = ck.run([sys.executable, "-c", CARELESS])
path = result.text.strip()
print("stopped by", result.stopped_by, "- its group still exists:", os.path.exists(path))
swept = ck.Cgroup.sweep()
print("swept:", len(swept), "directories - its group still exists:", os.path.exists(path))
