# ruff: noqa: E501 - tables of cases and scripts read better on one line
"""Live namespaces: their properties, their processes, joining and pinning."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import mounts, ns
from containerkit.parts.namespace import KINDS, Namespace

ROOT = os.geteuid() == 0
SLEEP = ["/bin/sleep", "1000"]


@pytest.fixture
def box(rootdir: Path) -> Iterator[ck.Process]:
    parts = [
        ns.User(),
        ns.Mount(),
        ns.Pid(),
        ns.Net(),
        ns.Ipc(),
        ns.Uts("boxed"),
        ns.Cgroup(),
        ns.Time(1000),
        mounts.Root(rootdir),
        mounts.Tmpfs("/tmp"),
    ]
    with ck.plan(*parts, run=SLEEP).spawn() as process:
        yield process


@pytest.mark.parametrize("kind", KINDS)
def test_the_properties_of_a_namespace(kind: str, box: ck.Process) -> None:
    with Namespace.of(box.pid, kind) as there, Namespace.of(0, kind) as here, Namespace.of(os.getpid(), kind) as same:
        assert there.kind == kind
        assert f"{kind}:[{there.inode}]" == os.readlink(f"/proc/{box.pid}/ns/{kind}")
        assert (there != here, here == same, hash(here) == hash(same)) == (True, True, True)
        assert len({there, here, same}) == 2
        assert there != object()
        assert box.pid in there.processes()
        assert os.getpid() not in there.processes()
        assert os.getpid() in here.processes()
        assert str(there.inode) in repr(there)
    assert "closed" in repr(there)
    with pytest.raises(ValueError, match="closed"):
        there.fileno()


def test_owners_and_parents(box: ck.Process) -> None:
    with (
        Namespace.of(box.pid, "user") as user,
        Namespace.of(0, "user") as mine,
        Namespace.of(box.pid, "pid") as pid,
        Namespace.of(0, "pid") as host,
    ):
        for kind in ("net", "mnt", "uts", "ipc", "pid", "cgroup", "time"):
            with Namespace.of(box.pid, kind) as other, other.owner as owner:
                assert owner == user
        assert user.owner_uid == os.geteuid()
        with user.parent or pytest.fail("no parent") as above:
            assert above == mine
        with pid.parent or pytest.fail("no parent") as above:
            assert above == host
        assert mine.parent is None
        with Namespace.of(box.pid, "net") as net, pytest.raises(ck.PlanError, match="no parent"):
            assert net.parent


def test_files_that_are_no_namespace_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ck.PlanError, match="no namespace"):
        Namespace.at(tmp_path / "file")
    with pytest.raises(ck.PlanError, match="no such kind"):
        Namespace.of(0, "network")
    with pytest.raises(ProcessLookupError):
        Namespace.of(2**22 - 1, "net")
    for kind in ("user", "pid", "time"):
        with pytest.raises(ck.Unavailable, match="without a process in it"):
            Namespace.new(kind)


def test_all_namespaces_of_a_container_are_joined(box: ck.Process, rootdir: Path) -> None:
    """The plan of docker exec joins all namespaces at once."""
    spaces = [Namespace.of(box.pid, kind) for kind in KINDS]
    show = [
        "/bin/sh",
        "-c",
        "hostname; id -u; echo $$; touch /tmp/made; ls /; for n in user mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$n; done",
    ]
    try:
        with ck.plan(*spaces, run=show, env={"PATH": "/bin:/usr/bin"}).spawn(stdout=ck.PIPE) as process:
            hostname, uid, pid, *rest = process.communicate()[0].decode().split()
        assert process.returncode == 0
        assert (hostname, uid) == ("boxed", "0")
        assert int(pid) < 20
        assert rest[:-8] == sorted(os.listdir(rootdir))
        assert rest[-8:] == [f"{s.kind}:[{s.inode}]" for s in spaces]
        assert Path(f"/proc/{box.pid}/root/tmp/made").exists()
    finally:
        for space in spaces:
            space.close()


def test_only_some_joins_need_the_helper(box: ck.Process) -> None:
    def calls(*kinds: str) -> list[str]:
        with_kinds = [Namespace.of(box.pid, k) for k in kinds]
        plan = ck.plan(*with_kinds, run=["/bin/true"])
        for space in with_kinds:
            space.close()
        return [s.call.name for s in plan.child_steps]

    for kind in ("net", "ipc", "uts", "cgroup"):
        assert "execveat" not in calls(kind)
    for kind in ("user", "pid", "mnt", "time"):
        assert calls(kind).index("execveat") < calls(kind).index("setns")
    assert calls("net", "user", "pid").count("setns") == 3


def test_the_user_namespace_is_joined_first(box: ck.Process) -> None:
    for order in (("net", "user", "uts"), ("uts", "net", "user")):
        spaces = [Namespace.of(box.pid, k) for k in order]
        with ck.plan(*spaces, run=["/bin/hostname"]).spawn(stdout=ck.PIPE) as process:
            assert process.communicate()[0] == b"boxed\n"
        for space in spaces:
            space.close()


def test_a_namespace_outlives_its_first_process() -> None:
    with ck.plan(ns.User(), ns.Net(), run=SLEEP).spawn() as process:
        net, user = Namespace.of(process.pid, "net"), Namespace.of(process.pid, "user")
    assert net.processes() == []
    with ck.plan(user, net, run=["/bin/readlink", "/proc/self/ns/net"]).spawn(stdout=ck.PIPE) as process:
        assert process.communicate()[0].decode() == f"net:[{net.inode}]\n"
    net.close()
    user.close()


@pytest.mark.root
@pytest.mark.parametrize("kind", ["net", "ipc", "uts", "cgroup", "mnt"])
def test_a_new_namespace_without_a_process(kind: str) -> None:
    with Namespace.new(kind) as made, Namespace.of(0, kind) as mine:
        assert made != mine
        assert made.kind == kind
        assert made.processes() == []
        with ck.plan(made, run=["/bin/readlink", f"/proc/self/ns/{kind}"]).spawn(stdout=ck.PIPE) as process:
            assert process.communicate()[0].decode() == f"{kind}:[{made.inode}]\n"


@pytest.mark.root
def test_pinned_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    with Namespace.new("net") as made:
        made.pin(path)
        key = made.inode
        with pytest.raises(FileExistsError):
            made.pin(path)
    with Namespace.at(path) as found:
        assert (found.inode, found.kind) == (key, "net")
    Namespace.unpin(path)
    assert not path.exists()
    path.touch()
    with pytest.raises(ck.PlanError):
        Namespace.unpin(path)
    assert path.exists()


@pytest.mark.root
def test_a_function_runs_inside_and_the_caller_stays() -> None:
    before, threads = os.readlink("/proc/thread-self/ns/net"), threading.active_count()
    with Namespace.new("net") as made:
        assert made.call(lambda: [name for _, name in socket.if_nameindex()]) == ["lo"]
        assert made.call(lambda: os.readlink("/proc/thread-self/ns/net")) == f"net:[{made.inode}]"
        with pytest.raises(ZeroDivisionError):
            made.call(lambda: 1 // 0)
        assert os.readlink("/proc/thread-self/ns/net") == before
        assert threading.active_count() == threads
    with Namespace.new("mnt") as other, pytest.raises(ck.Unavailable, match="mnt namespace"):
        other.call(lambda: None)


def test_pinning_needs_privilege(tmp_path: Path, box: ck.Process) -> None:
    if ROOT:
        pytest.skip("root may")
    with Namespace.of(box.pid, "net") as net, pytest.raises(PermissionError):
        net.pin(tmp_path / "pin")
    assert not (tmp_path / "pin").exists()


@pytest.mark.root
def test_joining_a_user_namespace_drops_the_callers_groups() -> None:
    ranges = [(0, 100000, 1000)]
    script = """
