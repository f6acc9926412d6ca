import os
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import ns

same = ns.User(uids=[(0, os.geteuid(), 1)], gids=[(0, os.getegid(), 1)])  # root inside is us
root = ck.LayerFS(ck.rootfs.from_programs(["sh", "ls", "cat"]), readonly=True)


def inside(command: str, fds: dict[int, int], cwd: str = "/") -> str:
    """Run a command in a root of its own, without the host's files."""
    parts = (same, ns.Mount(), ns.Pid(), root)
    try:
        plan = ck.plan(*parts, run=["sh", "-c", command], cwd=cwd)
        with plan.spawn(stdout=ck.PIPE, stderr=ck.STDOUT, fds=fds) as process:
            said = process.communicate()[0].decode()
    except ck.StepError as error:
        said = str(error)
    print(said)
    return said


with tempfile.TemporaryDirectory() as directory:
    Path(directory, "secret").write_text("the host's secret\n")
    leaked = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leaked, True)  # as if a careless library had opened this in our process
    os.dup2(leaked, 7)

    print("--- descriptor 7 is passed on:")
    ways = "cat /proc/self/fd/7/secret; ls /proc/self/fd/7/../../../../etc/passwd"
    assert "the host's secret" in inside(ways, {7: leaked})
    print("--- by default it is not:")
    assert "the host's secret" not in inside("cat /proc/self/fd/7/secret", {})
    print("--- the working directory as the way out:")
    assert "ELOOP" in inside("cat secret", {7: leaked}, cwd="/proc/self/fd/7")
