"""The scripts of the design, as their users would write them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import containerkit as ck
from containerkit import ns


def test_1_look_before_you_leap() -> None:
    plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), ns.Uts("lesson"), run=["sh"])
    printed = str(plan)
    assert "sethostname('lesson', 6)" in printed
    assert "execve('/bin/sh', ['sh'], [])" in printed


@pytest.mark.root  # an ordinary user needs a delegated cgroup
def test_3_assemble_it_yourself(rootdir: Path) -> None:
    with (
        ck.LayerFS(rootdir) as root,
        ck.Cgroup("lesson", memory_max="64M", pids_max=32, cpu_max=0.5) as group,
    ):
        plan = ck.plan(
            ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("lesson"), root, group,
            ck.Capabilities.none(), ck.NoNewPrivileges(), ck.Seccomp.default(),
            run=["sh", "-c", "hostname; touch /new"],
        )  # fmt: skip
        with plan.spawn(stdout=ck.PIPE) as process:
            assert process.stdout
            assert process.stdout.read() == b"lesson\n"
            assert process.wait() == 0
            assert int(group.read("memory.peak")) > 0
        for entry in process.trace:
            assert f"{entry.microseconds:8.1f} us  {entry.step}"
        assert [str(change) for change in root.changes()] == ["added    /new"]
        with root.commit() as following:
            assert ck.run(["ls", "/new"], ns.User(), ns.Mount(), ns.Pid(), following).text == "/new\n"


def test_4_live_namespaces_are_values() -> None:
    with ck.plan(ns.User(), ns.Net(), run=["sleep", "100"]).spawn() as process:
        web = ck.Namespace.of(process.pid, "net")
        owner = ck.Namespace.of(process.pid, "user")
        assert web == ck.Namespace.of(process.pid, "net")
        assert web != ck.Namespace.of(0, "net")
        seen = ck.run(["readlink", "/proc/self/ns/net"], owner, web, ns.Mount())
        assert seen.text == f"net:[{web.inode}]\n"


@dataclass(frozen=True)
class Nice:
    "Give way to others.  :see: setpriority(2)"

    value: int = 10

    def steps(self) -> Iterator[ck.Step]:
        yield ck.Step.child(ck.Phase.DROP, ck.syscalls.setpriority(0, 0, self.value), why="give way to others")


def test_5_a_part_of_your_own() -> None:
    plan = ck.plan(Nice(), run=["sh", "-c", "cut -d' ' -f19 /proc/self/stat"])
    assert "setpriority(0, 0, 10)" in str(plan)
    assert plan.run().text == "10\n"


def test_8_what_this_machine_allows() -> None:
    assert "user namespaces" in str(ck.doctor())