import os, sys, containerkit as ck
os.setgroups([0, 4, 27])
with ck.Namespace.of(int(sys.argv[1]), "user") as user:
    print(ck.run(["/bin/sh", "-c", "while read a; do case $a in Groups*) echo $a;; esac; done < /proc/self/status"], user).text)
"""
    with ck.plan(ns.User(uids=ranges, gids=ranges), run=["/bin/sleep", "1000"]).spawn() as holder:
        out = subprocess.run([sys.executable, "-c", script, str(holder.pid)], capture_output=True, check=True, text=True).stdout
    assert out.split() == ["Groups:"]


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)


def test_a_user_namespace_joined_as_another_user() -> None:
    """A namespace without a map for 0 has no root to become, and the caller's own ids must not stay."""
    one = ns.User(uid=1234, gid=1234, uids=[(1234, os.geteuid(), 1)], gids=[(1234, os.getegid(), 1)])
    with ck.plan(one, run=["sleep", "100"]).spawn() as process, ck.Namespace.of(process.pid, "user") as user:
        with pytest.raises(ck.StepError, match=r"join it with become"):
            ck.run(["id", "-u"], user)
        assert ck.run(["id", "-u"], user.become(1234, 1234)).text == "1234\n"
    with pytest.raises(ck.PlanError, match="only a user namespace"):
        ck.Namespace.of(0, "net").become(0, 0)


def test_fractions_of_a_second_are_not_lost() -> None:
    assert ns.Time._split(0.9999999999) == "1 0"
    assert ns.Time._split(-0.5) == "-1 500000000"
