import containerkit as ck
from containerkit import ns

plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), ns.Uts("lesson"), run=["sh"])
print(plan)
