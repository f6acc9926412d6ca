from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns

base = ck.rootfs.from_programs(["sh", "ls", "cut", "touch"])
before = Path("/proc/self/mountinfo").read_text().count("\n")
plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), mounts.Root(base, readonly=True), mounts.Tmpfs("/tmp", size="1M"),
               run=["/bin/sh", "-c", "ls -C /; cut -d' ' -f5,6 /proc/self/mountinfo; touch /new; touch /tmp/new && ls /tmp"])  # fmt: skip
print(*[line for line in str(plan).split("\n") if "  mounts " not in line and "  identity " not in line], sep="\n")
result = plan.run()
print(result.text + result.stderr.decode())
print("the host has", Path("/proc/self/mountinfo").read_text().count("\n") - before, "mounts more")
