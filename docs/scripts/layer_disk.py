import os
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import ns

COMMAND = (
    "echo more >> /note; rm /gone; rm -r /dir; mkdir /dir; touch /dir/new; mkdir /merged/sub"
)


def on_disk(path: Path) -> str:
    if path.is_char_device() and path.lstat().st_rdev == 0:
        return "device 0/0"
    return "directory" if path.is_dir() else "file"


base = ck.rootfs.from_programs(["sh", "rm", "mkdir", "touch"])
with tempfile.TemporaryDirectory() as directory:
    for name in ("note", "gone", "dir/old", "merged/old"):
        Path(directory, name).parent.mkdir(exist_ok=True)
        Path(directory, name).write_text("below\n")
    with ck.LayerFS(base, directory) as root:
        ck.run(["sh", "-c", COMMAND], ns.User(), ns.Mount(), root, check=True)
        for path in sorted(root.upper.rglob("*")):
            marks = [name for name in os.listxattr(path) if name.endswith("opaque")]
            print(f"{on_disk(path):10} /{path.relative_to(root.upper)}", *marks)
        print("\nas changes:", *root.changes(), sep="\n")
