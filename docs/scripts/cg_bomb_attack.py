import sys
import time

import containerkit as ck
from containerkit import ns

BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
try:
    group = ck.Cgroup("bomb", pids_max=50, cpu_max=0.5).make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with group, ck.plan(group, ns.User(), run=[sys.executable, "-S", "-c", BOMB]).spawn():
    time.sleep(0.5)
    pids = group.stat().pids
    print("processes:", pids.current, "and never more than", pids.peak)
    print("forks that were refused:", pids.refused)
    group.kill()
    print("after kill():", len(group.procs()))
