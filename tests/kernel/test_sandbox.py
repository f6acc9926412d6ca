"""sandbox(): what a program that is not trusted finds, and what it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

import containerkit as ck


def tried(rootdir: Path, script: str, *more: ck.Part) -> ck.Result:
    return ck.run(["/bin/sh", "-c", script], ck.sandbox(rootdir, *more), timeout=20)


def test_it_runs(rootdir: Path) -> None:
    result = tried(rootdir, "hostname; id -u; echo $$")
    assert result.text.split() == ["sandbox", "0", "1"]
    assert (result.exit_code, result.stopped_by) == (0, None)


def test_it_has_no_power(rootdir: Path) -> None:
    status = dict(line.split(":\t") for line in tried(rootdir, "cat /proc/self/status").text.splitlines())
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


@pytest.mark.parametrize(
    "script",
    [
        "touch /new",
        "mount -t tmpfs none /tmp",
        "hostname other",
        "echo 1 > /proc/sys/kernel/ns_last_pid",
        "read line < /proc/interrupts",
        "echo -1000 > /proc/1/oom_score_adj",
        "chown 1 /tmp",
    ],
)
def test_it_cannot(rootdir: Path, script: str) -> None:
    result = tried(rootdir, script)
    assert result.exit_code != 0, result.text


def test_it_may_write_to_tmp(rootdir: Path) -> None:
    assert tried(rootdir, "echo here > /tmp/x; cat /tmp/x").text == "here\n"


def test_it_sees_nobody_else(rootdir: Path) -> None:
    assert tried(rootdir, "ps -e -o pid=; exit 0").text.split()[0] == "1"


def test_time_is_up_for_all_of_it(rootdir: Path) -> None:
    result = ck.run(["/bin/sh", "-c", "sleep 100 & sleep 100"], ck.sandbox(rootdir), timeout=0.5)
    assert (result.exit_code, result.stopped_by) == (137, "timeout")


def test_a_busy_loop_is_counted(rootdir: Path) -> None:
    result = ck.run(["/bin/sh", "-c", "while :; do :; done"], ck.sandbox(rootdir), timeout=1)
    assert result.stopped_by == "timeout"
    assert result.usage.cpu_seconds > 0.2


def test_a_layerfs_takes_the_changes(rootdir: Path) -> None:
    with ck.LayerFS(rootdir) as root:
        assert tried_in(root, "echo x > /new").exit_code == 0
        assert [str(change) for change in root.changes()] == ["added    /new"]


def tried_in(root: ck.LayerFS, script: str) -> ck.Result:
    return ck.run(["/bin/sh", "-c", script], ck.sandbox(root), timeout=20)
