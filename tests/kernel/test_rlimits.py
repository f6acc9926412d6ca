"""Limits as the kernel has them for the program, and what they do."""

from __future__ import annotations

import os
import resource
from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import ns
from containerkit.parts.privileges import NoNewPrivileges
from containerkit.parts.rlimits import Rlimits
from containerkit.parts.seccomp import Seccomp


def limits(*parts: Any) -> dict[str, list[str]]:
    """/proc/self/limits of a program: name -> soft, hard."""
    lines = ck.run(["cat", "/proc/self/limits"], *parts, check=True).text.splitlines()[1:]
    return {line[4:26].strip(): line[26:].split()[:2] for line in lines}


@pytest.mark.parametrize("inside", [(), (ns.User(),), (ns.User(), ns.Mount(), ns.Pid(init=True))], ids=["plain", "user", "init"])
def test_the_program_has_them(inside: tuple[Any, ...]) -> None:
    said = limits(
        *inside, Rlimits(nofile=(64, 128), core=0, as_=(1 << 30, "unlimited"), cpu=5, fsize=(4096, 8192), stack=(1 << 20, 1 << 21))
    )
    assert said["open files"] == ["64", "128"]
    assert said["core file size"] == ["0", "0"]
    assert said["address space"] == ["1073741824", "unlimited"]
    assert said["cpu time"] == ["5", "5"]
    assert said["file size"] == ["4096", "8192"]
    assert said["stack size"] == ["1048576", "2097152"]


def test_the_caller_keeps_its_own() -> None:
    before = {name: resource.getrlimit(value) for name, value in vars(resource).items() if name.startswith("RLIMIT_")}
    assert limits(Rlimits(nofile=64, core=0))["open files"] == ["64", "64"]
    assert {name: resource.getrlimit(getattr(resource, name)) for name in before} == before


def test_they_hold() -> None:
    assert ck.run(["sh", "-c", "ulimit -n"], Rlimits(nofile=77)).text == "77\n"
    busy = ck.run(["sh", "-c", "while :; do :; done"], Rlimits(cpu=1), timeout=20)
    assert (busy.exit_code, busy.stopped_by) == (128 + 9, "signal")


def test_raising_a_hard_limit_takes_a_capability_of_the_host() -> None:
    too_many = resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1
    with open("/proc/sys/fs/nr_open") as file:
        above_all = int(file.read()) + 1
    with pytest.raises(ck.StepError, match="only with CAP_SYS_RESOURCE") as caught:
        ck.run(["true"], ns.User(), Rlimits(nofile=max(too_many, above_all)), NoNewPrivileges(), Seccomp.default())
    assert caught.value.errno == 1
    assert os.strerror(1) in str(caught.value)


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
