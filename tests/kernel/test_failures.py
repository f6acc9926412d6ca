# ruff: noqa: E501 - tables of cases and scripts read better on one line
"""Every step made to fail, and the parent killed at every step: the error names the step, and nothing is left.

Each hint a failure gives here is provoked by the thing it explains.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support import again, pause, run_program, until, with_number

import containerkit as ck
from containerkit import mounts, ns
from containerkit.core.compiler import Program, compile_timeline
from containerkit.core.step import Phase, Side, Step
from containerkit.linux.native import number
from containerkit.linux.syscalls import CLONE

ROOT = os.geteuid() == 0
RANGES = [(0, os.geteuid(), 1)] if not ROOT else [(0, 0, 65536)]


def plans(rootdir: Path) -> dict[str, ck.Plan]:
    inside = [ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("lesson", "domain"), ns.Cgroup()]
    places = [mounts.Root(rootdir), mounts.Dev(), mounts.Bind("/etc/hostname", "/srv/host/name"), mounts.Masked(), mounts.ReadOnly()]
    run: dict[str, Any] = {"run": ["/bin/sleep", "1000"], "die_with_parent": True}
    made = {
        "plain": ck.plan(**run),
        "everything": ck.plan(*inside, *places, **run),
        "init": ck.plan(*inside[:2], ns.Pid(init=True), ns.Time(5), **run),
        "own image": ck.plan(*inside[:5], share_memory=False, **run),
    }
    if ROOT:
        handshake = [ns.User(uids=RANGES, gids=RANGES), *inside[1:3]]
        made |= {"handshake": ck.plan(*handshake, **run), "handshake and image": ck.plan(*handshake, share_memory=False, **run)}
    return made


NAMES = ["plain", "everything", "init", "own image", *(["handshake", "handshake and image"] if ROOT else [])]


@pytest.mark.parametrize("name", NAMES)
def test_each_step_of_the_child_made_to_fail_is_named(name: str, rootdir: Path) -> None:
    plan = plans(rootdir)[name]
    program = plan.program()
    for index, step in enumerate(program.child_steps):
        if step.call.name == "mmap":
            continue  # the helper made it before it could walk
        with pytest.raises(ck.StepError) as caught:
            run_program(with_number(program, index)).close()
        error = caught.value
        assert (error.step, error.errno) == (step, 38)
        assert f"{step.call}\n  failed with ENOSYS" in str(error)
        assert [e.step for e in error.trace if e.step.side is Side.CHILD] == list(program.child_steps[: index + 1])
        assert error.trace[-1].errno == 38 or error.trace[-1].step.side is Side.PARENT
        assert not psutil.Process().children()


def _parents(program: Program) -> list[int]:
    return [i for i, s in enumerate(program.timeline.steps) if s.side is Side.PARENT]


@pytest.mark.root
@pytest.mark.parametrize("name", ["plain", "handshake", "handshake and image"])
def test_each_step_of_the_parent_made_to_fail_is_named(name: str, rootdir: Path) -> None:
    program = plans(rootdir)[name].program()
    for index in _parents(program):
        steps = list(program.timeline.steps)
        bad: Any = ck.syscalls.Call("close", (-1,)) if steps[index].call.name != "clone3" else ck.syscalls.clone3(CLONE.NEWNS)
        if bad.name == "clone3":  # a flag that the kernel refuses together with another
            bad = dataclasses.replace(bad, args=(CLONE.VM | CLONE.NEWPID | 0x10000,))
        steps[index] = steps[index].with_(call=bad, tolerates=(), save=None)
        broken = dataclasses.replace(program, timeline=dataclasses.replace(program.timeline, steps=tuple(steps)))
        with pytest.raises(ck.StepError) as caught:
            run_program(broken).close()
        assert caught.value.step == steps[index]
        assert caught.value.errno in (9, 22)
        assert not psutil.Process().children()


def test_what_the_parent_did_is_undone_when_the_child_fails(tmp_path: Path) -> None:
    class Directory:
        def steps(self) -> Iterator[Step]:
            made, gone = (
                ck.syscalls.mkdirat(-100, str(tmp_path / "made")),
                ck.syscalls.Call("unlinkat", (-100, bytes(tmp_path / "made"), 0x200)),
            )
            yield Step.parent(Phase.PREPARE, made, why="a directory", undo=gone)

    with ck.plan(Directory(), run=["/bin/true"]).spawn() as process:
        process.wait()
        assert (tmp_path / "made").is_dir()
    assert not (tmp_path / "made").exists()
    with pytest.raises(ck.StepError):
        ck.plan(Directory(), run=["/nowhere"]).spawn()
    assert not (tmp_path / "made").exists()


# --- SIGKILL ----------------------------------------------------------------------------------------------------


PAUSE, BATCH = 2.0, 48  # seconds; processes at a time


def _waiting_before(program: Program, index: int) -> Program:
    """The program that waits before its step `index`, on the same side, long enough to be hit there."""
    steps = list(program.timeline.steps)
    step = steps[index]
    steps.insert(index, Step(pause(PAUSE), step.phase, step.side, why="wait to be hit"))
    return compile_timeline(dataclasses.replace(program.timeline, steps=tuple(steps)))


def _spawner(program: Program) -> int:
    """A process that spawns the program; its main thread stays."""
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            os.setsid()
            run_program(program)
            signal.pause()
        os._exit(1)
    return pid


def _waits(pid: int) -> bool:
    """Whether the process is in the step that waits, as the kernel says."""
    with contextlib.suppress(OSError, ValueError):
        nr, _, count, address = Path(f"/proc/{pid}/syscall").read_text().split()[:4]
        return int(nr) == number("ppoll") and int(count, 16) == 0 and address != "0x0"
    return False


def _family(pid: int) -> list[int]:
    """A process and those below it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += _family(int(child))
    return found


