import sys
import time

import containerkit as ck

LOOP = ["sh", "-c", "while :; do :; done"]
where = {"cpuset_cpus": "0", "controllers": ["cpu"]}  # one CPU for both, so that they compete
try:
    light = ck.Cgroup("light", cpu_weight=100, **where).make()
    heavy = ck.Cgroup("heavy", cpu_weight=300, **where).make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with light, heavy, ck.plan(light, run=LOOP).spawn(), ck.plan(heavy, run=LOOP).spawn():
    time.sleep(1)
    used = [group.stat().cpu.usage_seconds for group in (light, heavy)]
print(f"light {used[0]:.2f} s, heavy {used[1]:.2f} s: {used[1] / used[0]:.1f} times as much")
