import sys

import containerkit as ck
from containerkit import ns
from containerkit.syscalls import MS, mount


class Shared:
    """Makes the mounts of this namespace tell their copies what is mounted, as systemd does at boot."""

    def steps(self):
        yield ck.Step.child(ck.Phase.INSIDE, mount(None, "/", None, MS.REC | MS.SHARED), why="be like a host")


def on_the_host() -> None:
    """Runs as root of a machine made for this: what it mounts, this machine does not see."""
    for propagation in ("private", "slave"):
        look = ["sh", "-c", "echo ready; read now; test -e /mnt/late && echo sees it || echo does not"]
        with ck.plan(ns.Mount(propagation), run=look).spawn(stdin=ck.PIPE, stdout=ck.PIPE) as container:
            container.stdout.readline()
            ck.run(["sh", "-c", "mount -t tmpfs none /mnt && touch /mnt/late"], env={"PATH": "/usr/bin:/bin"}, check=True)
            print(f"{propagation:8}", container.communicate(b"now\n")[0].decode().strip(), flush=True)
            ck.run(["umount", "/mnt"], check=True)


if sys.argv[1:] == ["host"]:
    on_the_host()
else:
    print(ck.run([sys.executable, __file__, "host"], ns.User(), ns.Mount(), Shared(), check=True).text)
