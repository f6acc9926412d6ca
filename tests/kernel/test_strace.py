"""The calls that strace sees of the child are those that the plan printed, for any combination of parts; their order does not matter.

One Python under strace makes all the plans: it reads the text of one a line, spawns it, and says what it expected.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from enum import IntFlag
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support import again

from containerkit.core.step import Step
from containerkit.linux.syscalls import Labelled
from containerkit.parts import mounts, ns  # noqa: F401 - the plans' texts name them

ROOT = os.geteuid() == 0
DRIVER = """
import json, sys
import containerkit as ck
from containerkit import mounts, ns
ck.plan(run=["true"], die_with_parent=True).run()  # everything is imported and compiled, and the guardian is there
print("ready", flush=True)
for line in sys.stdin:
    made = eval(line)
    plan, streams = made if isinstance(made, tuple) else (made, {})
    try:
        with plan.spawn(**streams) as process:
            code = process.wait()
    except ck.StepError as error:
        code = str(error)
    print(json.dumps({"end": code}), flush=True)
"""
SHOW = "hostname; id; echo /dev/* $PWD; while read a b c d e f; do echo $e $f; done < /proc/self/mountinfo || true"
OPTIONS = ["die_with_parent=True", "share_memory=False", "new_session=False", "cwd='/'"]


class Strace:
    """A Python under strace."""

    def __init__(self, directory: Path) -> None:
        self.log, self.read = directory / "strace", 0
        argv = ["strace", "-f", "-qq", "-s", "400", "-o", self.log, sys.executable, "-c", DRIVER]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        if self.process.stdout.readline() != "ready\n":
            self.process.communicate()
            pytest.skip("strace may not trace here")
        lines = self.log.read_text().splitlines()
        self.driver = lines[0].split(maxsplit=1)[0]
        self.others = {line.split(maxsplit=1)[0] for line in lines}  # the driver, the guardian, and what has ended

    def spawn(self, text: str) -> tuple[list[str], dict[str, list[str]], Any]:
        """The output of a plan's program, the calls of each of its processes, and how it ended."""
        assert self.process.stdin
        assert self.process.stdout
        before = self.log.stat().st_size
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        printed = []
        while not (line := self.process.stdout.readline()).startswith('{"end"'):
            assert line, "the driver ended"
            printed.append(line)
        with self.log.open() as log:
            log.seek(before)
            log.readline()  # the rest of the line with which the driver reads its input
            return printed, calls(log.read(), self.others), json.loads(line)["end"]

    def close(self) -> None:
        self.process.communicate()


def calls(log: str, others: set[str]) -> dict[str, list[str]]:
    """pid -> its calls as lines, in the order they began; without those of the driver and its guardian."""
    found: dict[str, list[str]] = {}
    for line in log.splitlines():
        pid, _, text = line.partition(" ")
        text = text.strip()
        if pid in others or text.startswith(("+++", "---")):
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>", text)
        if resumed and pid not in found:
            continue  # a process of the run before is on its way out
        mine = found.setdefault(pid, [])
        if resumed:
            mine[-1] += text[resumed.end() :]
        else:
            mine.append(text.removesuffix("<unfinished ...>"))
    return found


def child(processes: dict[str, list[str]], steps: tuple[Step, ...]) -> list[str]:
    """The child's calls up to the exec of the program.  Where the plan clones, the clone goes on."""
    waiting = list(processes.values())
    mine, seen = waiting.pop(0), []
    for step in steps:
        if not mine:
            break
        seen.append(mine.pop(0))
        if step.call.name.startswith("clone"):
            mine = waiting.pop(0)
        if step.call.name == "execve" and seen[-1].endswith("= 0"):
            break
    return seen


def name(line: str) -> str:
    return line.partition("(")[0]


def agrees(step: Step, line: str) -> bool:
    """Whether strace shows the step's name, its strings and its flags."""
    quoted = [f'"{os.fsdecode(a)}"' for a in step.call.args if isinstance(a, bytes)]
    flags = [m.name or "" for a in step.call.args if isinstance(a, IntFlag) for m in type(a) if m in a]
    modes = [f"{a.value:#o}".replace("0o", "0") for a in step.call.args if isinstance(a, Labelled) and re.fullmatch(r"0o\d+", a.words)]
    words = re.findall(r"\w+", line)
    shown = all(any(w.endswith(flag) for w in words) for flag in flags)
    # the file type of mknod is shown by name
    shown_modes = name(line) == "mknodat" or all(mode in line for mode in modes)
    return name(line) == step.call.name and all(q in line for q in quoted) and shown and shown_modes


@pytest.fixture(scope="module")
def strace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strace]:
    if subprocess.run(["which", "strace"], capture_output=True, check=False).returncode:
        pytest.skip("needs strace")
    made = Strace(tmp_path_factory.mktemp("strace"))
    yield made
    made.close()