@pytest.fixture
def adopting() -> Iterator[None]:
    """Adopt orphans in this process, so that no test waits for an init that is slow to reap.  :see: prctl(2)"""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(36, 1) == 0
    yield
    _reap()
    assert prctl(36, 0) == 0


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    _reap()
    return [p for p in processes if p.is_running()]


def _kill_in(programs: list[Program]) -> None:
    spawners = [_spawner(p) for p in programs]
    try:
        families = [until(lambda s=s: any(map(_waits, _family(s))) and [psutil.Process(p) for p in _family(s)]) for s in spawners]
        assert all(families)
    finally:
        for spawner in spawners:
            os.kill(spawner, signal.SIGKILL)
            os.waitpid(spawner, 0)
    everybody = [p for family in families for p in family]
    assert until(lambda: not _alive(everybody), PAUSE + 3), _alive(everybody)


@pytest.mark.usefixtures("adopting")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_when_the_parent_is_killed_at_any_step(name: str, rootdir: Path) -> None:
    program = plans(rootdir)[name].program()
    steps = program.timeline.steps
    cloned = next(i for i, s in enumerate(steps) if s.call.name == "clone3")
    helper = next((i for i, s in enumerate(steps) if s.call.name == "execveat"), -9)
    # between the helper's exec and its mmap nobody walks; of many tries to find the program the first stands for all
    places = [i for i in range(cloned + 1, len(steps)) if i != helper + 1]
    for at in range(0, len(places), BATCH):
        _kill_in([_waiting_before(program, i) for i in places[at : at + BATCH]])


@pytest.mark.usefixtures("adopting")
@pytest.mark.parametrize("name", ["plain", "init", "own image"])
def test_the_program_ends_when_its_parent_is_killed_later(name: str, rootdir: Path) -> None:
    spawner = _spawner(plans(rootdir)[name].program())
    try:
        assert until(lambda: any(_is_sleep(p) for p in _family(spawner)))
        everybody = list(map(psutil.Process, _family(spawner)))
    finally:
        os.kill(spawner, signal.SIGKILL)
        os.waitpid(spawner, 0)
    assert until(lambda: not _alive(everybody))


