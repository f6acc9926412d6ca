"""Joining a container: the same namespaces, with the same privileges."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import mounts, ns
from containerkit.linux.status import ProcDirectory
from containerkit.parts.namespace import KINDS

ROOT = os.geteuid() == 0
ALL = [ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("boxed"), ns.Cgroup()]
WAIT = ["/bin/sh", "-c", "echo up; read x"]
WALLS = ("Cap", "Seccomp:", "Seccomp_filters:", "NoNewPrivs:", "Uid:", "Gid:", "Groups:")
STATUS = ["/bin/cat", "/proc/self/status"]


def walls(status: str) -> list[str]:
    return [line for line in status.splitlines() if line.startswith(WALLS)]


def of(process: ck.Process) -> list[str]:
    """Return ids as a process outside sees them: they differ there."""
    return walls(Path(f"/proc/{process.pid}/status").read_text())


class Box:
    """A program that waits in some parts."""

    def __init__(self, *parts: Any, run: list[str] = WAIT, **more: Any) -> None:
        self.plan = ck.plan(*parts, run=run, env={"PATH": "/bin:/usr/bin"}, **more)

    def __enter__(self) -> ck.Process:
        self.process = self.plan.spawn(stdin=ck.PIPE, stdout=ck.PIPE)
        assert self.process.stdout
        assert self.process.stdout.readline() == b"up\n"
        return self.process

    def __exit__(self, *error: object) -> None:
        self.process.close()


@pytest.fixture
def sandboxed(rootdir: Path) -> Iterator[ck.Process]:
    with Box(ck.sandbox(rootdir)) as process:
        yield process


def test_the_walls_of_a_sandbox(sandboxed: ck.Process) -> None:
    with ck.plan(ck.Inside(sandboxed), run=["/bin/sh", "-c", "echo up; exec sleep 60"]).spawn(stdout=ck.PIPE) as newcomer:
        assert newcomer.stdout
        newcomer.stdout.readline()
        assert of(newcomer) == of(sandboxed)
    said = walls(ck.exec(sandboxed, STATUS, check=True).text)
    assert "CapEff:\t0000000000000000" in said
    assert "CapBnd:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert "Seccomp:\t2" in said


def test_what_a_sandbox_refuses_is_refused_to_the_newcomer(sandboxed: ck.Process) -> None:
    for words in (["mount", "-t", "tmpfs", "none", "/tmp"], ["hostname", "other"], ["touch", "/new"], ["chown", "5", "/tmp"]):
        assert ck.exec(sandboxed, words).exit_code != 0


def test_the_place(rootdir: Path) -> None:
    script = "hostname; echo $$; pwd; for n in user mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; ls /"
    (rootdir / "work").mkdir(exist_ok=True)
    with Box(*ALL, mounts.Root(rootdir), mounts.Tmpfs("/tmp"), cwd="/work") as box:
        hostname, pid, where, *rest = ck.exec(box, ["/bin/sh", "-c", script]).text.split()
        assert (hostname, where) == ("boxed", "/work")
        assert 1 < int(pid) < 20
        assert rest[:7] == [os.readlink(f"/proc/{box.pid}/ns/{kind}") for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")]
        assert rest[7:] == sorted(os.listdir(rootdir))
        assert ck.exec(box, ["/bin/sh", "-c", "pwd"], cwd="/tmp").text == "/tmp\n"
        assert ck.exec(box.pid, ["hostname"]).text == "boxed\n"
        with ck.Namespace.of(box.pid, "pid") as namespace:
            assert ck.exec(namespace, ["hostname"]).text == "boxed\n"


def test_kinds_that_are_shared_stay_ours() -> None:
    with Box(ns.User(), ns.Uts("half")) as box, ck.Inside(box) as inside:
        assert {namespace.kind for namespace in inside._namespaces} == {"user", "uts"}
        assert ck.run(["hostname"], inside).text == "half\n"


def test_a_working_directory_that_was_removed(rootdir: Path) -> None:
    run = ["/bin/sh", "-c", "mkdir /tmp/gone; cd /tmp/gone; rm -r /tmp/gone; echo up; read x"]
    with Box(*ALL, mounts.Root(rootdir), mounts.Tmpfs("/tmp"), run=run) as box:
        assert ck.exec(box, ["/bin/sh", "-c", "pwd"]).text == "/\n"


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [ck.Capabilities.default()],
        [ck.Capabilities.default(), ck.NoNewPrivileges()],
        [ck.Capabilities.only("CAP_NET_RAW", "CAP_CHOWN")],
        [ck.Capabilities.default(), ck.Seccomp.default().before_capabilities()],
        [ck.NoNewPrivileges(), ck.Seccomp.default(), ck.Seccomp.default().denying(["sethostname"])],
        [ck.Capabilities.only("CAP_NET_RAW", ambient=True)],
        [ck.Rlimits(nofile=77, core=0)],
    ],
)
@pytest.mark.parametrize("user", [ns.User(), ns.User(7, 8)])
def test_walls_of_any_kind(parts: list[Any], user: Any) -> None:
    script = "cat /proc/self/status; ulimit -n"
    with ck.plan(user, ns.Uts("x"), *parts, run=["/bin/sh", "-c", "echo up; " + script + "; echo; read x"]).spawn(
        stdin=ck.PIPE, stdout=ck.PIPE
    ) as box:
        assert box.stdout
        box.stdout.readline()
        theirs = b"".join(iter(box.stdout.readline, b"\n")).decode()
        ours = ck.exec(box, ["/bin/sh", "-c", script], check=True).text
    assert walls(ours) == walls(theirs)
    assert ours.splitlines()[-1] == theirs.splitlines()[-1]


@pytest.mark.root
@pytest.mark.parametrize(
    "parts",
    [
        [ck.Credentials(33, 34, groups=(5,))],
        [ck.Credentials(33, 34), ck.Capabilities.only("CAP_NET_RAW", ambient=True)],
        [ck.Credentials(33, 34), ck.Capabilities.default()],
        [ns.User(uids=((0, 100000, 1000),), gids=((0, 100000, 1000),)), ck.Credentials(33, 34, groups=(5, 6))],
        [ns.User(uid=9, gid=9, uids=((0, 100000, 1000),), gids=((0, 100000, 1000),))],
        [ns.User(uid=9, gid=9, uids=((5, 100000, 1000),), gids=((5, 100000, 1000),))],
    ],
)
def test_who_it_is(parts: list[Any]) -> None:
    with ck.plan(*parts, ns.Uts("x"), run=["/bin/sh", "-c", "cat /proc/self/status; echo; read x"]).spawn(
        stdin=ck.PIPE, stdout=ck.PIPE
    ) as box:
        assert box.stdout
        theirs = b"".join(iter(box.stdout.readline, b"\n")).decode()
        assert walls(ck.exec(box, STATUS, check=True).text) == walls(theirs)


def test_a_user_0_gets_no_capability_back_that_the_process_gave_up() -> None:
    """It kept its bounding set; an exec as user 0 would take all of that."""
    give_up = (
        "import ctypes, sys; libc = ctypes.CDLL(None)\n"
        "libc.syscall({capset}, (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())\n"
        "print('up', flush=True); sys.stdin.read()"
    ).format(capset=126 if os.uname().machine == "x86_64" else 91)
    with Box(ns.User(), ns.Uts("x"), run=[sys.executable, "-I", "-c", give_up]) as box:
        assert any(line.startswith("CapBnd") and int(line.split()[1], 16) for line in of(box))
        assert "CapEff:\t0000000000000000" in walls(ck.exec(box, STATUS, check=True).text)


def test_limits_of_a_plan_are_taken_along() -> None:
    with Box(ns.User(), ns.Uts("x"), ck.Rlimits(nofile=77)) as box:
        assert ck.exec(box, ["/bin/sh", "-c", "ulimit -n"]).text == "77\n"


def test_more_is_asked_for_by_name(sandboxed: ck.Process) -> None:
    with ck.Inside(sandboxed, capabilities=ck.Capabilities.only("CAP_SYS_CHROOT")) as inside:
        said = walls(ck.run(STATUS, inside, check=True).text)
    assert "CapEff:\t0000000000040000" in said
    for target in (sandboxed, sandboxed.pid):
        with ck.Inside(target, seccomp="none", no_new_privileges=False) as inside:
            assert {"Seccomp:\t0", "NoNewPrivs:\t0"} <= set(walls(ck.run(STATUS, inside, check=True).text))


def test_a_filter_that_cannot_be_read_is_not_left_out(sandboxed: ck.Process) -> None:
    with pytest.raises(ck.Unavailable, match=r"system call filter(.|\n)*seccomp=Seccomp.default\(\)"):
        ck.exec(sandboxed.pid, ["true"])
    with ck.Inside(sandboxed.pid, seccomp=ck.Seccomp.default()) as inside:
        assert ck.run(["hostname", "x"], inside).exit_code != 0


def test_an_init_has_the_same_walls(rootdir: Path) -> None:
    parts = [
        ns.User(),
        ns.Mount(),
        ns.Pid(init=True),
        mounts.Root(rootdir),
        ck.Capabilities.none(),
        ck.NoNewPrivileges(),
        ck.Seccomp.default(),
    ]
    with Box(*parts) as box:
        said = walls(ck.exec(box, STATUS, check=True).text)
    assert {"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} <= set(said)


def test_in_a_container_in_a_container(sandboxed: ck.Process) -> None:
    """A process that joined can be joined the same way."""
    with ck.plan(ck.Inside(sandboxed), run=["/bin/sh", "-c", "echo up; sleep 60"]).spawn(stdout=ck.PIPE) as second:
        assert second.stdout
        second.stdout.readline()
        assert {"Seccomp:\t2", "CapBnd:\t0000000000000000"} <= set(walls(ck.exec(second, STATUS, check=True).text))


def test_for_coroutines(sandboxed: ck.Process) -> None:
    async def both() -> str:
        with ck.Inside(ck.AsyncProcess(sandboxed)) as inside:
            return (await ck.arun(["hostname"], inside)).text

    assert asyncio.run(both()) == "sandbox\n"


def test_one_that_takes_too_long(sandboxed: ck.Process) -> None:
    assert ck.exec(sandboxed, ["sleep", "60"], timeout=0.5).stopped_by == "timeout"
    assert sandboxed.poll() is None


# What cannot be joined ------------------------------------------------------------------------------------------


def test_who_is_not_there(sandboxed: ck.Process) -> None:
    with pytest.raises(ProcessLookupError):
        ck.exec(2**22 - 1, ["true"])
    sandboxed.kill()
    sandboxed.wait()
    with pytest.raises(ProcessLookupError, match="has ended"):
        ck.exec(sandboxed, ["true"])


@pytest.mark.parametrize("what", [0, -5, True, "1", None])
def test_what_is_no_process(what: Any) -> None:
    with pytest.raises(ck.PlanError, match="to join: a Process"):
        ck.Inside(what)
    with ck.Namespace.of(0, "net") as net, pytest.raises(ck.PlanError, match="first process"):
        ck.Inside(net)


def test_one_that_was_closed(sandboxed: ck.Process) -> None:
    inside = ck.Inside(sandboxed)
    made = ck.plan(inside, run=["true"])
    inside.close()
    with pytest.raises(ValueError, match="closed"):
        made.run()


def test_it_does_not_cross_to_another_process(sandboxed: ck.Process) -> None:
    with ck.Inside(sandboxed) as inside, pytest.raises(TypeError, match="send a process id"):
        pickle.dumps(inside)
    with pytest.raises(TypeError, match="its result"):
        pickle.dumps(ck.AsyncProcess(sandboxed))


def test_nothing_is_left_open(sandboxed: ck.Process) -> None:
    before = set(os.listdir("/proc/self/fd"))
    ck.exec(sandboxed, ["true"])
    with pytest.raises(ck.Unavailable):
        ck.Inside(sandboxed.pid)
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.root
def test_another_users_container_is_not_ours_to_join(as_user: Any) -> None:
    with Box(ck.sandbox(ck.rootfs.from_programs(["sh"]))) as box:
        as_user(
            f"import containerkit as ck\ntry: ck.exec({box.pid}, ['true'])\nexcept PermissionError: pass\nelse: raise SystemExit('joined')"
        )


@pytest.mark.root
def test_a_security_label_is_a_wall(sandboxed: ck.Process, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ProcDirectory.label
    monkeypatch.setattr(ProcDirectory, "label", lambda self: "box-profile (enforce)" if self.pid else real(self))
    with pytest.raises(ck.Unavailable, match="security label"):
        ck.exec(sandboxed, ["true"])


@pytest.mark.root
def test_a_proc_that_is_none_is_refused(tmp_path: Path) -> None:
    """A stranger shows us a directory of files in its place."""
    code = "import containerkit as ck\ntry: ck.Inside(1)\nexcept ck.Unavailable as error: print('procfs' in str(error))"
    script = f'mount -t tmpfs x /proc && mkdir -p /proc/1/ns && echo > /proc/1/status && exec {sys.executable} -c "$0"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


# Its cgroup -----------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_the_cgroup_in_every_hierarchy(rootdir: Path) -> None:
    with ck.Cgroup("joined", memory_max="64M", pids_max=20) as group, Box(ck.sandbox(rootdir), group) as box:
        with ck.plan(ck.Inside(box.pid, seccomp="none"), run=["/bin/sh", "-c", "echo up; sleep 60"]).spawn(stdout=ck.PIPE) as newcomer:
            assert newcomer.stdout
            newcomer.stdout.readline()
            assert Path(f"/proc/{newcomer.pid}/cgroup").read_text() == Path(f"/proc/{box.pid}/cgroup").read_text()
        assert ck.exec(box, ["/bin/sh", "-c", "while :; do sleep 60 & done"], timeout=3).exit_code != 0


def test_kinds_are_all_looked_at(sandboxed: ck.Process) -> None:
    with ck.Inside(sandboxed) as inside:
        assert {namespace.kind for namespace in inside._namespaces} == set(KINDS) - {"time"}


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
