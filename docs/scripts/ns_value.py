import os

import containerkit as ck
from containerkit import ns

with (
    ck.plan(ns.User(), ns.Net(), run=["sleep", "60"]).spawn() as process,
    ck.Namespace.of(process.pid, "net") as net,
    ck.Namespace.of(process.pid, "user") as user,
    ck.Namespace.of(os.getpid(), "net") as ours,
):
    again = ck.Namespace.at(f"/proc/{process.pid}/ns/net")
    print("equal to itself, taken twice: ", net == again)
    again.close()
    print("equal to ours:                ", net == ours)
    print("its owner is the user one:    ", net.owner == user)
    print("which was made by this user:  ", user.owner_uid == os.geteuid())
    print("its only process is ours:      ", net.processes() == [process.pid])
    process.kill()
    process.wait()
    devices = ck.run(["sh", "-c", "cut -d: -f1 /proc/net/dev | tail -n +3"], user, net)
    print("no process is left, it still has:", devices.text.strip())
