import os
import tempfile

import containerkit as ck
from containerkit import mounts, ns

TRY = "touch /mnt/new; mount -o remount,bind,rw /mnt && touch /mnt/new && echo written"

base = ck.rootfs.from_programs(["sh", "touch", "mount"])
with tempfile.TemporaryDirectory() as directory, ck.LayerFS(base) as root:
    mine = {"idmap": True} if os.geteuid() == 0 else {}
    volume = mounts.Bind(directory, "/mnt", readonly=True, **mine)
    parts = [ns.User(), ns.Mount(), ns.Pid(), root, volume]
    for kept in ([], [ck.Capabilities.none()]):
        result = ck.run(["sh", "-c", f"exec 2>&1; {TRY}"], *parts, *kept)
        print("with no capabilities:" if kept else "with all of them:", result.text, sep="\n")
        assert ("written" in result.text) != bool(kept)
