import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns
from containerkit.linux.syscalls import AT_FDCWD, Call, chdir, mkdirat


def chroot(path: str) -> Call:
    return Call("chroot", (os.fsencode(path),))


@dataclass(frozen=True)
class Chroot:
    """The old way to give a program another root directory."""

    path: str

    def steps(self):
        yield ck.Step.child(ck.Phase.PIVOT, chdir(self.path), why="stand in it")
        yield ck.Step.child(ck.Phase.PIVOT, chroot("."), why="paths that begin with / begin here")


class Escape:
    """The next acts of root in a chroot."""

    def steps(self):
        for call, why in (
            (mkdirat(AT_FDCWD, "door"), "make a directory below"),
            (chroot("door"), "it becomes the root; our working directory is above it now"),
            (chdir("../../../../../../../.."), "so the kernel does not stop us on the way up"),
            (chroot("."), "the top becomes our root"),
        ):
            yield ck.Step.child(ck.Phase.INSIDE, call, why=why, tolerates={17})


with tempfile.TemporaryDirectory() as directory:
    secret, jail = Path(directory, "secret"), Path(directory, "jail")
    secret.write_text("the host's secret\n")
    shutil.copytree(ck.rootfs.from_programs(["cat"]), jail, symlinks=True)
    read = ["/bin/cat", str(secret)]
    for name, parts in {
        "chroot": [Chroot(str(jail))],
        "chroot, and Escape": [Chroot(str(jail)), Escape()],
        "pivot_root, and Escape": [ns.Mount(), mounts.Root(jail), Escape()],
    }.items():
        result = ck.run(read, ns.User.same(), *parts)
        print(f"{name:24}", (result.text or result.stderr.decode().rpartition(": ")[2]).strip())
