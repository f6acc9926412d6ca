import os
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns

COMMAND = "echo more >> /note; rm /gone; rm -r /dir; mkdir /dir; echo new > /dir/new; mkdir /merged/sub"

with tempfile.TemporaryDirectory() as directory:
    lower = Path(directory, "lower")
    for name in ("note", "gone", "dir/old", "merged/old"):
        (lower / name).parent.mkdir(parents=True, exist_ok=True)
        (lower / name).write_text("below\n")
    programs = [mounts.Bind(path, readonly=True) for path in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(path)]
    with ck.LayerFS(lower) as root:
        ck.run(["sh", "-c", COMMAND], ns.User(), ns.Mount(), root, *programs, env={"PATH": "/usr/bin:/bin"}, check=True)
        for path in sorted(root.upper.rglob("*")):
            if path.name in ("usr", "bin", "lib", "lib64"):
                continue  # the places that the binds were mounted at
            status = path.lstat()
            kind = "device 0/0" if status.st_rdev == 0 and path.is_char_device() else "directory" if path.is_dir() else "file"
            says = [f"{name}={os.getxattr(path, name).decode()}" for name in os.listxattr(path) if "opaque" in name]
            print(f"{kind:10}  /{path.relative_to(root.upper)}", *says)
        print("\nwhich means:", *[change for change in root.changes() if "/dir" in change.path or change.path in ("/note", "/gone")], sep="\n")
