import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import containerkit as ck
from containerkit.syscalls import AT_FDCWD, Call, mkdirat


@dataclass(frozen=True)
class Desk:
    """A directory on the host, for as long as the process is there."""

    path: Path

    def steps(self):
        clear = Call("unlinkat", (AT_FDCWD, os.fsencode(self.path), 0x200), "unlink(2)")  # AT_REMOVEDIR
        yield ck.Step.parent(ck.Phase.PREPARE, mkdirat(AT_FDCWD, self.path), why="a desk to work at", undo=clear)


with tempfile.TemporaryDirectory() as directory:
    desk = Path(directory, "desk")
    with ck.plan(Desk(desk), run=["sleep", "60"]).spawn():
        print("while it runs:         ", desk.is_dir())
    print("after the with:        ", desk.exists())
    try:
        ck.plan(Desk(desk), run=["/no/such/program"]).spawn()
    except ck.StepError as error:
        print("it failed at:          ", error.step.call)
    print("and after the failure: ", desk.exists())
