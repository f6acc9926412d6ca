"""Peers have wishes about the host.  They are met in a mount namespace of the benchmark's own.

One is ours: this Python's own file is mounted read-only there.  Where root could overwrite it, a plan with a root of its
own takes one more exec (`hide_executable`), which no peer does but crun and runc; what that costs is a row of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ENTERED = "CK_BENCH_ENTERED"
UNIFIED = Path("/sys/fs/cgroup/unified")


def enter() -> None:
    """Starts this Python anew without the v2 half of a hybrid cgroup tree, which crun refuses.  The host keeps it."""
    if ENTERED in os.environ or os.geteuid() or not UNIFIED.is_dir() or not shutil.which("unshare"):
        return
    again = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
    python = os.path.realpath(sys.executable)
    script = f'umount {UNIFIED}; mount --bind {python} {python} && mount -o remount,bind,ro {python} && exec "$@"'
    os.environ[ENTERED] = "1"
    sys.stdout.flush()
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *again])
