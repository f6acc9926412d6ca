import os

import containerkit as ck
from containerkit import ns


def clone_of(plan: ck.Plan) -> str:
    return next(str(step.call) for step in plan.timeline.steps if step.call.name == "clone3")


wide = ns.User(uids=[(0, os.geteuid(), 1), (1, 100000, 9)], gids=[(0, os.getegid(), 1), (1, 100000, 9)])
print("alone       ", clone_of(ck.plan(run=["id"])))
print("new names   ", clone_of(ck.plan(ns.Uts("lesson"), run=["id"])))
print("handshakes  ", clone_of(ck.plan(wide, run=["id"])))
with ck.Namespace.of(os.getpid(), "user") as somebodys:
    print("joining     ", clone_of(ck.plan(somebodys, ns.Uts("lesson"), run=["id"])))
