import sys

import containerkit as ck
from containerkit import ns

base = ck.rootfs.from_programs(["sleep"])
with ck.LayerFS(base) as root:
    plan = ck.plan(ns.User(), ns.Mount(), root, run=["sleep", "60"])
    with plan.spawn():
        try:
            plan.spawn()  # a second mount of the same upper directory
        except ck.StepError as error:
            sys.exit(str(error).replace(str(root.upper.parent), "DIR"))
