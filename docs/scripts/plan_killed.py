import os
import subprocess
import sys
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit.linux.syscalls import AT_FDCWD, Call, mkdirat

KILLED = """
import os, signal, sys
import containerkit as ck
from containerkit.linux.syscalls import AT_FDCWD, Call, mkdirat

class Desk:
    def steps(self):
        make = mkdirat(AT_FDCWD, sys.argv[1])
        clear = Call("unlinkat", (AT_FDCWD, os.fsencode(sys.argv[1]), 0x200), "unlink(2)")
        yield ck.Step.parent(ck.Phase.PREPARE, make, why="a desk to work at", undo=clear)

ck.plan(Desk(), run=["sleep", "60"], die_with_parent=True).spawn()
os.kill(os.getpid(), signal.SIGKILL)
"""

with tempfile.TemporaryDirectory() as directory:
    desk = Path(directory, "desk")
    killed = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, desk], env=os.environ)
    print("it ended with", killed.returncode, "- is the desk there?", desk.is_dir())
    subprocess.run(
        [sys.executable, "-c", "import containerkit as ck; ck.run(['/bin/true'])"], check=True
    )
    print("somebody else has started something - and now?", desk.is_dir())
try:
    ck.Step.parent(
        ck.Phase.PREPARE, mkdirat(AT_FDCWD, desk), why="a desk", undo=Call("kill", (1, 9))
    )
except ck.PlanError as error:
    print(error)
