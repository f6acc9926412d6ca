import containerkit as ck
from containerkit import ns

# Ten users of this machine as the users 0 to 9 inside.  The kernel takes such a map from the parent only.
plan = ck.plan(ns.User(uids=[(0, 1000, 10)], gids=[(0, 1000, 10)]), run=["/bin/sh"])
for number, step in enumerate(plan.timeline.steps, 1):
    if "handshake" in step.why or "map" in str(step):
        print(f"{number:2}  {step.side.value:6}  {step}\n      {step.why}")
