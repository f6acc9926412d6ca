# ruff: noqa: E501 - tables of cases and scripts read better on one line
"""Mounts: what the program finds where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import mounts, ns

BASE = [ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc()]


def sh(script: str, *parts: Any) -> list[str]:
    plan = ck.plan(*BASE, *parts, run=["/bin/sh", "-c", script], env={"PATH": "/bin:/usr/bin"})
    with plan.spawn(stdout=ck.PIPE, stderr=ck.STDOUT) as process:
        return process.communicate(timeout=20)[0].decode().splitlines()


def table(*parts: Any) -> dict[str, tuple[str, str]]:
    """Mount point -> filesystem and options, as the inside sees them."""
    rows = [line.split() for line in sh("while read l; do echo $l; done < /proc/self/mountinfo", *parts)]
    return {r[4]: (r[r.index("-") + 1], r[5]) for r in rows}


def test_a_root_of_ones_own(rootdir: Path) -> None:
    assert sh("ls /; pwd", mounts.Root(rootdir)) == [*sorted(os.listdir(rootdir)), "/"]
    assert list(table(mounts.Root(rootdir))) == ["/", "/proc"]


@pytest.mark.parametrize("place", ["/", "/etc"])
def test_a_read_only_root(place: str, rootdir: Path) -> None:
    for name in ("proc", "etc"):
        (rootdir / name).mkdir(exist_ok=True)
    assert "Read-only file system" in sh(f"touch {place}/x", mounts.Root(rootdir, readonly=True))[0]


def test_binds(tmp_path: Path, rootdir: Path) -> None:
    (tmp_path / "file").write_text("text")
    out = sh("cat /a/b/c/file; echo; cat /one; touch /a/b/c/new; touch /ro/x", mounts.Root(rootdir), mounts.Bind(tmp_path, "/a/b/c", idmap=True),
             mounts.Bind(tmp_path / "file", "/one"), mounts.Bind(tmp_path, "/ro", readonly=True, options=["noexec"], idmap=True))  # fmt: skip
    assert out[0] == "text"
    assert out[1].startswith("text")
    assert "Read-only" in out[1]
    assert (tmp_path / "new").exists()


def test_options_are_those_asked_for(rootdir: Path, tmp_path: Path) -> None:
    seen = table(
        mounts.Root(rootdir),
        mounts.Tmpfs("/t", options=["nosuid", "nodev", "noexec", "ro"]),
        mounts.Bind(tmp_path, "/b", options=["nosuid"]),
        mounts.Sysfs(),
        mounts.Mqueue("/q"),
    )
    assert seen["/t"] == ("tmpfs", "ro,nosuid,nodev,noexec,relatime")
    assert {"nosuid", "rw"} <= set(seen["/b"][1].split(","))
    assert seen["/sys"] == ("sysfs", "ro,nosuid,nodev,noexec,relatime")
    assert seen["/q"] == ("mqueue", "rw,nosuid,nodev,noexec,relatime")
    assert seen["/proc"] == ("proc", "rw,nosuid,nodev,noexec,relatime")


def test_a_tree_is_bound_with_what_is_below_it_and_all_of_it_read_only(rootdir: Path) -> None:
    seen = table(mounts.Root(rootdir), mounts.Bind("/dev", "/d", readonly=True))
    below = {p: o for p, (_, o) in seen.items() if p.startswith("/d/") or p == "/d"}
    assert len(below) > 1
    assert all("ro" in o.split(",") for o in below.values())


@pytest.mark.parametrize("root", [True, False])
def test_devices(root: bool, rootdir: Path) -> None:
    parts = [mounts.Dev(), *([mounts.Root(rootdir)] if root else [])]
    out = sh(
        "stat -c '%F %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; echo x > /dev/null; cat /dev/null; readlink /dev/fd /dev/stdin /dev/ptmx; echo y > /dev/shm/y && cat /dev/shm/y; ls /dev/pts",
        *parts,
    )
    assert out[:6] == [f"character special file {n}" for n in ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0")]
    assert out[6:] == ["/proc/self/fd", "/proc/self/fd/0", "pts/ptmx", "y", "ptmx"]


@pytest.mark.root
def test_devices_made_where_that_is_allowed(rootdir: Path) -> None:
    plan = ck.plan(ns.Mount(), mounts.Root(rootdir), mounts.Dev(mknod=True), run=["/bin/stat", "-c", "%F %t:%T", "/dev/null"])
    assert plan.run().stdout == b"character special file 1:3\n"


@pytest.mark.parametrize("root", [True, False])
def test_what_is_masked_reads_as_empty(root: bool, rootdir: Path, tmp_path: Path) -> None:
    parts = [
        mounts.Masked(["/proc/version", "/proc/sys/kernel", "/nowhere/at/all", "/etc/hostname/x"]),
        *([mounts.Root(rootdir)] if root else []),
    ]
    out = sh("stat -c %F /proc/version; ls /proc/sys/kernel; cat /proc/version; touch /proc/sys/kernel/x; ls /nowhere", *parts)
    assert out[0] == "character special file"
    assert "Read-only" in out[1]
    assert "No such file" in out[2]
    assert len(out) == 3


def test_several_parts_may_mask(rootdir: Path) -> None:
    parts = mounts.Root(rootdir), mounts.Masked(["/proc/version"]), mounts.Masked(["/proc/cmdline"])
    assert sh("stat -c %F /proc/version /proc/cmdline", *parts) == ["character special file"] * 2


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("number", [58, 59, 60, 61, 62, 63, 64])
def test_a_programs_descriptors_and_the_plans_own_do_not_meet(number: int, apart: bool, rootdir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    parts, run = [*BASE, mounts.Root(rootdir), mounts.Masked()], ["/bin/cat", f"/proc/self/fd/{number}"]
    with open(tmp_path / "file") as file:
        plan = ck.plan(*parts, run=run, share_memory=not apart)
        if number in (61, 63):
            with pytest.raises(ck.PlanError, match=f"descriptor {number}"):
                plan.spawn(fds={number: file})
            return
        with plan.spawn(fds={number: file}, stdout=ck.PIPE) as process:
            assert process.communicate()[0] == b"mine"


def test_mounts_elsewhere_do_not_disturb_a_search_that_climbs(rootdir: Path, tmp_path: Path) -> None:
    """The kernel gives up a search through ".." with EAGAIN when something is mounted meanwhile: it has to be asked again."""
    root = tmp_path / "root"
    shutil.copytree(rootdir, root, symlinks=True)
    (root / "there").mkdir()
    (root / "var" / "link").symlink_to("../there/../there/../there")
    tmpfs = [mounts.Tmpfs(f"/var/link/{n}") for n in range(10)]
    plan = ck.plan(ns.User(), ns.Mount(), mounts.Root(root), mounts.Tmpfs("/there"), *tmpfs, run=["/bin/true"])

    def spawn_some() -> list[int]:
        return [plan.run().exit_code for _ in range(15)]

    with ThreadPoolExecutor(8) as pool:
        assert [f.result() for f in [pool.submit(spawn_some) for _ in range(8)]] == [[0] * 15] * 8


def test_what_is_frozen_cannot_be_changed(rootdir: Path) -> None:
    out = sh("echo x > /proc/sys/kernel/ns_last_pid || true; cat /proc/sys/kernel/ostype", mounts.Root(rootdir), mounts.ReadOnly())
    assert "Read-only" in out[0] or "cannot create" in out[0]
    assert out[-1] == "Linux"
    assert table(mounts.Root(rootdir), mounts.ReadOnly())["/proc/sys"][1].startswith("ro")


def test_deeper_mounts_come_later(rootdir: Path, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    tmp_path.chmod(0o755)
    for parts in ([mounts.Bind(tmp_path, "/tmp/a/b"), mounts.Tmpfs("/tmp")], [mounts.Tmpfs("/tmp"), mounts.Bind(tmp_path, "/tmp/a/b")]):
        assert sh("ls /tmp/a/b", mounts.Root(rootdir), *parts) == ["f"]


@pytest.mark.parametrize("limit", range(58, 65))
def test_with_few_descriptors_nothing_stays_unmasked(limit: int, rootdir: Path) -> None:
    script = f"""
