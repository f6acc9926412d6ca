import containerkit as ck
from containerkit import mounts, ns

base = ck.rootfs.from_programs(["sh", "hostname", "id", "ps", "rm"])  # this machine's own programs, no download
with ck.LayerFS(base) as root:  # what is changed goes to a layer of its own
    plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Uts("lesson"), root, mounts.Dev(),
                   run=["sh", "-c", "hostname; id; ps -e; echo hello > /new; rm /etc/passwd"])  # fmt: skip
    print(len(plan.timeline.steps), "system calls, and not one was made yet\n")
    print(plan.run(check=True).text)
    print(*root.changes(), sep="\n")
