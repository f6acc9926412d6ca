import sys

import containerkit as ck

LOOP = ["sh", "-c", "while :; do :; done"]
try:
    group = ck.Cgroup("tight", cpuset_cpus="0").make()
    with group, ck.plan(group, run=LOOP).spawn(), ck.plan(group, run=LOOP).spawn():
        with group.trigger("cpu", stall=0.1, window=2) as trigger:
            print("waited for 0.1 s within 2 s:", trigger.wait(timeout=5))
        print(f"waited so far: {group.pressure('cpu').some.total:.1f} s")
except ck.Unavailable as error:
    print(error)
    sys.exit()
