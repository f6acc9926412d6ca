from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns

LOOK = "ls -C /; cut -d' ' -f5,6 /proc/self/mountinfo; touch /new; touch /tmp/new && ls /tmp"


def hosts_mounts() -> int:
    return Path("/proc/self/mountinfo").read_text().count("\n")


base = ck.rootfs.from_programs(["sh", "ls", "cut", "touch"])
parts = [mounts.Root(base, readonly=True), mounts.Tmpfs("/tmp", size="1M")]
plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), *parts, run=["/bin/sh", "-c", LOOK])
shown = (ck.Phase.CLONE, ck.Phase.ROOTFS, ck.Phase.PIVOT, ck.Phase.INSIDE)
for number, step in enumerate(plan.timeline.steps, 1):
    if step.phase in shown or step.call.name in ("open_tree", "mount_setattr"):
        print(f"{number:2}  {step.side.name.lower():6}  {str(step).replace(str(base), 'DIR')}")

before = hosts_mounts()
result = plan.run()
print("\n" + result.text + result.stderr.decode())
print("the host has", hosts_mounts() - before, "more mounts")
