import os
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns

if os.geteuid() != 0:
    raise SystemExit(print("an idmapped mount needs the right to map those ids, which only root has"))

show = ["stat", "-c", "user %u", "/mnt/file"]
wide = ns.User(uids=[(0, 100000, 65536)], gids=[(0, 100000, 65536)])
with tempfile.TemporaryDirectory() as directory, ck.plan(wide, run=["sleep", "60"]).spawn() as holder:
    Path(directory, "file").touch()
    print("bound as it is     ", ck.run(show, ns.Mount(), mounts.Bind(directory, "/mnt")).text, end="")
    with ck.Namespace.of(holder.pid, "user") as ids:
        print("bound with an idmap", ck.run(show, ns.Mount(), mounts.Bind(directory, "/mnt", idmap=ids)).text, end="")
    print("on the disk         user", Path(directory, "file").stat().st_uid)
