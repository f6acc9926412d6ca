"""New namespaces: each does what it is for."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import mounts, ns
from containerkit.parts.namespace import KINDS

ROOT = os.geteuid() == 0
ALL = {
    "user": ns.User(),
    "mnt": ns.Mount(),
    "pid": ns.Pid(),
    "net": ns.Net(),
    "ipc": ns.Ipc(),
    "uts": ns.Uts(),
    "cgroup": ns.Cgroup(),
    "time": ns.Time(),
}


def sh(script: str, *parts: Any, **options: Any) -> list[str]:
    with ck.plan(*parts, run=["/bin/sh", "-c", script], env={"PATH": os.environ["PATH"]}, **options).spawn(stdout=ck.PIPE) as process:
        out = process.communicate(timeout=20)[0].decode()
    assert process.returncode == 0
    return out.splitlines()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [True, False])
def test_one_kind_is_new_and_the_others_are_the_callers(kind: str, share: bool) -> None:
    parts = [ALL[kind]] if ROOT or kind == "user" else [ns.User(), ALL[kind]]
    with ck.plan(*parts, run=["/bin/sleep", "1000"], share_memory=share).spawn() as process:
        new = {k for k in KINDS if os.readlink(f"/proc/{process.pid}/ns/{k}") != os.readlink(f"/proc/self/ns/{k}")}
    assert new == {kind, "user"} - (set() if not ROOT or kind == "user" else {"user"})


@pytest.mark.unprivileged
@pytest.mark.parametrize(("uid", "gid"), [(0, 0), (1000, 100), (4294967294, 7)])
def test_ones_own_ids_become_others(uid: int, gid: int) -> None:
    out = sh("id -u; id -g; cat /proc/self/setgroups; cat /proc/self/uid_map /proc/self/gid_map", ns.User(uid, gid))
    assert out[:3] == [str(uid), str(gid), "deny"]
    assert [line.split() for line in out[3:]] == [[str(uid), str(os.geteuid()), "1"], [str(gid), str(os.getegid()), "1"]]


@pytest.mark.root
@pytest.mark.parametrize("share", [True, False])
def test_ranges_mapped_directly(share: bool) -> None:
    ranges = [(0, 100000, 1000), (5000, 200000, 10)]
    out = sh(
        "id -u; id -g; id -G; cat /proc/self/setgroups; cat /proc/self/uid_map",
        ns.User(uid=5003, gid=2, uids=ranges, gids=ranges),
        share_memory=share,
    )
    assert out[:4] == ["5003", "2", "2", "allow"]
    assert [tuple(map(int, line.split())) for line in out[4:]] == ranges


@pytest.mark.unprivileged
def test_ranges_that_the_files_give() -> None:
    try:
        user = ns.subids()
    except ck.Unavailable as missing:
        pytest.skip(f"no subordinate ids here: {missing.what}")
    out = sh("id -u; id -g; cat /proc/self/setgroups; cat /proc/self/uid_map", user)
    assert out[:3] == ["0", "0", "allow"]
    assert [tuple(map(int, line.split())) for line in out[3:]] == list(user.uids)
    assert user.uids[0] == (0, os.geteuid(), 1)


def test_ids_that_nobody_gave() -> None:
    if ROOT:
        pytest.skip("root may map any")
    stolen = [(0, 1, 10)]
    with pytest.raises(ck.StepError, match="newuidmap") as caught:
        sh("id", ns.User(uids=stolen, gids=stolen))
    assert "not allowed" in caught.value.hint or "subuid" in caught.value.hint


def test_a_new_network_has_a_loopback() -> None:
    show = "cat /proc/net/dev"
    parts = [ns.User(), ns.Net(), ns.Mount(), ns.Pid()]
    assert [line.split(":")[0].strip() for line in sh(show, *parts)[2:]] == ["lo"]
    with (
        ck.plan(*parts, run=["/bin/sleep", "1000"]).spawn() as up,
        ck.plan(ns.User(), ns.Net(loopback=False), run=["/bin/sleep", "1000"]).spawn() as down,
    ):
        states = []
        for process in (up, down):
            with ck.Namespace.of(process.pid, "user") as user, ck.Namespace.of(process.pid, "net") as net:
                code = (
                    "import socket; s=socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); socket.create_connection(s.getsockname(), 2)"
                )
                with ck.plan(user, net, run=["/usr/bin/python3", "-c", code]).spawn(stderr=ck.DEVNULL) as probe:
                    states.append(probe.wait() == 0)
    assert states == [True, False]


def test_a_name_of_its_own() -> None:
    assert sh("hostname; cat /proc/sys/kernel/domainname", ns.User(), ns.Uts("lesson", "of.one")) == ["lesson", "of.one"]
    assert socket.gethostname() != "lesson"
    assert sh("hostname", ns.User(), ns.Uts("x" * 64)) == ["x" * 64]
    assert sh("hostname", ns.User(), ns.Uts()) == [socket.gethostname()]


@pytest.mark.parametrize("share", [True, False])
def test_clocks_that_only_it_sees(share: bool) -> None:
    out = sh("cat /proc/uptime", ns.User(), ns.Time(monotonic=-1.5, boottime=100_000.25), share_memory=share)
    assert 99_990 < float(out[0].split()[0]) - time.clock_gettime(time.CLOCK_BOOTTIME) < 100_010
    code = "import time; print(time.clock_gettime(time.CLOCK_MONOTONIC))"
    with ck.plan(ns.User(), ns.Time(monotonic=5000.5), run=["/usr/bin/python3", "-S", "-c", code]).spawn(stdout=ck.PIPE) as process:
        assert 4990 < float(process.communicate()[0]) - time.monotonic() < 5010.5


def test_process_1_sees_only_its_own(rootdir: Path) -> None:
    out = sh("echo $$; echo /proc/[0-9]*", ns.User(), ns.Mount(), ns.Pid(), mounts.Root(rootdir))
    assert out[0] == "1"
    assert set(out[1].split()) == {"/proc/1"}


@pytest.mark.parametrize("propagation", ["private", "slave"])
def test_no_mount_reaches_the_host(propagation: str, open_path: Path) -> None:
    (open_path / "m").mkdir()
    out = sh(f"mount | grep -c {open_path}/m", ns.User(), ns.Mount(propagation), mounts.Tmpfs(open_path / "m"))
    assert out == ["1"]
    assert str(open_path) not in Path("/proc/self/mountinfo").read_text()


def test_a_cgroup_namespace_hides_where_it_is() -> None:
    assert all(line.endswith(":/") for line in sh("cat /proc/self/cgroup", ns.User(), ns.Cgroup()))


def test_message_queues_of_its_own() -> None:
    assert sh("tail -n +2 /proc/sysvipc/shm", ns.User(), ns.Ipc()) == []


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
