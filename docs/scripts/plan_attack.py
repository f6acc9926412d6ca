import os
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import ns

root = ck.LayerFS(ck.rootfs.from_programs(["sh", "ls", "cat"]), readonly=True)


def inside(command: str, fds: dict[int, int], cwd: str = "/") -> None:
    """Runs a command in a root of its own, in which the host's files are not."""
    plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), root, run=["sh", "-c", command], cwd=cwd)
    try:
        with plan.spawn(stdout=ck.PIPE, stderr=ck.STDOUT, fds=fds) as process:
            print(process.communicate()[0].decode())
    except ck.StepError as error:
        print(error)


with tempfile.TemporaryDirectory() as directory:
    Path(directory, "secret").write_text("the host's secret\n")
    leaked = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leaked, True)  # a careless library opened this in our process
    os.dup2(leaked, 7)

    print("--- descriptor 7 is passed on:")
    inside("cat /proc/self/fd/7/secret; ls /proc/self/fd/7/../../../../etc/passwd", {7: leaked})
    print("--- it is not, unless one asks for it:")
    inside("cat /proc/self/fd/7/secret", {})
    print("--- the working directory as the way out:")
    inside("cat secret", {7: leaked}, cwd="/proc/self/fd/7")
