import os
import shutil
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns

LOOK = ["sh", "-c", "wc -c < /d/interrupts; echo 1 > /d/sys/kernel/panic"]

with tempfile.TemporaryDirectory() as directory:
    root = Path(directory, "root")
    shutil.copytree(ck.rootfs.from_programs(["sh", "wc"]), root, symlinks=True)
    (root / "proc").rmdir()
    (root / "d/x").mkdir(parents=True)
    (root / "proc").symlink_to("d/x/..")  # the image's author made this link
    print("the path leads to:", os.path.relpath(os.path.realpath(root / "proc"), root))
    parts = [ns.User(), ns.Mount(), ns.Pid(), mounts.Root(root), mounts.Masked()]
    try:
        print(ck.run(LOOK, *parts).text)
    except ck.StepError as error:
        print(error.step)
        print(os.strerror(error.errno))
        print(error.hint)
    else:
        raise SystemExit("the program ran")
