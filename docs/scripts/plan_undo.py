import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import containerkit as ck
from containerkit.linux.syscalls import AT_FDCWD, Call, mkdirat

REMOVEDIR = 0x200  # the flag of unlinkat(2) for a directory


@dataclass(frozen=True)
class Desk:
    """A directory on the host that exists as long as the process."""

    path: Path

    def steps(self):
        make = mkdirat(AT_FDCWD, self.path)
        clear = Call("unlinkat", (AT_FDCWD, os.fsencode(self.path), REMOVEDIR), "unlink(2)")
        yield ck.Step.parent(ck.Phase.PREPARE, make, why="a desk to work at", undo=clear)


with tempfile.TemporaryDirectory() as directory:
    desk = Path(directory, "desk")
    with ck.plan(Desk(desk), run=["sleep", "60"]).spawn():
        print("while it runs it exists:       ", desk.is_dir())
    print("after the `with` it exists:    ", desk.exists())
    try:
        ck.plan(Desk(desk), run=["/no/such/program"]).spawn()
    except ck.StepError as error:
        print("a later step failed:          ", error.step.call.name)
    print("after the failure it exists:   ", desk.exists())
