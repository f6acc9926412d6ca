from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns


def jail(root: Path, data: Path) -> list[ck.Part]:
    space: list[ck.Part] = [ns.User(), ns.Mount(), ns.Pid()]
    return [
        *space,
        mounts.Root(root, readonly=True),
        mounts.Bind(data, "/data", readonly=True),
        mounts.Tmpfs("/tmp", size="1M"),
    ]