def _is_sleep(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    return False


def test_a_child_killed_on_its_way_is_reported(rootdir: Path) -> None:
    program = plans(rootdir)["handshake" if ROOT else "plain"].program()
    index = len(program.timeline.steps) - 1
    import threading

    def hit() -> None:
        victims = until(lambda: [p for p in psutil.Process().children() if _waits(p.pid)])
        victims[0].kill()

    thread = threading.Thread(target=hit)
    thread.start()
    with pytest.raises(ck.StepError, match="killed from outside") as caught:
        run_program(_waiting_before(program, index))
    thread.join()
    assert caught.value.step.why == "wait to be hit"


# --- each hint, provoked ----------------------------------------------------------------------------------------

ONE = ns.User(uids=[(0, os.geteuid(), 1)], gids=[(0, os.getegid(), 1)])

Case = Callable[[Path, Path], tuple[list[Any], int, str]]
HINTS: dict[str, Case] = {
    "a file is missing in a root": lambda r, t: ([ns.User(), ns.Mount(), mounts.Root(r), mounts.Bind("/etc/nowhere", directory=False)], 2, "no such file or directory on the host"),
    "a root is missing": lambda r, t: ([ns.User(), ns.Mount(), mounts.Root(t / "none")], 2, "no such file or directory on the host"),
    "a place in a read-only root": lambda r, t: ([ns.User(), ns.Mount(), mounts.Root(r, readonly=True), mounts.Tmpfs("/not/there")], 2, "the root has no such place"),
    "a loop": lambda r, t: ([ns.User(), ns.Mount(), mounts.Root(_with_loop(t)), mounts.Tmpfs("/loop")], 40, "a link in the root leads in a circle"),
    "mqueue without ipc": lambda r, t: ([ns.User(), ns.Mount(), mounts.Root(r), mounts.Mqueue()], 1, "need a new IPC namespace too: ns.Ipc()"),
    "sysfs without net": lambda r, t: ([ns.User(), ns.Mount(), mounts.Root(r), mounts.Sysfs()], 1, "needs a new network namespace too: ns.Net()"),
    "proc without pid": lambda r, t: ([ns.User(), ns.Mount(), mounts.Root(r), mounts.Proc()], 1, "needs a new pid namespace"),
    "a group that is not mapped": lambda r, t: ([ONE, ns.Mount(), mounts.Root(r), mounts.Devpts(gid=5)], 22, "the group is not mapped"),
    "mknod in a user namespace": lambda r, t: ([ns.User(), ns.Mount(), mounts.Root(r), mounts.Dev(mknod=True)], 1, "let it bind the devices instead"),
    "before the boot": lambda r, t: ([ns.User(), ns.Time(monotonic=-1e9)], 34, "before the boot"),
    "an unbindable tree": lambda r, t: ([ONE, ns.Mount(), mounts.Root(r), mounts.Bind("/dev", "/mnt", recursive=False)], 22, "bind it recursively"),
}  # fmt: skip


def _with_loop(directory: Path) -> Path:
    (directory / "root").mkdir()
    (directory / "root/loop").symlink_to("loop")
    return directory / "root"


def fails(*parts: Any, run: str = "/bin/true", **options: Any) -> ck.StepError:
    with pytest.raises(ck.StepError) as caught:
        ck.plan(*parts, run=[run], **options).spawn().close()
    return caught.value


@pytest.mark.parametrize("name", HINTS)
def test_a_hint_names_the_cause(name: str, rootdir: Path, tmp_path: Path) -> None:
    parts, errno, words = HINTS[name](rootdir, tmp_path)
    error = fails(*parts)
    assert error.errno == errno
    assert words in error.hint
    assert f"hint: {error.hint}" in str(error)


def test_the_hint_of_a_working_directory(rootdir: Path) -> None:
    assert "there is no directory /nowhere in the root" in fails(ns.User(), ns.Mount(), mounts.Root(rootdir), cwd="/nowhere").hint
    assert "leads through /proc/PID/fd" in fails(cwd="/proc/self/fd/0").hint


def test_the_hints_of_a_program(tmp_path: Path) -> None:
    text, plain = tmp_path / "text", tmp_path / "plain"
    text.write_text("neither")
    text.chmod(0o755)
    plain.write_text("#!/bin/sh\n")
    assert "neither ELF nor a script" in fails(run=str(text)).hint
    assert "not executable for this user" in fails(run=str(plain)).hint
    assert "no such program" in fails(run=str(tmp_path / "none")).hint
    assert "is not a directory" in fails(run=str(text / "none")).hint
    text.unlink()
    text.symlink_to("text")
    assert "too many links" in fails(run=str(text)).hint
    with pytest.raises(ck.StepError, match="longer than the kernel takes"):
        ck.plan(run=["/bin/true", "x" * 200_000]).spawn()


def test_too_many_processes_of_a_user() -> None:
    """In a process of its own, which may not make another."""
    if ROOT:
        pytest.skip("root is not counted")
    import resource

    pid = os.fork()
    if not pid:
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        try:
            ck.plan(run=["/bin/true"]).spawn()
        except ck.StepError as error:
            os._exit(0 if error.errno == 11 and "RLIMIT_NPROC" in error.hint else 1)
        os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_without_privilege_namespaces_want_a_user_namespace() -> None:
    if ROOT:
        pytest.skip("root may")
    assert "ns.User()" in fails(ns.Net()).hint
    assert fails(ns.Net()).errno == 1
    assert "CAP_SYS_ADMIN" in fails(ns.Time()).hint
    with ck.Namespace.of(0, "net") as own:
        assert "join the user namespace that owns it" in fails(own).hint


def test_a_limit_on_namespaces() -> None:
    """The limit is the inner user namespace's own: nothing of the host's changes."""
    limit = ["sh", "-c", "echo 0 > /proc/sys/user/max_uts_namespaces; exec sleep 1000"]
    inner = ck.plan(ns.User(), ns.Mount(), ns.Pid(), run=["/bin/sh", *limit[1:]], env={"PATH": "/bin"})
    with inner.spawn() as process, ck.Namespace.of(process.pid, "user") as user:
        until(lambda: "sleep" in Path(f"/proc/{process.pid}/cmdline").read_text())
        error = fails(user, ns.Uts())
        assert error.errno == 28
        assert "max_*_namespaces" in error.hint
        assert error.step.call.name == "clone3"


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__, "-k", "not killed_at_any_step or init or own")