import resource, containerkit as ck
from containerkit import mounts, ns
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
parts = ns.User(), ns.Mount(), ns.Pid(), mounts.Root({str(rootdir)!r}), mounts.Masked(["/proc/version"])
try:
    print(ck.run(["/bin/cat", "/proc/version"], *parts).stdout)
except ck.StepError:
    print(b"")
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout == "b''\n"


@pytest.mark.root
def test_files_shown_with_other_ids(rootdir: Path, tmp_path: Path) -> None:
    ranges = [(0, 100000, 1000)]
    with (
        ck.plan(ns.User(uids=ranges, gids=ranges), run=["/bin/sleep", "1000"]).spawn() as holder,
        ck.Namespace.of(holder.pid, "user") as user,
    ):
        (tmp_path / "mine").touch()
        plan = ck.plan(ns.Mount(), mounts.Root(rootdir), mounts.Bind(tmp_path, "/m", idmap=user), run=["/bin/stat", "-c", "%u", "/m/mine"])
        assert plan.run().stdout == b"100000\n"
        before = os.listdir("/proc/self/fd")
        twice = [mounts.Bind(tmp_path, target, idmap=user) for target in ("/m", "/n")]
        plan = ck.plan(ns.Mount(), mounts.Root(rootdir), *twice, run=["/bin/stat", "-c", "%u", "/m/mine", "/n/mine"])
        assert plan.run().stdout == b"100000\n" * 2
        assert os.listdir("/proc/self/fd") == before


