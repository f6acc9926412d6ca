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


@pytest.fixture
def layout(rootdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An OCI layout of the programs, and a place for the user's own store."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("containerkit.store.store.default_directory", lambda: tmp_path / "data" / "store")
    ck.Image.scratch().append(ck.Layer.from_directory(rootdir), history="programs").save(tmp_path / "programs.oci", "programs")
    return tmp_path / "programs.oci"


def test_2_run_code_you_do_not_trust(layout: Path) -> None:
    image = ck.Image.open(layout)
    result = ck.run(["sh", "-c", "while true; do true; done"], ck.sandbox(image), timeout=2)
    assert (result.exit_code, result.stopped_by) == (137, "timeout")
    assert (result.stdout, result.stderr) == (b"", b"")
    assert result.usage.cpu_seconds > 0.5


@pytest.mark.root  # an ordinary user needs a delegated cgroup
def test_3_assemble_it_yourself(layout: Path, tmp_path: Path) -> None:
    image = ck.Image.open(layout)
    with (
        ck.LayerFS(image) as root,
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
        layer = root.diff()
        with root.commit() as following:
            assert ck.run(["ls", "/new"], ns.User(), ns.Mount(), ns.Pid(), following).text == "/new\n"
    image2 = image.append(layer).with_config(cmd=["sh"])
    image2.save(tmp_path / "changed.oci")
    again = ck.Image.open(tmp_path / "changed.oci")
    again.validate()
    assert again == image2 != image
    with ck.LayerFS(again) as root:
        assert ck.run(["ls", "/new"], ns.User(), ns.Mount(), ns.Pid(), root).text == "/new\n"


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