@st.composite
def texts(draw: st.DrawFn, root: str) -> tuple[list[str], list[str]]:
    """Parts and options of a plan that the kernel takes, as Python."""
    users = ["ns.User()", *(["ns.User(uids=[(0, 0, 900)], gids=[(0, 0, 900)])", ""] if ROOT else [])]
    user, pid = draw(st.sampled_from(users)), draw(st.sampled_from(["", "ns.Pid()", "ns.Pid(init=True)", "ns.Pid(proc=False)"]))
    kinds = ["ns.Net()", "ns.Net(loopback=False)", "ns.Ipc()", "ns.Uts('lesson')", "ns.Uts()", "ns.Cgroup()", "ns.Time(5.5)"]
    chosen = [user, pid, *draw(st.lists(st.sampled_from(kinds), unique_by=lambda t: t[:5]))]
    if draw(st.booleans()):
        chosen += ["ns.Mount()" if draw(st.booleans()) else "ns.Mount(propagation='slave')"]
        places = ["mounts.Tmpfs('/tmp', size='1M')", "mounts.Tmpfs('/run/a/b')", "mounts.Bind('/etc', '/mnt', readonly=True)"]
        places += [
            "mounts.Bind('/etc/hostname', '/srv/name/it')",
            "mounts.Dev()",
            "mounts.Masked()",
            "mounts.ReadOnly(['/etc', '/nowhere'])",
        ]
        places += ["mounts.Sysfs()"] if any("Net" in t for t in chosen) else []
        places += ["mounts.Mqueue('/mnt2')"] if any("Ipc" in t for t in chosen) else []
        chosen += [f"mounts.Root({root!r})", *draw(st.lists(st.sampled_from(places), unique=True))]
    # a program whose /proc is of another pid namespace cannot list the mounts: only ns.Pid(proc=True) or none shows them
    return [t for t in chosen if t], draw(st.lists(st.sampled_from(OPTIONS), unique=True))


def text(parts: list[str], options: list[str]) -> str:
    run = ["/bin/sh", "-c", f"exec 2>/dev/null; {SHOW}"]
    return f"ck.plan({', '.join([*parts, f'run={run!r}', *options])})"


PHASES = (Phase.explicit, Phase.generate)  # making an example smaller takes minutes under strace
SETTINGS = settings(max_examples=40, deadline=None, derandomize=True, phases=PHASES, suppress_health_check=list(HealthCheck))


def built(line: str) -> Any:
    import containerkit as ck  # noqa: F401

    return eval(line)


@SETTINGS
@given(data=st.data())
def test_strace_of_the_child_is_the_printed_plan(data: st.DataObject, strace: Strace, rootdir: Path) -> None:
    parts, options = data.draw(texts(str(rootdir)))
    line = text(parts, options)
    plan = built(line)
    printed, processes, code = strace.spawn(line)
    assert code == 0
    seen = child(processes, plan.child_steps)
    assert [name(s) for s in seen] == [s.call.name for s in plan.child_steps][: len(seen)]
    assert name(seen[-1]) == "execve"
    assert [(str(s), line) for s, line in zip(plan.child_steps, seen, strict=False) if not agrees(s, line)] == []
    # the same parts in another order: a legal plan with the same outcome
    shuffled = random.Random(line).sample(parts, len(parts))
    other, _, code = strace.spawn(text(shuffled, options))
    assert code == 0
    assert sorted(other) == sorted(printed)
    assert sorted(map(str, built(text(shuffled, options)).child_steps)) == sorted(map(str, plan.child_steps))


@pytest.mark.parametrize(("part", "option"), [("", ""), ("ns.Pid(init=True), ", ""), ("", ", share_memory=False")])
def test_a_terminal_is_in_the_plan_too(strace: Strace, part: str, option: str) -> None:
    made = f"ck.plan({part}ns.User(), ns.Mount(), mounts.Dev(), run=['/bin/true']{option})"
    _, processes, code = strace.spawn(f"({made}, dict(stdin=ck.PTY, stdout=ck.PTY, stderr=ck.PTY, size=(3, 4)))")
    assert code == 0
    steps = built(made).with_streams(stdin=-4, stdout=-4, stderr=-4, size=(3, 4)).child_steps
    seen = child(processes, steps)
    assert "sendmsg" in {name(line) for line in seen}
    assert [name(s) for s in seen] == [s.call.name for s in steps][: len(seen)]
    assert [(str(s), line) for s, line in zip(steps, seen, strict=False) if not agrees(s, line)] == []


def test_a_call_that_is_not_in_the_plan_is_seen(strace: Strace) -> None:
    line = "ck.plan(run=['/bin/sh', '-c', 'exit 3'])"
    _, processes, code = strace.spawn(line)
    steps = built(line).child_steps
    seen = child(processes, steps)
    assert code == 3
    assert len(seen) == len(steps)
    assert not agrees(steps[0], seen[1])


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
