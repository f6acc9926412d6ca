import sys

import containerkit as ck
from containerkit.cgroup import system

v2 = system().v2
domain = {"memory", "io", "hugetlb"}
wanted = sorted(v2.controllers & domain)[:1] if v2 else []
if not wanted:
    print("no controller in a tree of version 2 here, so the rule does not apply")
    sys.exit()
try:
    first, second = ck.Cgroup("first").make(), ck.Cgroup("second").make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with first, second:
    try:
        with ck.plan(first, run=["sleep", "60"]).spawn():
            first.child("below", controllers=wanted)
    except ck.CgroupError as error:
        print(error.strerror, end="\n\n")
    try:
        second.child("below", controllers=wanted)
        ck.run(["true"], second)
    except ck.StepError as error:
        print(error)
