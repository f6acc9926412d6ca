from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns

before = Path("/proc/self/mountinfo").read_text()
show = "grep -c tmpfs.*/mnt /proc/self/mountinfo; touch /mnt/only-here; ls /mnt"
print("inside: ", *ck.run(["sh", "-c", show], ns.User(), ns.Mount(), mounts.Tmpfs("/mnt", size="1M")).text.split())
print("outside: the table of mounts is", "the same" if Path("/proc/self/mountinfo").read_text() == before else "another")
print("outside: the file is", "there" if Path("/mnt/only-here").exists() else "not there")
