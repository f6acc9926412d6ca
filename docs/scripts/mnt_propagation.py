import sys

import containerkit as ck
from containerkit import ns
from containerkit.linux.syscalls import MS, mount

LOOK = "echo ready; read now; test -e /mnt/late && echo sees it || echo does not"
LATER = "mount -t tmpfs none /mnt && touch /mnt/late"


class Shared:
    """A shared mount namespace, as systemd makes it: its mounts also appear in its copies."""

    def steps(self):
        call = mount(None, "/", None, MS.REC | MS.SHARED)
        yield ck.Step.child(ck.Phase.INSIDE, call, why="be like a host")


def on_the_host() -> None:
    """Run as root of a machine made for this, whose mounts the real machine does not see."""
    for propagation in ("private", "slave"):
        container = ck.plan(ns.Mount(propagation), run=["sh", "-c", LOOK])
        with container.spawn(stdin=ck.PIPE, stdout=ck.PIPE) as process:
            process.stdout.readline()
            ck.run(["sh", "-c", LATER], env={"PATH": "/usr/bin:/bin"}, check=True)
            print(propagation, process.communicate(b"now\n")[0].decode(), end="", flush=True)
            ck.run(["umount", "/mnt"], check=True)


if sys.argv[1:] == ["host"]:
    on_the_host()
else:
    again = [sys.executable, __file__, "host"]
    print(ck.run(again, ns.User(), ns.Mount(), Shared(), check=True).text)
