"""A program with a set-user-ID bit, with and without the promise."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from support import again, compiled

import containerkit as ck
from containerkit import ns
from containerkit.parts.privileges import NoNewPrivileges

WHO = r"""
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d\n", geteuid()); return 0; }
"""


@pytest.fixture
def set_user_id() -> Iterator[Path]:
    directory = Path(mkdtemp(prefix="ck-privileges-"))
    directory.chmod(0o755)
    compiled(WHO, directory / "who").chmod(0o4755)
    yield directory / "who"
    shutil.rmtree(directory)


@pytest.mark.root
def test_a_set_user_id_program_runs_as_its_caller(set_user_id: Path) -> None:
    class Ordinary:
        def steps(self) -> Any:
            yield ck.Step.child(ck.Phase.DROP, ck.syscalls.setresuid(1234), why="not be root", helper="join")

    if "nosuid" in ck.run(["findmnt", "-no", "OPTIONS", "-T", set_user_id], env={"PATH": "/usr/bin:/bin"}).text:
        pytest.skip("the temporary directory is mounted nosuid")
    assert ck.run([set_user_id], Ordinary()).text == "0\n"
    assert ck.run([set_user_id], Ordinary(), NoNewPrivileges()).text == "1234\n"


@pytest.mark.parametrize("inside", [(), (ns.User(),), (ns.User(), ns.Mount(), ns.Pid(init=True))], ids=["plain", "user", "init"])
def test_it_passes_on_and_the_caller_does_not_get_it(inside: tuple[Any, ...]) -> None:
    command = ["sh", "-c", "grep NoNewPrivs /proc/self/status; true"]
    assert ck.run(command, *inside, NoNewPrivileges()).text == "NoNewPrivs:\t1\n"
    assert ck.run(command, *inside).text == "NoNewPrivs:\t0\n"


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
