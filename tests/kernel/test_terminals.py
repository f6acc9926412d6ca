"""Standard streams of a program with other ids: pipes that it may open, and a terminal of the container's own."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import kernel, mounts, ns
from containerkit.core.step import Side

OPENS = ["/bin/sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"]
RANGE = ns.User(uids=((0, 100000, 1000),), gids=((0, 100000, 1000),))
INSIDE = [ns.Mount(), ns.Pid(), mounts.Tmpfs("/tmp")]
PTY: dict[str, Any] = {"stdin": ck.PTY, "stdout": ck.PTY, "stderr": ck.PTY}
PATH = {"PATH": os.environ["PATH"]}


def said(process: ck.Process, seconds: float = 20) -> str:
    """All that comes out of its terminal, to the end."""
    assert process.terminal is not None
    out = b""
    while select.select([process.terminal], [], [], seconds)[0]:
        try:
            out += os.read(process.terminal, 65536)
        except OSError:  # nobody has the other end open any more
            process.wait()
            return out.decode().replace("\r\n", "\n")
    raise AssertionError(f"no end: {out!r}")


def on_terminal(script: str, *parts: Any, **more: Any) -> str:
    with ck.plan(*parts, run=["/bin/sh", "-c", script], env=PATH).spawn(**PTY, **more) as process:
        return said(process)


# Pipes ----------------------------------------------------------------------------------------------------------


WHO: list[list[Any]] = [
    [],
    [ck.Credentials(33, 33)],
    [RANGE, ck.Credentials(33, 33)],
    [RANGE, *INSIDE, mounts.Dev(), ck.Credentials(33, 34, groups=(5,)), ck.Capabilities.none(), ck.NoNewPrivileges(), ck.Seccomp.default()],
    [ns.User(uid=9, gid=9, uids=((0, 100000, 1000),), gids=((0, 100000, 1000),))],
]


@pytest.mark.root
@pytest.mark.parametrize("parts", WHO)
def test_a_program_of_any_user_opens_its_streams(parts: list[Any]) -> None:
    result = ck.run([*OPENS[:2], "cat /dev/stdin; " + OPENS[2]], *parts, input=b"in\n")
    assert (result.stdout, result.stderr) == (b"in\nout\n", b"err\n")


@pytest.mark.root
@pytest.mark.parametrize("parts", WHO)
def test_the_pipes_are_its_own(parts: list[Any]) -> None:
    result = ck.run(["/bin/sh", "-c", "stat -L -c %u:%g /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; id -u; id -g"], *parts, input=b"")
    *owners, uid, gid = result.text.split()
    assert owners == [f"{uid}:{gid}"] * 3


@pytest.mark.parametrize("parts", [[ns.User(1000, 1000)], [ns.User(), ns.Mount(), ns.Pid()]])
def test_with_one_id_too(parts: list[Any]) -> None:
    assert ck.run(OPENS, *parts).stdout == b"out\n"


@pytest.mark.root
def test_a_program_that_changes_its_user_later_opens_them_too() -> None:
    """As root and its workers do.  No plan knows the worker's id."""
    script = "import os; os.setgid(34); os.setuid(33); open('/dev/stdout', 'w').write('out\\n')"
    assert ck.run(["/usr/bin/python3", "-I", "-c", script]).stdout == b"out\n"


