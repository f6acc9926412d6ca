import os
import subprocess
import sys
from pathlib import Path

from containerkit.state import journal
from containerkit.state.sweeping import sweep

KILLED = """
import os, signal
from containerkit.state import journal
from containerkit.state.scratch import Scratch

scratch = Scratch("example")
(scratch.path / "file").touch()
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

killed = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
for path in journal.left():
    text = Path(path).read_text()
    if f'["process", {killed.stdout.strip()}]' in text:
        print(text)
print("swept:", *(os.path.basename(path).rpartition("-")[0] for path in sweep(("tree",))))
