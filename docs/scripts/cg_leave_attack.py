import os
import sys

import containerkit as ck
from containerkit import ns

# The program writes itself into the group above, in each hierarchy.
LEAVE = """
import sys
said = set()
for door in sys.argv[1:]:
    try:
        with open(door, "w") as file:
            file.write("0")
        said.add("has left")
    except OSError as error:
        said.add(error.strerror)
print(*said)
"""
try:
    group = ck.Cgroup("cell", pids_max=8).make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with group, ck.LayerFS(ck.rootfs.from_programs([sys.executable])) as root:
    doors = [f"{os.path.dirname(path)}/cgroup.procs" for path in group.paths]
    argv = [sys.executable, "-S", "-c", LEAVE, *doors]
    for who, parts in (
        ("root", []),
        ("root of a user namespace, root outside too", [ns.User.same()]),
        ("root of a user namespace, nobody outside", [ns.User()]),
        ("root with a root directory of its own", [ns.Mount(), root]),
    ):
        print(f"{who:46}", ck.run(argv, group, *parts).text or "?", end="")