@pytest.mark.root
def test_the_callers_own_files_stay_the_callers(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        before = os.fstat(log.fileno())
        result = ck.run(OPENS, ck.Credentials(33, 33), stdout=log)
        after = os.fstat(log.fileno())
    assert (before.st_uid, before.st_gid, before.st_mode) == (after.st_uid, after.st_gid, after.st_mode)
    assert b"ermission denied" in result.stderr
    reader, writer = os.pipe()
    try:
        before = os.fstat(writer)
        ck.run(OPENS, ck.Credentials(33, 33), stdout=writer)
        assert (os.fstat(writer).st_uid, os.fstat(writer).st_mode) == (before.st_uid, before.st_mode)
    finally:
        os.close(reader)
        os.close(writer)


# A terminal -----------------------------------------------------------------------------------------------------


LOOK = "tty; stty size; echo out > /dev/stdout; echo err > /dev/stderr; echo tty > /dev/tty; echo con > /dev/console; ls /dev/pts"


@pytest.mark.parametrize("missing", [(), ("open_tree", "move_mount", "fsopen")])
def test_the_terminal_is_the_containers_own(missing: tuple[str, ...], rootdir: Path) -> None:
    with kernel.assume_missing(*missing):
        found = on_terminal(LOOK, ns.User(), *INSIDE, mounts.Dev(), size=(12, 34))
    assert found.split() == ["/dev/pts/0", "12", "34", "out", "err", "tty", "con", "0", "ptmx"]


def test_in_a_root_of_its_own(rootdir: Path) -> None:
    found = on_terminal("readlink /proc/self/fd/0; stat -c %F /dev/console; hostname", ck.sandbox(rootdir))
    assert found.splitlines() == ["/dev/pts/0", "character special file", "sandbox"]


def test_the_size_is_there_before_the_first_byte() -> None:
    for rows in (5, 77):
        assert on_terminal("stty size", ns.User(), *INSIDE, mounts.Dev(), size=(rows, 99)) == f"{rows} 99\n"
        assert on_terminal("stty size", size=(rows, 99)) == f"{rows} 99\n"


@pytest.mark.root
@pytest.mark.parametrize("user", [[], [RANGE], [ns.User(uid=9, gid=9, uids=((0, 100000, 1000),), gids=((0, 100000, 1000),))]])
@pytest.mark.parametrize(
    "more", [[], [ck.Credentials(33, 34)], [ck.Credentials(33, 34), ck.Capabilities.none(), ck.NoNewPrivileges(), ck.Seccomp.default()]]
)
def test_a_program_of_any_user_opens_its_terminal(user: list[Any], more: list[Any]) -> None:
    script = LOOK.replace("echo con > /dev/console; ", "") + "; stat -c %u /dev/pts/0 /dev/console; id -u"
    *seen, owner, console, uid = on_terminal(script, *user, *INSIDE, mounts.Dev(), *more, size=(12, 34)).split()
    assert seen == ["/dev/pts/0", "12", "34", "out", "err", "tty", "0", "ptmx"]
    assert owner == console == uid


@pytest.mark.root
def test_without_a_devpts_the_terminal_of_the_host_is_given_to_the_program() -> None:
    found = on_terminal("tty; echo out > /dev/stdout; stat -c %u $(tty)", ck.Credentials(33, 33)).splitlines()
    assert re.fullmatch(r"/dev/pts/\d+", found[0])
    assert found[1:] == ["out", "33"]


def test_nothing_of_the_hosts_terminals_is_inside() -> None:
    before = os.listdir("/dev/pts")
    with ck.plan(ns.User(), *INSIDE, mounts.Dev(), run=["/bin/sh", "-c", "echo up; read x"], env=PATH).spawn(**PTY) as process:
        assert process.terminal is not None
        assert os.read(process.terminal, 100)
        assert os.listdir("/dev/pts") == before
        targets = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")]
        assert targets == ["/dev/pts/0"] * 3
        assert not os.get_inheritable(process.terminal)


def test_it_is_a_terminal() -> None:
    """Ctrl-C is a signal, the window can change, and job control works."""
    script = "trap 'echo interrupted; stty size; exit 5' INT; echo set; while :; do sleep 0.05; done"
    with ck.plan(ns.User(), *INSIDE, mounts.Dev(), run=["/bin/sh", "-c", script], env=PATH).spawn(**PTY, size=(1, 2)) as process:
        assert process.terminal is not None
        assert b"set" in os.read(process.terminal, 100)
        assert termios.tcgetattr(process.terminal)
        process.resize(33, 44)
        os.write(process.terminal, b"\x03")
        assert said(process).split()[-3:] == ["interrupted", "33", "44"] or process.returncode == 5
        assert process.returncode == 5


@pytest.mark.parametrize("options", [{}, {"share_memory": False}, {"die_with_parent": True}, {"hide_executable": True}])
@pytest.mark.parametrize("init", [False, True])
def test_however_the_process_is_made(options: dict[str, Any], init: bool) -> None:
    parts = [ns.User(), ns.Mount(), ns.Pid(init=init), mounts.Tmpfs("/tmp"), mounts.Dev()]
    with ck.plan(*parts, run=["/bin/sh", "-c", "tty"], env=PATH, **options).spawn(**PTY) as process:
        assert said(process) == "/dev/pts/0\n"


def test_with_more_descriptors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("passed\n")
    with (
        (tmp_path / "file").open() as file,
        ck.plan(ns.User(), *INSIDE, mounts.Dev(), run=["/bin/sh", "-c", "cat <&7; tty"], env=PATH).spawn(**PTY, fds={7: file}) as process,
    ):
        assert said(process) == "passed\n/dev/pts/0\n"


def test_closed_streams_of_the_callers_do_no_harm() -> None:
    code = (
        "import os, sys\nos.close(0); os.close(1)\nimport containerkit as ck\nfrom containerkit import mounts, ns\n"
        "plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), mounts.Dev(), run=['/bin/sh', '-c', 'tty'])\n"
        "with plan.spawn(stdin=ck.PTY, stdout=ck.PTY, stderr=ck.PTY) as process:\n"
        "    sys.stderr.write(os.read(process.terminal, 100).decode())\n"
    )
    path = f"PYTHONPATH={Path(ck.__file__).parent.parent}"
    assert ck.run(["/usr/bin/env", path, sys.executable, "-c", code]).stderr == b"/dev/pts/0\r\n"


def test_all_of_it_is_in_the_plan() -> None:
    plan = ck.plan(ns.User(), *INSIDE, mounts.Dev(), run=["/bin/true"])
    shown = plan.with_streams(**PTY, size=(3, 4))
    assert shown.child_steps == tuple(s for s in plan.program((ck.PTY,) * 3, (), (3, 4)).timeline.steps if s.side is Side.CHILD)
    names = [str(step) for step in shown.child_steps]
    for words in ("'/dev/pts/ptmx'", "TIOCGPTPEER", "TIOCSWINSZ, {3 rows, 4 columns}", "TIOCSCTTY", "'console'", "SCM_RIGHTS"):
        assert any(words in name for name in names), words


def test_a_failure_leaves_no_terminal_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    for run in (["/nowhere"], ["/etc"]):
        with pytest.raises(ck.StepError):
            ck.plan(ns.User(), *INSIDE, mounts.Dev(), run=run).spawn(**PTY)
    with pytest.raises(ck.StepError):
        ck.plan(ns.User(), *INSIDE, mounts.Dev(), run=["/bin/true"], cwd="/nowhere").spawn(**PTY)
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("size", [(1,), (1, -1), ("1", "2"), (1, 70000)])
def test_what_is_no_size(size: Any) -> None:
    with pytest.raises(ck.PlanError, match="rows, columns"):
        ck.plan(run=["true"]).spawn(**PTY, size=size)
    with pytest.raises(ck.PlanError, match="ask for PTY"):
        ck.plan(run=["true"]).spawn(size=(1, 2))


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
