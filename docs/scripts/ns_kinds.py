import os

import containerkit as ck
from containerkit import ns

everything = [ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts(), ns.Cgroup(), ns.Time()]
show = 'for kind in user mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$kind; done'
inside = ck.run(["sh", "-c", show], *everything, env={"PATH": "/usr/bin:/bin"}, check=True).text.split()
for name in inside:
    kind = name.partition(":")[0]
    print(f"{kind:7} outside {os.readlink(f'/proc/self/ns/{kind}'):22} inside {name}")
