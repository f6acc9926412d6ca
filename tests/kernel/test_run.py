"""run(): a program to its end, and how it went."""

from __future__ import annotations

from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import ns

SH = ["/bin/sh", "-c"]


def test_what_a_program_said() -> None:
    result = ck.run([*SH, "echo out; echo err >&2; exit 3"])
    assert (result.exit_code, result.stdout, result.stderr, result.stopped_by, result.text) == (3, b"out\n", b"err\n", None, "out\n")
    assert 0 <= result.usage.cpu_seconds < 5
    assert result.seconds > 0
    assert result.trace[-1].step.call.name == "execve"


def test_input_is_nothing_unless_given() -> None:
    assert ck.run(["/bin/cat"]).stdout == b""
    assert ck.run(["/bin/cat"], input=b"x" * 300_000).stdout == b"x" * 300_000


@pytest.mark.parametrize("parts", [[], [ns.User(), ns.Mount(), ns.Pid()], [ns.User(), ns.Mount(), ns.Pid(init=True)]])
def test_who_takes_too_long(parts: list[Any]) -> None:
    result = ck.run([*SH, "echo begun; while :; do :; done"], *parts, timeout=0.5)
    assert (result.exit_code, result.stopped_by, result.stdout) == (137, "timeout", b"begun\n")
    assert 0.5 <= result.seconds < 5


def test_a_signal() -> None:
    result = ck.run([*SH, "kill -TERM $$"])
    assert (result.exit_code, result.stopped_by) == (143, "signal")


def test_one_that_ended_in_time_was_not_stopped() -> None:
    assert ck.run(["/bin/true"], timeout=20).stopped_by is None


def test_checked() -> None:
    assert ck.run(["/bin/true"], check=True).exit_code == 0
    with pytest.raises(ck.Failed, match="exit code 7\nwhy") as caught:
        ck.run([*SH, "echo why >&2; exit 7"], check=True)
    assert caught.value.result.exit_code == 7


def test_environment_and_directory() -> None:
    assert ck.run([*SH, "echo $A; pwd"], env={"A": "b"}, cwd="/usr").stdout == b"b\n/usr\n"


def test_a_plan_runs_itself() -> None:
    assert ck.plan(ns.User(), ns.Uts("me"), run=["hostname"]).run(timeout=10).stdout == b"me\n"


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
