from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns

table = Path("/proc/self/mountinfo")
before = table.read_text()
show = [
    "sh",
    "-c",
    "grep -c ' /mnt .* tmpfs' /proc/self/mountinfo; touch /mnt/only-here; ls /mnt",
]
inside = ck.run(show, ns.User(), ns.Mount(), mounts.Tmpfs("/mnt", size="1M"), check=True)
print("inside:  tmpfs mounts at /mnt, and its files:", *inside.text.split())
print("outside: the table of mounts is the same:     ", table.read_text() == before)
print("outside: the file exists:                      ", Path("/mnt/only-here").exists())
