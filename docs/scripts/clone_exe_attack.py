import sys
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import ns

# A root that a stranger made.  The interpreter of its script is the process that executes it.
SCRIPT = """#!/proc/self/exe
import os
print("I run in a container, and I am", os.readlink("/proc/self/exe"), "of the host")
"""
python = Path(sys.executable).resolve()
base = ck.rootfs.from_programs(["python3", python])

with tempfile.TemporaryDirectory() as layer:
    program = Path(layer, "program")
    program.write_text(SCRIPT)
    program.chmod(0o755)
    root = ck.LayerFS(base, layer, readonly=True)
    for hide in (False, True):
        parts = (ns.User(), ns.Mount(), ns.Pid(), root)
        made = ck.plan(*parts, run=["/program"], hide_executable=hide).run()
        print(f"hide_executable={hide}:", made.text or f"exit code {made.exit_code}\n", end="")
