import os

import containerkit as ck
from containerkit import ns


def clone_of(*parts: ck.Part) -> str:
    steps = ck.plan(*parts, run=["id"]).timeline.steps
    return next(str(step.call) for step in steps if step.call.name == "clone3")


uids, gids = ([(0, own, 1), (1, 100000, 9)] for own in (os.geteuid(), os.getegid()))
print("alone      ", clone_of())
print("new name   ", clone_of(ns.Uts("lesson")))
print("handshakes ", clone_of(ns.User(uids=uids, gids=gids)))
with ck.Namespace.of(os.getpid(), "user") as somebodys:
    print("joining    ", clone_of(somebodys, ns.Uts("lesson")))
