import os
import shutil
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns

with tempfile.TemporaryDirectory() as directory:
    root, victim, data = (Path(directory, name) for name in ("root", "victim", "data"))
    shutil.copytree(ck.rootfs.from_programs(["sh", "ls", "readlink", "cut"]), root, symlinks=True)
    for path in (victim, data, Path(f"{root}{victim}")):
        path.mkdir(parents=True)
    Path(data, "precious").touch()
    Path(root, "data").symlink_to("../" * 20 + str(victim).lstrip("/"))  # the image's author put this there

    print("by its path string, the host's own    ", os.path.realpath(root / "data") == str(victim))
    plan = ck.plan(ns.User(), ns.Mount(), mounts.Root(root), mounts.Bind(data, "/data"),
                   run=["sh", "-c", "readlink /data | cut -c1-9; ls $1", "sh", str(victim)], env={"PATH": "/bin:/usr/bin"})  # fmt: skip
    print([str(step) for step in plan.timeline.steps if "openat2" in str(step)][0])
    print(plan.run().text)
    print("on the host the victim holds", list(victim.iterdir()))