@pytest.mark.root
@pytest.mark.parametrize("recursive", [True, False])
def test_access_times_can_be_left_alone(recursive: bool, rootdir: Path, tmp_path: Path) -> None:
    bind = mounts.Bind(tmp_path, "/b", options=["noatime"], recursive=recursive)
    plan = ck.plan(ns.Mount(), mounts.Root(rootdir), mounts.Proc(), bind, run=["/bin/cat", "/proc/self/mountinfo"])
    assert [line.split()[5] for line in plan.run().text.splitlines() if line.split()[4] == "/b"] == ["rw,noatime"]


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)


@pytest.mark.root
def test_an_idmapped_root_belongs_to_the_containers_root(rootdir: Path, tmp_path: Path) -> None:
    """A range of ids, and a root whose files stay root's on the disk and are root's inside."""
    root, ranges = tmp_path / "root", [(0, 100000, 65536)]
    shutil.copytree(rootdir, root, symlinks=True)
    tmp_path.chmod(0o755)
    many = ns.User(uids=ranges, gids=ranges)
    with ck.plan(many, run=["/bin/sleep", "100"]).spawn() as holder, ck.Namespace.of(holder.pid, "user") as ids:
        parts = (many, ns.Mount(), ns.Pid(), mounts.Root(root, idmap=ids), mounts.Bind(tmp_path, "/mnt", idmap=ids))
        result = ck.run(["/bin/sh", "-c", "touch /made /mnt/too; stat -c %u / /made /mnt/too"], *parts)
        assert result.text.split() == ["0", "0", "0"], result.stderr
    assert ((root / "made").stat().st_uid, (tmp_path / "too").stat().st_uid) == (0, 0)


@pytest.mark.root
def test_a_foreign_root_is_recognised_however_it_is_mounted(rootdir: Path) -> None:
    """A user that could overwrite the caller's own executable runs the program from the helper's image; root of other ids could not."""
    with ck.plan(ns.User(), run=["/bin/sleep", "100"]).spawn() as holder, ck.Namespace.of(holder.pid, "user") as ids:
        for part in (mounts.Root(rootdir), mounts.Root(rootdir, idmap=ids), ck.LayerFS(rootdir, readonly=True)):
            for user, hidden in ((ns.User.same(), True), (ns.User(), False)):
                calls = {s.call.name for s in ck.plan(user, ns.Mount(), part, run=["/bin/true"]).child_steps}
                assert ("execveat" in calls) == hidden, (user, part)


def test_nothing_is_made_on_the_host(open_path: Path) -> None:
    """Without a root of its own a missing target would be made on the host's disk: it is an error instead."""
    missing = open_path / "missing" / "deep"
    for part in (mounts.Tmpfs(missing), mounts.Bind("/etc/hostname", missing), mounts.Proc(missing)):
        with pytest.raises(ck.StepError, match="no such place"):
            ck.run(["/bin/true"], ns.User(), ns.Mount(), ns.Pid(proc=False), part)
    assert list(open_path.iterdir()) == []


def test_the_root_covers_no_directory_of_the_hosts(rootdir: Path) -> None:
    """A bind whose source lies in the root's own directory shows what is on the disk, not the mounted root."""
    with ck.LayerFS(rootdir) as root:
        parts = (ns.User(), ns.Mount(), ns.Pid(), root, mounts.Bind(rootdir / "etc", "/mnt"))
        result = ck.run(["/bin/sh", "-c", "echo > /etc/new; ls /mnt"], *parts)
        assert "new" not in result.text.split(), result


def test_read_only_holds_without_cap_sys_admin_and_the_plan_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    root = ck.rootfs.from_programs(["sh", "mount", "touch"], tmp_path / "root")
    script = "mount -o remount,bind,rw /tmp/data; touch /tmp/data/x; mount -o remount,bind,rw /; touch /x"
    plan = ck.plan(ck.sandbox(root, mounts.Bind(tmp_path / "data", "/tmp/data", readonly=True)), run=["/bin/sh", "-c", script])
    assert plan.run().stderr.count(b"Read-only file system") == 2
    assert list((tmp_path / "data").iterdir()) == []
    for part in (
        mounts.Bind("/etc", "/mnt", readonly=True),
        mounts.Root("/srv", readonly=True),
        mounts.Bind("/etc", "/mnt", options=["nosuid"]),
    ):
        steps = ck.plan(ns.User(), ns.Mount(), part, run=["/bin/true"]).timeline.steps
        assert any("CAP_SYS_ADMIN over these mounts can undo that" in s.why for s in steps if s.call.name == "mount_setattr")
