"""A mount namespace for the benchmark, with the changes to the host's mounts that peers need.

One change is for us: this Python's own file is mounted read-only.  If root could overwrite that file, a plan with a root of its
own would take one more exec (`hide_executable`), which of the peers only crun and runc do; its cost is a row of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ENTERED = "CK_BENCH_ENTERED"
UNIFIED = Path("/sys/fs/cgroup/unified")
BY_WAY_OF = Path("/dev/shm")


def enter() -> None:
    """Start this Python again with the v2 part of a hybrid cgroup tree one directory deeper: crun refuses it at its usual mount point.

    The mount moves through a directory that is covered for a moment.  The host sees none of this.
    """
    if ENTERED in os.environ or os.geteuid() or not UNIFIED.is_dir() or not shutil.which("unshare"):
        return
    again = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
    python = os.path.realpath(sys.executable)
    deeper = f"mount --bind {UNIFIED} {BY_WAY_OF}; umount {UNIFIED}; mount -t tmpfs -o mode=755 v2 {UNIFIED}; "
    deeper += f"mkdir {UNIFIED}/v2; mount --move {BY_WAY_OF} {UNIFIED}/v2; "
    script = f'{deeper}mount --bind {python} {python} && mount -o remount,bind,ro {python} && exec "$@"'
    os.environ[ENTERED] = "1"
    sys.stdout.flush()
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", *again])
