"""Spawning: which program is found, and what is said when none is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import TRUE, again, compiled

import containerkit as ck
from containerkit import mounts, ns


def error_of(program: str | Path, *parts: Any, **options: Any) -> ck.StepError:
    with pytest.raises(ck.StepError) as caught:
        ck.plan(*parts, run=[program], **options).spawn().close()
    return caught.value


def executable(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    path.chmod(0o755)
    return path


def test_a_missing_program(tmp_path: Path) -> None:
    error = error_of(tmp_path / "none")
    assert (error.errno, error.filename, error.step.call.name) == (2, None, "execve")
    assert "no such program" in error.hint


def test_a_missing_interpreter_of_a_script(tmp_path: Path) -> None:
    program = executable(tmp_path / "script", b"#!/nowhere/sh -e\n")
    assert error_of(program).hint == f"{program} is there, but its interpreter /nowhere/sh is not: add it to the root"


def test_a_missing_interpreter_of_a_binary(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/true").write_bytes(Path("/bin/true").read_bytes())
    (root / "bin/true").chmod(0o755)
    error = error_of("/bin/true", ns.User(), ns.Mount(), mounts.Root(root))
    assert error.errno == 2
    assert "/bin/true is there, but its interpreter /lib" in error.hint
    # found in PATH, it is the same
    error = error_of("true", ns.User(), ns.Mount(), mounts.Root(root))
    assert "/bin/true is there, but its interpreter /lib" in error.hint


@pytest.mark.parametrize(("text", "mode", "errno"), [(b"#!/bin/sh\n", 0o644, 13), (b"neither", 0o755, 8), (b"\x7fELF broken", 0o755, 8)])
def test_what_is_there_but_is_no_program(text: bytes, mode: int, errno: int, tmp_path: Path) -> None:
    program = executable(tmp_path / "file", text)
    program.chmod(mode)
    assert error_of(program).errno == errno


def test_a_name_is_looked_up_in_the_path_given(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    compiled(TRUE, tmp_path / "b/mine")
    executable(tmp_path / "a/mine", b"#!/bin/sh\n").chmod(0o644)  # EACCES there, as for a shell, is no end of the search
    with ck.plan(run=["mine"], env={"PATH": f"{tmp_path}/none:{tmp_path}/a:{tmp_path}/b"}).spawn() as process:
        assert process.wait() == 0
    assert error_of("mine").errno == 2
    assert error_of("mine", env={"PATH": f"{tmp_path}/a"}).errno == 13
    # of several directories the one that got furthest has the most to say
    error = error_of("mine", env={"PATH": f"{tmp_path}/a:{tmp_path}/none"})
    assert error.errno == 13
    assert error.step.call.args[0] == bytes(tmp_path / "a/mine")


def test_arguments_arrive_as_they_were_given() -> None:
    words = ["a b", "", "é", b"\xff", Path("/x"), "$HOME"]
    with ck.plan(run=["/usr/bin/printf", "%s\\n", *words]).spawn(stdout=ck.PIPE) as process:
        assert process.communicate()[0] == b"a b\n\n\xc3\xa9\n\xff\n/x\n$HOME\n"


def test_the_working_directory(tmp_path: Path) -> None:
    with ck.plan(run=["/bin/pwd"], cwd=tmp_path).spawn(stdout=ck.PIPE) as process:
        assert process.communicate()[0] == bytes(tmp_path) + b"\n"
    with ck.plan(run=["/bin/pwd"]).spawn(stdout=ck.PIPE) as process:
        assert process.communicate()[0] == os.fsencode(os.getcwd()) + b"\n"


def test_a_session_of_its_own_unless_asked_otherwise() -> None:
    show = ["/bin/sh", "-c", "read a b c d e f g < /proc/self/stat; echo $f"]
    with ck.plan(run=show).spawn(stdout=ck.PIPE) as process:
        assert int(process.communicate()[0]) == process.pid
    with ck.plan(run=show, new_session=False).spawn(stdout=ck.PIPE) as process:
        assert int(process.communicate()[0]) == os.getsid(0)


def test_a_plan_can_be_spawned_many_times_at_once() -> None:
    plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), run=["/bin/sleep", "1000"])
    processes = [plan.spawn() for _ in range(10)]
    assert len({p.pid for p in processes}) == 10
    for process in processes:
        process.close()


def test_a_fork_in_another_thread_does_not_hold_a_spawn_up() -> None:
    """A copy of a handshake's end in a forked child would make the parent wait for it."""
    with subprocess.Popen(["/bin/sleep", "1000"]) as other:
        with ck.plan(ns.User(), run=["/bin/true"], share_memory=False).spawn() as process:
            assert process.wait(5) == 0
        other.kill()


def test_a_closed_file_leaves_no_pipe_open(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as file:
        pass
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ValueError, match="closed"):
        ck.plan(run=["/bin/true"]).spawn(stdin=ck.PIPE, stdout=ck.PIPE, fds={3: file})
    assert os.listdir("/proc/self/fd") == before


def test_a_limit_on_file_sizes_leaves_no_memfd_open() -> None:
    script = """
import os, resource, containerkit as ck
plan = ck.plan(run=["/bin/true"], share_memory=False)
plan.program()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
before = os.listdir("/proc/self/fd")
try:
    plan.spawn()
except OSError as error:
    print(error.errno, os.listdir("/proc/self/fd") == before)
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stdout == "27 True\n"


def test_a_child_killed_at_a_handshake_does_not_kill_a_caller_that_handles_sigpipe() -> None:
    script = """
import signal, containerkit as ck
from containerkit.linux.syscalls import Tool
class Killer:
    def steps(self):
        yield ck.Step.parent(ck.Phase.IDENTITY, Tool(("kill", "-9", "{pid}")), why="end it")
        yield ck.Step.parent(ck.Phase.IDENTITY, Tool(("sleep", "0.1")), why="until it has ended")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
try:
    ck.plan(Killer(), run=["/bin/true"]).spawn()
except ck.StepError:
    print("StepError")
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stdout == "StepError\n"


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
