"""The demo: a container made from nothing, shown from the inside and from the outside."""

from __future__ import annotations

import os
import subprocess

import psutil

from ..core.plan import Plan, plan
from ..core.process import Process
from ..core.step import Part
from ..layers.layerfs import LayerFS
from ..parts import mounts, ns
from ..parts.namespace import KINDS, Namespace
from ..rootfs import rootfs

PROGRAMS = ["sh", "ls", "hostname", "id", "ps", "mount", "cat", "rm", "uname", "readlink"]
INSIDE = """
say() { echo; echo "  \\$ $*"; "$@" 2>&1 | while IFS= read -r line; do echo "    $line"; done; }
say hostname
say id
say ps -e -o pid,user,args
say mount -t overlay,proc,tmpfs,devpts
echo "written inside" > /hello
rm /etc/hosts
echo READY
read wait
"""


def demo(*, explain: bool = False) -> int:
    """Print a plan, run it, and show both sides, the changes and the trace.  Needs no download and no privilege."""
    base = rootfs.from_programs(PROGRAMS)
    _title("1. A root directory, made of this machine's own programs and the libraries they need")
    print(f"    {base}\n    {' '.join(PROGRAMS)}")
    with LayerFS(base) as root:
        made = plan(*_parts(root), run=["sh", "-c", INSIDE], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        _title("2. The plan: every system call that will be made, before any is")
        print(made.explain() if explain else made)
        _watch(made, root)
    return 0


def _parts(root: LayerFS) -> list[Part]:
    everything: list[Part] = [ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("lesson"), ns.Cgroup(), ns.Time(boottime=86400.0)]
    return [*everything, root, mounts.Dev(), mounts.Sysfs()]


def _watch(made: Plan, root: LayerFS) -> None:
    with made.spawn(stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        _title("3. The same plan, done: what the program sees from the inside")
        for line in iter(process.stdout.readline, b"READY\n"):
            if not line:
                break
            print("  " + line.decode(errors="replace"), end="")
        _title("4. The same process from the outside")
        _outside(process)
        process.stdin.write(b"\n")
        process.wait()
    _title("5. What it changed: the upper directory of the overlay, and nothing else")
    for change in root.changes():
        print(f"    {change}")
    _title("6. The trace: what each call returned, and how long it took")
    print(process.trace)


def _outside(process: Process) -> None:
    seen = psutil.Process(process.pid)
    print(f"    pid {process.pid} here, 1 in there; user {seen.username()} here, root in there; parent {seen.ppid()} is this program")
    print(f"    {' '.join(seen.cmdline()[:2])} ...")
    for kind in KINDS:
        ours, theirs = Namespace.of(os.getpid(), kind), Namespace.of(process.pid, kind)
        with ours, theirs:
            same = "the same" if ours == theirs else "its own"
            print(f"    {kind:7} namespace  {theirs.inode:<11} {same}")


def _title(text: str) -> None:
    print(f"\n=== {text}\n")
