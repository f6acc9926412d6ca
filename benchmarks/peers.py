"""Peers: other programs with the same purpose, from the same Python process, with the same root and the same tiny program.

A peer is started with posix_spawn, Python's cheapest way.  The time to load the peer's own binary counts, as its user pays it too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from itertools import count

from . import plans
from .ground import Ground
from .measure import Budget, in_turn, timed
from .table import Table, Target

KINDS = ("user", "mount", "pid", "network", "ipc", "uts", "cgroup")
OURS = "containerkit"
NAME = f"ck-bench-{os.getpid()}-"
NULL: dict[str, str] = {}
NUMBERS = count()


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Compare containers with containers, and plain processes with plain processes."""
    return [_containers(ground, budget), _processes(ground, budget)]


def _containers(ground: Ground, budget: Budget) -> Table:
    plan, notes = plans.bound(ground), list(NOTES)
    runs: dict[str, Callable[[], object]] = {OURS: lambda: plans.run(plan)}
    for name, make in PEERS.items():
        program = shutil.which(name)
        run = make(ground, program) if program else None
        if run and _works(run):
            runs[name] = run
        else:
            notes.append(f"{name} is left out: {'it does not run here' if program else 'it is not installed'}.")
    rows = in_turn({name: timed(run) for name, run in runs.items()}, budget)
    table = Table("peers", "A container, from Python: spawn and wait", rows, base=OURS, notes=notes)
    for name, limit in (("bwrap", 2.0), ("crun", 4.5)):
        if name in rows:
            table.targets.append(Target(f"{name}, to containerkit", table.ratio(name), limit, at_least=True))
    return table


def _works(run: Callable[[], object]) -> bool:
    try:
        run()
    except RuntimeError:
        return False
    return True


def started(*argv: str) -> Callable[[], object]:
    def run() -> None:
        pid = os.posix_spawn(argv[0], argv, NULL)
        if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            raise RuntimeError(f"{argv[0]} ended with {code}")

    return run


def _unshare(ground: Ground, program: str) -> Callable[[], object]:
    kinds = ("--user", "--map-root-user", "--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "--cgroup")
    return started(program, *kinds, f"--root={ground.root}", "--mount-proc", plans.PROGRAM)


def _bwrap(ground: Ground, program: str) -> Callable[[], object]:
    return started(
        program, "--unshare-all", "--as-pid-1", "--bind", str(ground.root), "/", "--proc", "/proc", "--dev", "/dev", plans.PROGRAM
    )


def _crun(ground: Ground, program: str) -> Callable[[], object]:
    return oci(ground, program, "--cgroup-manager=disabled")


def _runc(ground: Ground, program: str) -> Callable[[], object]:
    return oci(ground, program)


def oci(ground: Ground, program: str, *options: str, resources: Mapping[str, object] | None = None) -> Callable[[], object]:
    """Return a run of crun or runc, with limits if `resources` are given."""
    bundle, state = _bundle(ground, resources), ground.directory / f"state-{os.path.basename(program)}"

    def run() -> None:
        started(program, "--root", str(state), *options, "run", "--bundle", bundle, f"{NAME}{next(NUMBERS)}")()

    return run


def _bundle(ground: Ground, resources: Mapping[str, object] | None) -> str:
    """Make an OCI bundle with the namespaces and mounts of the plan, no seccomp filter, no limits unless given."""
    directory = ground.directory / ("bundle-limited" if resources else "bundle")
    directory.mkdir(exist_ok=True)
    mounts = [mount(*m) for m in (
        ("/proc", "proc", "nosuid", "nodev", "noexec"),
        ("/dev", "tmpfs", "nosuid", "noexec", "mode=755", "size=64k"),
        ("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        ("/dev/shm", "tmpfs", "nosuid", "nodev", "noexec", "mode=1777", "size=64M"),
    )]  # fmt: skip
    process = {"user": {"uid": 0, "gid": 0}, "args": [plans.PROGRAM], "env": [], "cwd": "/", "noNewPrivileges": False, "capabilities": {}}
    ids = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    linux: dict[str, object] = {"namespaces": [{"type": kind} for kind in KINDS]}
    linux |= {"uidMappings": ids, "gidMappings": [ids[0] | {"hostID": os.getegid()}]}
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": str(ground.root)},
        "hostname": "lesson",
        "process": process,
        "mounts": mounts,
        "linux": linux | ({"resources": resources} if resources else {}),
    }
    (directory / "config.json").write_text(json.dumps(config))
    return str(directory)


def mount(target: str, fstype: str, *options: str) -> dict[str, object]:
    return {"destination": target, "type": fstype, "source": fstype, "options": options}


PEERS = {"unshare": _unshare, "bwrap": _bwrap, "crun": _crun, "runc": _runc}
NOTES = (
    "The like work: user, mnt, pid, net, ipc, uts and cgroup namespaces, a directory as root, /proc, a minimal /dev.",
    "Nobody has an overlay, a seccomp filter or limits.",
    "Each peer is started with posix_spawn from the same Python; loading its own binary counts, as its user pays for it.",
    "unshare(1) does less: it uses chroot, makes no /dev, sets no host name and no loopback.",
    "bwrap runs with --as-pid-1, so that it starts no init of its own; it sets no host name.",
    "crun runs with its cgroup manager disabled, keeps a state directory, and drops all capabilities.",
    "runc does more: it also makes a cgroup in every hierarchy, and keeps a state directory.",
)


def _processes(ground: Ground, budget: Budget) -> Table:
    """Measure plain processes without isolation: the cost of the library itself."""
    plan, argv = plans.bare(ground), [ground.payload]
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: plans.run(plan),
        "os.posix_spawn": started(ground.payload),
        "os.fork and os.execve": lambda: fork_exec(ground.payload),
        "subprocess.run": lambda: subprocess.run(argv, check=True, env={}),
    }
    note = "containerkit closes all other descriptors, leads a new session and keeps a trace; os.posix_spawn and os.fork here do not."
    rows = in_turn({name: timed(run) for name, run in runs.items()}, budget)
    return Table("processes", "A plain process, from Python: spawn and wait", rows, base=OURS, notes=[note])


def fork_exec(program: str) -> None:
    """Run a program by fork and exec.  :raises RuntimeError: the program failed"""
    pid = os.fork()
    if not pid:
        try:
            os.execve(program, [program], {})
        finally:
            os._exit(127)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"{program} failed")
