"""A program that dies with its caller, also one that takes its death signal back, and the guardian that sees to it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from support import again, compiled, until

import containerkit as ck
from containerkit import kernel, ns
from containerkit.core import guardian

# It takes the request back, says so, and stays.
STUBBORN = r"""
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(void)
{
	for (int n = 1; n < 65; n++) signal(n, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	write(1, "up\n", 3);
	for (;;) sleep(100);
}
"""
CALLER = """
import os, signal, sys, threading
import containerkit as ck
from containerkit import ns
program, parts = sys.argv[1], eval(sys.argv[2])
process = ck.plan(*parts, run=[program], die_with_parent=True).spawn(stdout=ck.PIPE)
assert process.stdout.readline() == b"up\\n"
print(process.pid, flush=True)
signal.pause()
"""
PARTS = {
    "plain": "[]",
    "pid": "[ns.User(), ns.Pid()]",
    "init": "[ns.User(), ns.Pid(init=True)]",
    "own image": "[ns.User(), ns.Pid(), ns.Mount(), ns.Time(5)]",
}


@pytest.fixture
def stubborn(open_path: Path) -> Path:
    return compiled(STUBBORN, open_path / "stubborn", "-static")


def caller(source: str, *words: str | Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(source), *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS.keys())
def test_a_stubborn_program_ends_with_its_killed_caller(parts: str, stubborn: Path) -> None:
    with caller(CALLER, stubborn, parts) as process:
        pid = int(line(process))
        assert running(pid)
        process.kill()
    until(lambda: not running(pid))


def test_a_stubborn_program_in_a_joined_pid_namespace_ends_too(stubborn: Path) -> None:
    with ck.plan(ns.User(), ns.Pid(), ns.Mount(), run=["/bin/sleep", "1000"]).spawn() as box:
        joined = f"[ck.Namespace.of({box.pid}, kind) for kind in ('user', 'pid', 'mnt')]"
        with caller(CALLER, stubborn, joined) as process:
            pid = int(line(process))
            process.kill()
        until(lambda: not running(pid))
        assert box.poll() is None


def test_a_stubborn_program_ends_with_the_thread_that_spawned_it(stubborn: Path) -> None:
    made: list[ck.Process] = []
    plan = ck.plan(ns.User(), ns.Pid(), run=[stubborn], die_with_parent=True)

    def body() -> None:
        made.append(plan.spawn(stdout=ck.PIPE))
        assert made[0].stdout
        assert made[0].stdout.readline() == b"up\n"

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    with made[0] as process:
        if kernel.version() < (6, 9):
            pytest.skip("a pidfd of a thread needs Linux 6.9")
        assert process.wait(10) == -signal.SIGKILL


def test_two_hundred_stubborn_programs_end_at_once(stubborn: Path) -> None:
    source = CALLER.replace("signal.pause()", "") + textwrap.dedent("""
        plan = ck.plan(*parts, run=[program], die_with_parent=True)
        more = [plan.spawn(stdout=ck.PIPE) for _ in range(200)]
        print(*[each.pid for each in more if each.stdout.readline()], flush=True)
        signal.pause()
    """)
    with caller(source, stubborn, "[]") as process:
        pids = [int(line(process)), *map(int, line(process).split())]
        assert len(pids) == 201
        process.kill()
    until(lambda: not any(map(running, pids)))


def test_a_caller_that_has_execed_is_the_same_caller(stubborn: Path) -> None:
    source = CALLER.replace("signal.pause()", "os.execv('/bin/sleep', ['sleep', '1000'])")
    with caller(source, stubborn, "[ns.User(), ns.Pid()]") as process:
        pid = int(line(process))
        until(lambda: psutil.Process(process.pid).name() == "sleep")
        assert running(pid)
        process.kill()
    until(lambda: not running(pid))


def test_programs_of_a_forked_child_end_with_it_and_not_with_its_parent(stubborn: Path) -> None:
    source = CALLER.replace("program, parts", "from containerkit.core import guardian; guardian.door(); fork = os.fork()\nprogram, parts")
    source = source.replace("process =", "if fork:\n    os._exit(0)\nprocess =").replace(
        "print(process.pid", "print(process.pid, os.getpid()"
    )
    with caller(source, stubborn, "[ns.User(), ns.Pid()]") as process:
        pid, child = map(int, line(process).split())
        process.wait()
        assert running(pid)
        os.kill(child, signal.SIGKILL)
    until(lambda: not running(pid))


# --- the guardian ------------------------------------------------------------------------------------------------


SOME = """
import os, signal, sys, time
import containerkit as ck
plan = ck.plan(run=["/bin/sleep", "0.01"], die_with_parent=True)
for _ in range(3):
    made = [plan.spawn() for _ in range(20)]
    for process in made:
        process.wait()
        process.close()
print("done", flush=True)
"""


def guardians_of(pid: int) -> list[int]:
    """Root alone may look: a guardian is not dumpable."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            text = Path(f"/proc/{process.pid}/fdinfo/1").read_text() if process.name() == "ck-guardian" else ""
            found += [process.pid] if re.search(rf"^Pid:\s+{pid}$", text, re.MULTILINE) else []
    return found


def test_a_caller_sees_nothing_of_its_guardian() -> None:
    seen = """
        try:
            print(os.waitpid(-1, 0), flush=True)
        except ChildProcessError:
            print("no child", flush=True)
        sys.stdin.readline()
    """
    with caller(SOME + textwrap.dedent(seen)) as process:
        assert [line(process), line(process)] == ["done", "no child"]
        assert psutil.Process(process.pid).children() == []


def test_a_guardian_is_no_leak() -> None:
    source = """
        import containerkit as ck
        from containerkit.diagnose.leaks import leaks
        with leaks() as found:
            ck.run(["/bin/true"])
        print(list(found), flush=True)
    """
    with caller(source) as process:
        assert line(process) == "[]"


@pytest.mark.root
def test_the_guardian_holds_nothing_of_the_caller_and_ends_with_it(tmp_path: Path) -> None:
    """A pipe of the caller's, held open, would let its reader wait for ever."""
    argv = [sys.executable, "-c", SOME + "signal.pause()"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert line(process) == "done"
        [pid] = guardians_of(process.pid)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert os.getsid(pid) not in (os.getsid(0), os.getsid(process.pid))
        until(lambda: len(os.listdir(f"/proc/{pid}/fd")) == 3)  # what has ended is let go: the socket, the caller, epoll
        kinds = {os.readlink(f"/proc/{pid}/fd/{name}").partition(":")[0] for name in os.listdir(f"/proc/{pid}/fd")}
        assert kinds <= {"socket", "anon_inode"}
        process.kill()
        assert process.stdout
        assert process.stdout.read() == ""
    until(lambda: not running(pid))


def test_a_killed_guardian_is_replaced(stubborn: Path) -> None:
    source = """
        import os, psutil, signal, sys
        import containerkit as ck
        from containerkit.core import guardian
        plan = ck.plan(run=["/bin/true"], die_with_parent=True)
        plan.run()
        first = guardian.door()
        import socket
        with socket.socket(fileno=os.dup(first)) as copy:
            copy.shutdown(socket.SHUT_RDWR)
        plan.run()
        print(guardian.door() != first, len(guardian.descriptors()), flush=True)
    """
    with caller(source) as process:
        assert line(process) == "True 2"


def test_a_caller_that_closes_every_descriptor_gets_a_new_guardian() -> None:
    source = """
        import os, sys
        import containerkit as ck
        plan = ck.plan(run=["/bin/true"], die_with_parent=True)
        plan.run()
        os.closerange(3, 100)
        files = [open("/dev/null") for _ in range(20)]
        print(plan.run().exit_code, sum(not f.closed for f in files), flush=True)
    """
    with caller(source) as process:
        assert line(process) == "0 20"


def test_nobody_may_have_another_process_killed() -> None:
    """A caller that gave up privileges has a socket to a guardian that still has them."""
    source = """
        import array, os, signal, socket, subprocess, time
        from containerkit.core import guardian
        victim = subprocess.Popen(["/bin/sleep", "1000"])
        ended = subprocess.Popen(["/bin/true"])
        ended_fd = os.pidfd_open(ended.pid)
        fds = array.array("i", [ended_fd, os.pidfd_open(victim.pid)])
        with socket.socket(fileno=os.dup(guardian.door())) as door:
            door.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        ended.wait()
        time.sleep(0.5)
        print(victim.poll(), flush=True)
        victim.kill(); victim.wait()
    """
    if kernel.version() < (6, 9):
        pytest.skip("pidfds are told apart from Linux 6.9 on")
    with caller(source) as process:
        assert line(process) == "None"


def test_without_descriptors_the_spawn_fails_and_nothing_is_left() -> None:
    source = """
        import os, resource
        import containerkit as ck
        plan = ck.plan(run=["/bin/true"], die_with_parent=True)
        plan.program()
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        files = []
        try:
            while True:
                files.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        try:
            plan.spawn()
        except OSError as error:
            print(error.errno, flush=True)
        for fd in files:
            os.close(fd)
        print(plan.run().exit_code, flush=True)
    """
    with caller(source) as process:
        assert [line(process), line(process)] == ["24", "0"]


def test_descriptors_are_the_modules_own() -> None:
    assert guardian.door() in guardian.descriptors()


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
