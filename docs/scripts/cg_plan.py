import containerkit as ck
from containerkit import ns

group = ck.Cgroup("lesson", memory_max="64M", pids_max=32)
print(ck.plan(group, ns.User(), ns.Cgroup(), run=["/bin/sh"]))
print("\nmade:", group.exists)
