"""A program: runs an image with podman and prints as JSON what it said: podman_runs.py CGROUP -- OPTIONS IMAGE ARGS.

It is process 1 of a pid namespace, so that conmon and all that podman leaves running end with it.  `podman run` without -d waits
20 seconds for a conmon that nobody reaps; so the container is detached, and its end is asked for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

SECONDS = 30.0
ENDED = ("exited", "stopped")  # the second: conmon has ended too, but nobody reaps it


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *arguments], capture_output=True, text=True)


def main(cgroup: str, words: list[str]) -> dict[str, object]:
    fixed = ["-d", "--network=none", f"--cgroup-parent={cgroup}", "--log-driver=k8s-file"]
    started = podman("run", *fixed, *words)
    if started.returncode:
        return {"code": started.returncode, "said": "", "complained": started.stderr}
    container, end = started.stdout.strip(), time.monotonic() + SECONDS
    while (state := podman("inspect", "--format={{.State.Status}} {{.State.ExitCode}}", container).stdout.split())[0] not in ENDED:
        if time.monotonic() > end:
            return {"code": -1, "said": "", "complained": f"still {state}"}
        time.sleep(0.02)
    logs = podman("logs", container)
    podman("rm", "-f", "-v", container)  # vfs has copied the whole tree for it
    return {"code": int(state[1]), "said": logs.stdout, "complained": logs.stderr}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[3:])))
