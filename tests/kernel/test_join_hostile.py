"""Joining hostile namespaces: false files of procfs, a root that stops each process that joins, the caller's keys."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import again, compiled, until

import containerkit as ck
from containerkit import mounts, ns
from containerkit.core import inherited, remembered
from containerkit.core.spawn_timeout import SpawnTimeout
from containerkit.core.step import Part, Side
from containerkit.linux import procfs
from containerkit.linux.native import number
from containerkit.linux.syscalls import Tool

FILES = ("setgroups", "uid_map", "gid_map", "timens_offsets")
FALSE_PROC = """
mount -t tmpfs t /mnt && mkdir -p /mnt/self/ns /mnt/thread-self
for f in {files}; do ln -s {victim}/$f /mnt/self/$f; done
ln -s {victim}/uid_map /mnt/self/ns/time_for_children
mount --bind /mnt /proc
echo ready; exec sleep 1000
"""
# It stops every other process that it sees.
STOPPER = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
	write(1, "ready\n", 6);
	for (;;) {
		DIR *all = opendir("/proc");
		for (struct dirent *e; all && (e = readdir(all));)
			if (atoi(e->d_name) > 1) kill(atoi(e->d_name), SIGSTOP);
		if (all) closedir(all);
	}
}
"""


# It traces every other process that it sees, and never asks how one ended: the status of each is held back.
TRACER = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>
int main(void)
{
	write(1, "ready\n", 6);
	for (;;) {
		DIR *all = opendir("/proc");
		for (struct dirent *e; all && (e = readdir(all));)
			if (atoi(e->d_name) > 1) ptrace(PTRACE_SEIZE, atoi(e->d_name), 0, 0);
		if (all) closedir(all);
		usleep(1000);
	}
}
"""


@pytest.fixture
def false_proc(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A mount namespace whose /proc is its owner's work, and the directory of the files it points to."""
    victim = tmp_path / "victim"
    victim.mkdir()
    for name in FILES:
        (victim / name).write_text("the caller's own")
    script = FALSE_PROC.format(files=" ".join(FILES), victim=victim)
    with subprocess.Popen(["unshare", "-Urm", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            pytest.skip("needs unshare(1) and user namespaces")
        yield process.pid, victim
        process.kill()


@pytest.mark.parametrize("parts", [[ns.User()], [ns.Time(5)], [ns.User(), ns.Time(5), ns.Net()]], ids=["user", "time", "more"])
def test_no_file_of_procfs_is_looked_up_in_a_joined_mount_namespace(parts: list[Part], false_proc: tuple[int, Path]) -> None:
    pid, victim = false_proc
    joined: list[Part] = [ck.Namespace.of(pid, "mnt")]
    joined += [] if os.geteuid() == 0 else [ck.Namespace.of(pid, "user")]
    if os.geteuid() != 0:
        if any(isinstance(part, ns.Time) for part in parts):
            pytest.skip("who joins is not dumpable, so its files in /proc belong to the machine's root")
        parts = [part for part in parts if not isinstance(part, ns.User)]
    with ck.plan(*joined, *parts, run=["/bin/true"]).spawn(stdin=ck.DEVNULL, stdout=ck.DEVNULL) as process:
        assert process.wait() == 0
    assert {(victim / name).read_text() for name in FILES} == {"the caller's own"}


def test_after_a_join_no_step_opens_what_lies_in_proc_sys_or_dev_by_path() -> None:
    own = ck.Namespace.of(0, "mnt")
    plans = [
        ck.plan(own, *parts, run=["/bin/true"], die_with_parent=True) for parts in ([ns.User()], [ns.Time(5)], [ns.Net(), ns.Uts("x")])
    ]
    for plan in plans:
        for step in plan.child_steps:
            paths = [os.fsdecode(arg) for arg in step.call.args if isinstance(arg, bytes)]
            assert not [path for path in paths if path.startswith(("/proc", "/sys", "/dev"))], step


def in_private_mounts(script: str, tmp_path: Path) -> str:
    """Run Python where /proc is the mount of the script's shell part."""
    code = tmp_path / "code.py"
    code.write_text(script)
    shell = f"mount -t tmpfs t /proc && mkdir /proc/self && echo 1 > /proc/self/uid_map && exec {sys.executable} -W ignore {code}"
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", shell], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_false_proc_of_the_callers_is_refused(tmp_path: Path) -> None:
    script = """
import containerkit as ck
from containerkit import ns
from containerkit.core import standard_steps as frame
from containerkit.linux import procfs
for make in (lambda: procfs.opened(), lambda: ck.Namespace.of(0, "net"),
             lambda: ck.plan(ns.Time(5), run=["/bin/true"]).spawn()):
    try:
        print(make())
    except ck.Unavailable as error:
        print("refused" if "another file system" in str(error) else error)
print(frame.exposed(), open("/proc/self/uid_map").read())
"""
    assert in_private_mounts(script, tmp_path).split() == ["refused"] * 3 + ["True", "1"]


def test_the_numbers_of_another_pid_namespace_are_refused() -> None:
    script = "from containerkit.linux import procfs; procfs.opened(of_this_pid_namespace=True)"
    argv = ["unshare", "-Urpf", sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert "a procfs of this pid namespace" in done.stderr


def test_only_files_of_procfs_are_opened_there() -> None:
    with pytest.raises(ck.PlanError, match="not a file of procfs"):
        procfs.open_file("/etc/passwd", 0)


# --- time --------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopper() -> Iterator[list[Part]]:
    """The namespaces of a container whose root stops each process that joins it."""
    yield from (spaces for spaces, _ in hostile(STOPPER))


@pytest.fixture
def tracer() -> Iterator[tuple[list[Part], ck.Process]]:
    """The namespaces of a container whose root traces each process that joins it, and its process 1."""
    yield from hostile(TRACER)


def hostile(source: str) -> Iterator[tuple[list[Part], ck.Process]]:
    place = Path(tempfile.mkdtemp(prefix="ck-hostile-"))  # pytest's own directories are closed to a root who is nobody outside
    place.chmod(0o755)
    try:
        yield from _running(compiled(source, place / "program", "-static"))
    finally:
        shutil.rmtree(place)


def _running(program: Path) -> Iterator[tuple[list[Part], ck.Process]]:
    parts = [ns.User(), ns.Mount(), ns.Pid()]
    with ck.plan(*parts, run=[program]).spawn(stdin=ck.DEVNULL, stdout=ck.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(ck.Namespace.of(process.pid, kind)) for kind in ("user", "mnt", "pid")], process


def test_a_run_ends_in_time_although_its_child_is_stopped(stopper: list[Part]) -> None:
    """Whether the child is stopped before or after its exec: both come, and neither may hold the caller."""
    plan = ck.plan(*stopper, run=["/bin/sleep", "1000"])
    for _ in range(10):
        begin = time.monotonic()
        result = plan.run(timeout=0.3)
        assert (result.stopped_by, result.exit_code) == ("timeout", 137)
        assert time.monotonic() - begin < 30  # not for ever: this machine may be busy


def test_a_spawn_ends_in_time_and_leaves_nothing(stopper: list[Part]) -> None:
    plan, expired = ck.plan(*stopper, run=["/bin/sleep", "1000"]), []
    for _ in range(40):
        try:
            with plan.spawn(timeout=0.2):
                pass
        except subprocess.TimeoutExpired as error:
            expired.append((error.timeout, error.cmd))
    assert set(expired) == {(0.2, "sleep")}


def test_a_program_that_is_killed_is_given_up_although_its_status_is_held_back(tracer: tuple[list[Part], ck.Process]) -> None:
    spaces, container = tracer
    plan = ck.plan(*spaces, run=["/bin/sleep", "1000"])
    result = plan.run(timeout=0.3)
    assert (result.stopped_by, result.exit_code) == ("timeout", 137)
    with plan.spawn() as process:
        time.sleep(0.1)
        process.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
        assert process.wait() == -9
    with plan.spawn() as process:
        time.sleep(0.1)
        process.kill()
        assert asyncio.run(_wait_for(process)) == -9
    container.close()  # its process 1 ends when all the others are collected
    assert until(lambda: not _zombies()), "a zombie is left"


def _zombies() -> list[int]:
    """Children of this process that have ended."""
    children = [int(pid) for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()]
    return [pid for pid in children if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"]


async def _wait_for(process: ck.Process) -> int:
    return await process


class Slow:
    """A tool of the parent's that does not end."""

    def steps(self) -> Iterator[ck.Step]:
        yield ck.Step.parent(ck.Phase.IDENTITY, Tool(("sleep", "1000")), why="wait")


def test_a_tool_that_hangs_is_killed_in_time() -> None:
    plan = ck.plan(ns.User(), Slow(), run=["/bin/true"])
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        plan.spawn(timeout=0.2)
    assert isinstance(caught.value, SpawnTimeout)
    assert caught.value.trace
    assert any(entry.step.side is Side.CHILD for entry in caught.value.trace)
    assert plan.run(timeout=0.2).stopped_by == "timeout"
    assert type(pickle.loads(pickle.dumps(SpawnTimeout("x", 1.0)))) is SpawnTimeout


def test_a_run_that_never_began_is_a_failed_one() -> None:
    with pytest.raises(ck.Failed, match="timeout"):
        ck.plan(ns.User(), Slow(), run=["/bin/true"]).run(timeout=0.2, check=True)


# --- what is left behind -------------------------------------------------------------------------------------------


KEYS = r"""
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
	long found = syscall(SYS_keyctl, 10, -3, "user", "ck-test-key", 0);
	puts(found < 0 ? "no key" : "THE CALLER'S KEY");
	return 0;
}
"""


def with_key(function: Any) -> list[Any]:
    """Call a function in a thread with a session keyring of its own that holds a key."""
    libc, numbers, seen = ctypes.CDLL(None, use_errno=True), number, []

    def body() -> None:
        if libc.syscall(numbers("keyctl"), 1, None) < 0 or libc.syscall(numbers("add_key"), b"user", b"ck-test-key", b"secret", 6, -3) < 0:
            seen.append(None)
            return
        seen.append(function())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if seen == [None]:
        pytest.skip("no keyrings here")
    return seen


@pytest.fixture
def keys(open_path: Path) -> Path:
    return compiled(KEYS, open_path / "keys", "-static")


CASES: dict[str, Any] = {
    "user": lambda: [ns.User()],
    "all": lambda: [ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("x"), ns.Cgroup()],
    "image": lambda: [ns.User(), ns.Mount(), ns.Time(1)],
    "filter": lambda: [ns.User(), ck.NoNewPrivileges(), ck.Seccomp.default()],
    "joined": lambda: [ck.Namespace.of(0, "mnt")],
}


@pytest.mark.parametrize("name", CASES)
def test_the_callers_keys_stay_behind(name: str, keys: Path) -> None:
    if name == "joined" and os.geteuid() != 0:
        pytest.skip("needs root")
    parts = CASES[name]()
    [text] = with_key(lambda: ck.plan(*parts, run=[keys]).run().text)
    assert text == "no key\n"


def test_keys_come_along_where_they_are_asked_for_or_nothing_is_shut_in(keys: Path) -> None:
    [texts] = with_key(lambda: [ck.plan(ns.User(), run=[keys], keep_keyring=True).run().text, ck.plan(run=[keys]).run().text])
    assert texts == ["THE CALLER'S KEY\n"] * 2


@pytest.mark.unprivileged
def test_the_keys_of_an_ordinary_users_containers_do_not_run_out() -> None:
    """It may have 200; those of ended containers are free again."""
    plan = ck.plan(ns.User(), run=["/bin/true"])

    def many() -> int:
        done = 0
        for _ in range(300):
            with plan.spawn() as process:
                done += process.wait() == 0
        return done

    assert with_key(many) == [300]


@pytest.mark.unprivileged
def test_a_hundred_at_once_have_a_keyring_each() -> None:
    plan = ck.plan(ns.User(), run=["/bin/sleep", "1000"])

    def many() -> int:
        made = [plan.spawn() for _ in range(100)]
        for process in made:
            process.close()
        return len(made)

    assert with_key(many) == [100]


def test_a_plan_says_what_it_leaves_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [step.call.name for step in ck.plan(ns.User(), run=["x"]).child_steps]
    assert "keyctl" in calls
    assert "keyctl" not in [step.call.name for step in ck.plan(ns.Net(), run=["x"]).child_steps]
    [step] = [step for step in ck.plan(ns.User(), run=["x"]).child_steps if step.call.name == "keyctl"]
    assert "kernel.keys.maxkeys" in step.hint_for(122)
    monkeypatch.setattr(inherited, "keyctl_refusal", lambda: frozenset({1}))
    remembered.forget()
    [step] = [step for step in ck.plan(ns.User(), run=["x"]).child_steps if step.call.name == "keyctl"]
    assert step.tolerates == {1}
    assert "every use of keyctl(2) is refused" in step.why


@pytest.mark.root
def test_roots_groups_stay_behind_without_a_user_namespace(rootdir: Path) -> None:
    script = f"""
import os, containerkit as ck
from containerkit import mounts, ns
os.setgroups([4, 27])
print(ck.run(["id", "-G"], ns.Mount(), ns.Pid(), mounts.Root({str(rootdir)!r})).text.strip())
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_mounts_has_no_place_in_a_joined_mount_namespace() -> None:
    with pytest.raises(ck.PlanError, match="needs a new mnt namespace"):
        ck.plan(ck.Namespace.of(0, "mnt"), mounts.Tmpfs("/x"), run=["x"])


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
