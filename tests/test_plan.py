# ruff: noqa: E501 - tables of cases and scripts read better on one line
"""Folding: order, contradictions, and what a plan shows.  Nothing here makes a process."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import containerkit as ck
from containerkit import mounts, ns
from containerkit.core import timeline
from containerkit.core.step import Phase, Side, Step
from containerkit.linux.syscalls import CLONE, MS

RUN = ["/bin/true"]
PARTS = [ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("x"), ns.Cgroup(), ns.Time(3), mounts.Root("/srv"), mounts.Dev(),
         mounts.Tmpfs("/tmp"), mounts.Tmpfs("/tmp/deep/er"), mounts.Bind("/etc", "/tmp/deep", directory=True), mounts.Masked(), mounts.ReadOnly()]  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.permutations(PARTS), st.booleans(), st.booleans())
def test_any_order_of_parts_is_the_same_legal_plan(parts: list[Any], share: bool, die: bool) -> None:
    plan = ck.plan(*parts, run=RUN, share_memory=share, die_with_parent=die)
    phases = [s.phase for s in plan.child_steps if s.call.name not in ("setsid",)]
    assert phases == sorted(phases)
    assert sorted(map(str, plan.timeline.steps)) == sorted(
        map(str, ck.plan(*PARTS, run=RUN, share_memory=share, die_with_parent=die).timeline.steps)
    )
    attached = [s.mounted for s in plan.child_steps if s.mounted]
    assert [path for path in attached if path.startswith("tmp")] == ["tmp", "tmp/deep", "tmp/deep/er"]
    assert attached[:3] == ["tmp", "tmp/deep", "tmp/deep/er"], "the kernel's own come last: nothing covers them"


def test_all_clone_flags_fold_into_one_call() -> None:
    clones = [s for s in ck.plan(*PARTS[:7], run=RUN).timeline.steps if s.call.name == "clone3"]
    assert len(clones) == 1
    waits = CLONE(0) if os.geteuid() == 0 else CLONE.VFORK  # a child of root's waits for the map of its ids
    made = CLONE.NEWUSER | CLONE.NEWNS | CLONE.NEWPID | CLONE.NEWNET | CLONE.NEWIPC | CLONE.NEWUTS | CLONE.NEWCGROUP
    assert clones[0].call.args[0] == made | waits | CLONE.VM | CLONE.PIDFD | CLONE.CHILD_CLEARTID | CLONE.CLEAR_SIGHAND
    assert clones[0].part == "ns.User, ns.Mount, ns.Pid, ns.Net, ns.Ipc, ns.Uts, ns.Cgroup"


def test_a_change_of_side_is_a_handshake() -> None:
    class Both:
        def steps(self) -> Iterator[Step]:
            for side in (Step.parent, Step.child, Step.parent):
                yield side(Phase.IDENTITY, ck.syscalls.Call("getpid", ()), why="x")

    steps = ck.plan(Both(), run=RUN).timeline.steps
    mine = [(s.side, s.call.name) for s in steps if s.why.startswith("handshake") or s.why == "x"]
    child, parent = Side.CHILD, Side.PARENT
    assert mine == [
        (child, "write"),
        (parent, "getpid"),
        (child, "read"),
        (child, "getpid"),
        (child, "write"),
        (parent, "getpid"),
        (child, "read"),
    ]
    clone = next(s for s in steps if s.call.name == "clone3")
    assert not clone.call.args[0] & CLONE.VFORK, "a parent that has to act must not be suspended"  # type: ignore[operator]
    assert not any(s.why.startswith("handshake") for s in ck.plan(ns.Net(), run=RUN).timeline.steps)


def test_a_plan_is_a_part() -> None:
    inner = ck.plan(ns.User(), ns.Uts("x"), run=["/bin/false"])
    outer = ck.plan(inner, ns.Net(), run=RUN)
    assert str(outer) == str(ck.plan(ns.User(), ns.Uts("x"), ns.Net(), run=RUN))


def _joined() -> Any:
    return ck.Namespace.of(0, "net")


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "two roots": (lambda: ck.plan(ns.User(), ns.Mount(), mounts.Root("/a"), mounts.Root("/b")), "two parts claim the root"),
    "twice the same kind": (lambda: ck.plan(ns.Net(), ns.Net()), "two parts claim the net namespace"),
    "joined and made": (lambda: ck.plan(_joined(), ns.Net()), "two parts claim the net namespace"),
    "two at one place": (lambda: ck.plan(ns.Mount(), mounts.Tmpfs("/tmp"), mounts.Tmpfs("/tmp/")), "mount at /tmp"),
    "two procs": (lambda: ck.plan(ns.Mount(), ns.Pid(), mounts.Proc()), "mount at /proc"),
    "a long name": (lambda: ns.Uts("x" * 65), "1 to 64 bytes, not 65"),
    "a long name in UTF-8": (lambda: ns.Uts("é" * 33), "not 66"),
    "a long domain": (lambda: ns.Uts(domainname="x" * 65), "not 65"),
    "no name": (lambda: ns.Uts(""), "not 0"),
    "NUL in a name": (lambda: ns.Uts("a\0b"), "NUL"),
    "NUL in an argument": (lambda: ck.plan(run=["a\0"]), "NUL"),
    "NUL in the environment": (lambda: ck.plan(run=RUN, env={"A": "\0"}), "NUL"),
    "NUL in a path": (lambda: mounts.Bind("/\0"), "NUL"),
    "NUL in the directory": (lambda: ck.plan(run=RUN, cwd="/\0"), "NUL"),
    "a variable without name": (lambda: ck.plan(run=RUN, env={"": "x"}), "not a name"),
    "a variable with =": (lambda: ck.plan(run=RUN, env={"A=B": "x"}), "not a name"),
    "an unknown flag": (lambda: ck.syscalls.mount("a", "b", "c", MS(1 << 45)), "unknown flag"),
    "an unknown option": (lambda: mounts.Tmpfs("/tmp", options=["nodve"]), "unknown mount option"),
    "run is a string": (lambda: ck.plan(run="sh -c ls"), "list of words"),
    "nothing in run": (lambda: ck.plan(run=[]), "at least the name"),
    "mounts without ns.Mount": (lambda: ck.plan(mounts.Tmpfs("/tmp")), r"add ns.Mount\(\)"),
    "a root without ns.Mount": (lambda: ck.plan(mounts.Root("/srv")), r"add ns.Mount\(\)"),
    "a class": (lambda: ck.plan(ns.User), r"did you forget the \(\)"),
    "no part": (lambda: ck.plan(3), "is not a part"),
    "overlap inside": (lambda: ns.User(uids=[(0, 0, 10), (5, 100, 10)], gids=[(0, 0, 10)]), "overlap inside"),
    "overlap outside": (lambda: ns.User(uids=[(0, 0, 10), (50, 5, 10)], gids=[(0, 0, 10)]), "overlap outside"),
    "an empty range": (lambda: ns.User(uids=[(0, 0, 0)], gids=[(0, 0, 1)]), "a range of uids"),
    "a negative range": (lambda: ns.User(uids=[(-1, 0, 2)], gids=[(0, 0, 1)]), "a range of uids"),
    "beyond the last id": (lambda: ns.User(uids=[(0, 2**32 - 2, 5)], gids=[(0, 0, 1)]), "a range of uids"),
    "only users": (lambda: ns.User(uids=[(0, 0, 1)]), "or of neither"),
    "who is not mapped": (lambda: ns.User(uid=7, uids=[(0, 0, 5)], gids=[(0, 0, 5)]), "no range holds uid 7"),
    "too many ranges": (lambda: ns.User(uids=[(i, i, 1) for i in range(341)], gids=[(0, 0, 1)]), "340 ranges"),
    "no id": (lambda: ns.User(uid=2**32 - 1), "not a uid"),
    "shared propagation": (lambda: ns.Mount("shared"), "would mount on the host"),
    "a relative target": (lambda: mounts.Tmpfs("tmp"), "absolute path inside"),
    "a climbing target": (lambda: mounts.Bind("/etc", "/a/../../etc"), "without '..'"),
    "a relative source": (lambda: mounts.Bind("etc", "/etc"), "absolute path of the host"),
    "a bad size": (lambda: mounts.Tmpfs("/tmp", size="1T2"), "a size is"),
    "a bad mode": (lambda: mounts.Tmpfs("/tmp", mode=0o10000), "not a mode"),
    "a bad hidepid": (lambda: mounts.Proc(hidepid="all"), "hidepid is"),
    "STDOUT for stdin": (lambda: ck.plan(run=RUN).spawn(stdin=ck.STDOUT), "STDOUT goes only"),
    "half a terminal": (lambda: ck.plan(run=RUN).spawn(stdin=ck.PTY), "PTY three times"),
    "no stream": (lambda: ck.plan(run=RUN).spawn(stdin=-7), "not a stream"),
    "a passed stdin": (lambda: ck.plan(run=RUN).spawn(fds={0: 1}), "numbers from 3"),
    "a passed nothing": (lambda: ck.plan(run=RUN).spawn(fds={3: None}), "open files"),
    "an init in a joined pid namespace": (lambda: ck.plan(ck.Namespace.of(0, "pid"), ns.Pid(init=True)), "claim the pid namespace"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", WRONG)
def test_a_contradiction_is_a_plan_error(name: str) -> None:
    make, words = WRONG[name]
    with pytest.raises(ck.PlanError, match=words) as caught:
        make()
    assert isinstance(caught.value, ValueError)


def test_a_contradiction_makes_no_system_call_that_changes_anything() -> None:
    """All of the above under strace: not one process, mount or namespace."""
    if subprocess.run(["which", "strace"], capture_output=True, check=False).returncode:
        pytest.skip("needs strace")
    code = "import sys; sys.path.insert(0, 'tests')\nimport test_plan\nfor make, _ in test_plan.WRONG.values():\n try: make(); print('made')\n except ValueError: print('refused')"
    argv = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=clone,clone3,fork,vfork,execve,mount,unshare,setns,openat2,sethostname",
        sys.executable,
        "-W",
        "ignore",
        "-c",
        code,
    ]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    )
    assert done.stdout.split() == ["refused"] * len(WRONG)
    looks = re.compile(r'openat2\(\d+, "[^"]*/ns", \{flags=O_RDONLY\|O_CLOEXEC\|O_DIRECTORY')  # Namespace.of opens what it stands for
    calls = [line for line in done.stderr.splitlines() if "(" in line and "exited" not in line and not looks.search(line)]
    assert [c.split("(")[0] for c in calls] == ["execve"], calls


def test_a_run_orders_its_steps_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that is a part, or is run with streams of its own, needs no timeline of its parts alone."""
    folded = []

    def fold(*args: Any) -> timeline.Timeline:
        folded.append(args)
        return timeline.fold(*args)

    monkeypatch.setattr(sys.modules["containerkit.core.plan"], "fold", fold)
    ck.run(["/bin/true"], ck.plan(ns.User(), ns.Mount()), check=True)
    assert len(folded) == 1


