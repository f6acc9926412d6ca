import os

import containerkit as ck
from containerkit import ns

most = [ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts()]
show = ["sh", "-c", "for kind in /proc/self/ns/*; do readlink $kind; done"]
inside = ck.run(show, *most, ns.Cgroup(), ns.Time(), check=True)
for name in dict.fromkeys(inside.text.split()):
    kind = name.partition(":")[0]
    print(f"{kind:7} outside {os.readlink(f'/proc/self/ns/{kind}'):20} inside {name}")
