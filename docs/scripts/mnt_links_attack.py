import os
import shutil
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns

with tempfile.TemporaryDirectory() as directory:
    root, victim, data = (Path(directory, name) for name in ("root", "victim", "data"))
    shutil.copytree(ck.rootfs.from_programs(["ls"]), root, symlinks=True)
    for path in (victim, data, Path(f"{root}{victim}")):
        path.mkdir(parents=True)
    (data / "precious").touch()
    (root / "data").symlink_to("../" * 20 + f".{victim}")  # the image's author made this link

    print("a path leads to the host's victim:", os.path.realpath(root / "data") == str(victim))
    volume = mounts.Bind(data, "/data")
    plan = ck.plan(ns.User(), ns.Mount(), mounts.Root(root), volume, run=["ls", str(victim)])
    print(*[step for step in plan.timeline.steps if "openat2(%root, 'data'" in str(step)])
    print("inside, at the mount target:", plan.run().text.strip())
    print("on the host the victim holds:     ", list(victim.iterdir()))
