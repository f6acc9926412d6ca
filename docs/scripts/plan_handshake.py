import os

import containerkit as ck
from containerkit import ns

# The map has our id as root, and nine more ids.
uids, gids = ([(0, own, 1), (1, 100000, 9)] for own in (os.geteuid(), os.getegid()))
plan = ck.plan(ns.User(uids=uids, gids=gids), run=["/bin/sh"])
for number, step in enumerate(plan.timeline.steps, 1):
    if step.phase is ck.Phase.IDENTITY:
        print(f"{number:2}  {step.side.value:6}  {step}\n      {step.why}")
