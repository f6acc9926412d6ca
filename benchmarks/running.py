"""The ordinary call: a plan of which every part is made anew, against the same plan made once, a C program, and crun.

The benchmark measures `ck.run`, which makes the plan, collects the program's output, and waits.  The C program opens the same streams.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import containerkit as ck
from containerkit import LayerFS, Part, Plan, mounts, ns
from containerkit.errors import ContainerKitError

from . import peers, plans
from .floor import floor
from .ground import Ground
from .measure import QUICK, Budget, Contender, Sample, in_turn, timed
from .spawning import FLOOR, overlay
from .table import Table, Target

ONCE, EACH, AGAIN = "ck.run, plan made once", "ck.run, all parts made anew", "ck.run, all parts and the LayerFS made anew"
CRUN, FIRST, FIRST_IMAGE = "crun", "its plan", "and its program"
NOTE = "The floor is a static C program made from the plan, with the same streams and handshakes; see benchmarks/floor.py."
LIKE = (
    "crun has the same namespaces, ids, masked and read-only paths, no capability, no_new_privs, and a filter of the same calls (which it "
    "compiles once and keeps); its cgroup manager is disabled. It makes a state directory; it is started with posix_spawn, and what it "
    "writes is not collected."
)
RUNS = 200


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Measure the sandbox, a container over an overlay, and the first plan of a process."""
    return [_sandbox(ground, budget), _overlay(ground, budget), _first(ground, budget)]


def _sandbox(ground: Ground, budget: Budget) -> Table:
    root = str(ground.root)

    def made() -> Plan:
        return ck.plan(ck.sandbox(root), run=[plans.PROGRAM], die_with_parent=True)

    once = made()
    contenders: dict[str, Contender] = {
        ONCE: timed(lambda: once.run(check=True)),
        EACH: timed(lambda: ck.run([plans.PROGRAM], ck.sandbox(root), check=True)),
    }
    crun = shutil.which("crun")
    if crun:
        contenders[CRUN] = timed(_crun(ground, crun))
    table = _against_floor(ground, budget, "running-sandbox", "ck.run(argv, ck.sandbox(root))", made(), contenders)
    if crun:
        table.notes.append(LIKE)
        ratio = table.rows[CRUN].median / table.rows[EACH].median
        table.targets.append(Target(f"{CRUN}, to {EACH}", ratio, 3.0, at_least=True))
    return table


def _overlay(ground: Ground, budget: Budget) -> Table:
    def parts(root: Part) -> list[Part]:
        return [*plans.kinds().values(), root, mounts.Dev()]

    def made(root: Part) -> Plan:
        return ck.plan(*parts(root), run=[plans.PROGRAM], die_with_parent=True)

    empty = ground.directory / "empty"
    with ExitStack() as stack:
        floors, first, second = (stack.enter_context(overlay(ground)) for _ in range(3))
        once = made(first)
        contenders: dict[str, Contender] = {
            ONCE: timed(lambda: once.run(check=True)),
            EACH: timed(lambda: ck.run([plans.PROGRAM], *parts(second), check=True)),
            AGAIN: timed(lambda: ck.run([plans.PROGRAM], *parts(LayerFS(ground.root, empty, readonly=True)), check=True)),
        }
        return _against_floor(ground, budget, "running-overlay", "ck.run in all namespaces, over an overlay", made(floors), contenders)


def _against_floor(
    ground: Ground, budget: Budget, name: str, title: str, plan: Plan, contenders: Mapping[str, Contender]
) -> Table:  # fmt: skip
    with floor(ground, plan, name, piped=True) as bottom:
        rows = in_turn({FLOOR: bottom, **contenders}, budget)
    table = Table(name, title, rows, base=FLOOR, notes=[NOTE])
    table.targets.append(Target(f"{EACH}, to the floor", table.ratio(EACH), 1.5))
    return table


# --- crun --------------------------------------------------------------------------------------------------------


def _crun(ground: Ground, program: str) -> Callable[[], object]:
    """Prepare crun.  :raises RuntimeError: it does not run here"""
    bundle, state = ground.directory / "bundle-sandbox", str(ground.directory / "state-sandbox")
    bundle.mkdir(exist_ok=True)
    (bundle / "config.json").write_text(json.dumps(_config(ground)))

    def run() -> None:
        name = f"{peers.NAME}s{next(peers.NUMBERS)}"
        peers.started(program, "--root", state, "--cgroup-manager=disabled", "run", "--bundle", str(bundle), name)()

    return run


def _config(ground: Ground) -> dict[str, object]:
    """Describe `ck.sandbox` as the config.json of an OCI runtime."""
    uids, gids = ns.User().maps
    safe = ("nosuid", "nodev", "noexec")
    found = [peers.mount(*words) for words in (
        ("/proc", "proc", *safe), ("/dev", "tmpfs", "nosuid", "noexec", "mode=755", "size=64k"),
        ("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        ("/dev/shm", "tmpfs", *safe, "mode=1777", "size=64M"), ("/tmp", "tmpfs", "nosuid", "nodev", "mode=1777", "size=64M"),
    )]  # fmt: skip
    ids = [[{"containerID": first, "hostID": outside, "size": count} for first, outside, count in ranges] for ranges in (uids, gids)]
    no_capability: dict[str, list[str]] = {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    process = {
        "user": {"uid": 0, "gid": 0}, "args": [plans.PROGRAM], "env": [], "cwd": "/", "noNewPrivileges": True,
        "capabilities": no_capability,
    }  # fmt: skip
    linux = {
        "namespaces": [{"type": kind} for kind in peers.KINDS],
        "uidMappings": ids[0], "gidMappings": ids[1],
        "maskedPaths": list(mounts.MASKED), "readonlyPaths": list(mounts.READONLY), "seccomp": _filter(),
    }  # fmt: skip
    root = {"path": str(ground.root), "readonly": True}
    return {"ociVersion": "1.0.2", "root": root, "hostname": "sandbox", "process": process, "mounts": found, "linux": linux}


def _filter() -> dict[str, object]:
    """Return the calls that the sandbox's filter allows with any arguments."""
    default = ck.Seccomp.default()
    names = sorted({rule.name for rule in default.rules if default.allows(rule.name)})
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}


# --- the first plan of a process -----------------------------------------------------------------------------------

SCRIPT = """
import sys, time
from containerkit import DEVNULL, PIPE, plan, sandbox
root, program = sys.argv[1:]
begin = time.perf_counter_ns()
made = plan(sandbox(root), run=[program], die_with_parent=True)
planned = time.perf_counter_ns()
made.program((DEVNULL, PIPE, PIPE))
print((planned - begin) / 1000, (time.perf_counter_ns() - begin) / 1000)
"""


def _first(ground: Ground, budget: Budget) -> Table:
    """Measure the first plan of a fresh process, for which nothing is remembered, in milliseconds."""
    argv = [sys.executable, "-c", SCRIPT, str(ground.root), plans.PROGRAM]
    taken: list[tuple[float, float]] = []
    for _ in range(2 if budget is QUICK else 25):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ContainerKitError(done.stderr)
        planned, compiled = map(float, done.stdout.split())
        taken.append((planned, compiled))
    rows = {FIRST: Sample(tuple(each[0] for each in taken)), FIRST_IMAGE: Sample(tuple(each[1] for each in taken))}
    table = Table("running-first", "The first sandbox of a process, after the import of what makes it", rows)
    table.targets.append(Target(f"{FIRST}, ms", rows[FIRST].median / 1000, 6.0))
    return table
