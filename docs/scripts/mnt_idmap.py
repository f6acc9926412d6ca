import os
import sys
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns

if os.geteuid() != 0:
    print("only root may map the ids of a file system")
    sys.exit()


def show(directory: str, *parts: ck.Part, **more) -> str:
    stat = ["stat", "-c", "%u", "/mnt/file"]
    bind = mounts.Bind(directory, "/mnt", **more)
    return ck.run(stat, ns.Mount(), bind, *parts, check=True).text.strip()


many = ns.User(uids=[(0, 100000, 65536)], gids=[(0, 100000, 65536)])
wide = ck.plan(many, run=["sleep", "60"])
with tempfile.TemporaryDirectory() as directory, wide.spawn() as holder:
    Path(directory, "file").touch()
    print("on the disk, the file belongs to user", Path(directory, "file").stat().st_uid)
    print("in a plain bind, to user             ", show(directory))
    with ck.Namespace.of(holder.pid, "user") as ids:
        print("in an idmapped one, to user          ", show(directory, idmap=ids))
        print("and inside such a namespace, to user ", show(directory, many, idmap=ids))
