import os
import sys

import containerkit as ck

CARELESS = """
import os, signal
import containerkit as ck

group = ck.Cgroup("orphan", pids_max=8).make()
ck.plan(group, run=["sleep", "60"]).spawn(stdout=ck.DEVNULL, stderr=ck.DEVNULL)
print(group.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)  # no `with` ends now
"""
try:
    ck.Cgroup("probe", pids_max=8).make().close()
except ck.Unavailable as error:
    print(error)
    sys.exit()
result = ck.run([sys.executable, "-c", CARELESS])
path = result.text.strip()
print("stopped by", result.stopped_by, "- is its group still there?", os.path.exists(path))
print("swept:", len(ck.Cgroup.sweep()), "directories - and now?", os.path.exists(path))