def test_what_a_plan_shows() -> None:
    plan = ck.plan(ns.User(), ns.Uts("lesson"), run=["sh"])
    lines = str(plan).splitlines()
    assert len(lines) == len(plan.timeline.steps)
    assert lines[0].split()[:3] == ["1", "parent", "clone"]
    assert "sethostname('lesson', 6)" in str(plan)
    told = plan.explain()
    assert "be called lesson" in told
    assert "(asked for by ns.Uts)" in told
    assert "see sethostname(2)" in told
    data = json.loads(json.dumps(plan.to_json()))
    assert data["run"] == ["sh"]
    assert [s["text"] for s in data["steps"]] == [str(s) for s in plan.timeline.steps]
    assert repr(plan) == f"<Plan of {len(lines)} steps, runs sh>"
    assert plan._repr_html_().count("<tr>") == len(lines) + 1
    assert all(s.why and s.man for s in plan.timeline.steps)


def test_printing_needs_no_extension() -> None:
    code = "import sys; sys.modules['containerkit._spawn'] = None\nimport containerkit as ck\nfrom containerkit import ns, mounts\n"
    code += "p = ck.plan(ns.User(), ns.Mount(), ns.Pid(), mounts.Root('/srv'), mounts.Dev(), run=['sh'])\nprint(len(str(p)) > 500)\n"
    code += "try: p.spawn()\nexcept ck.Unavailable as error: print('extension' in str(error))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_shuffling_is_repeatable() -> None:
    parts = random.Random(1).sample(PARTS, len(PARTS))
    assert str(ck.plan(*parts, run=RUN)) == str(ck.plan(*parts, run=RUN))
