"""What a program finds in our container, beside what it finds in runc's, bubblewrap's, unshare's and nsenter's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import containerkit as ck
from containerkit import mounts, ns

LOOK = r"""
cd /dev; for name in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' $name; done
for name in fd stdin stdout stderr ptmx; do echo $name $(readlink $name); done
stat -c '%n %F %a' /dev/shm
hostname; id -u; id -g; echo pid $$
for path in /proc/sys/kernel/hostname /proc/bus; do touch $path 2>&1; done
for path in /proc/acpi /sys/firmware; do ls $path; done
cat /proc/keys /proc/timer_list
cat /proc/self/uid_map /proc/self/gid_map
"""


def need(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}")
    return path


def ours(rootdir: Path, script: str = LOOK, *more: ck.Part) -> list[str]:
    one = ns.User(uids=[(0, os.geteuid(), 1)], gids=[(0, os.getegid(), 1)])  # root's containers have a range of their own otherwise
    parts = (one, ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("peer"), mounts.Root(rootdir), mounts.Dev(), mounts.Sysfs(), *more)
    result = ck.run(["/bin/sh", "-c", script], *parts, timeout=20)
    return [" ".join(line.split()) for line in (result.text + result.stderr.decode()).splitlines()]


def runc_config(rootdir: Path, directory: Path, script: str) -> dict[str, Any]:
    subprocess.run([need("runc"), "spec"], cwd=directory, check=True)
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    config["root"] = {"path": str(rootdir), "readonly": False}
    config["hostname"] = "peer"
    config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", script], "rlimits": []}
    config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
    config["linux"]["namespaces"].append({"type": "user"})
    own = [{"containerID": 0, "hostID": 0, "size": 1}]
    config["linux"] |= {"uidMappings": own, "gidMappings": own}
    for mount in config["mounts"]:
        mount["options"] = [o for o in mount.get("options", []) if not o.startswith("gid=")]
    return config


@pytest.mark.root
def test_a_program_finds_what_it_finds_in_runc(rootdir: Path, tmp_path: Path) -> None:
    config = runc_config(rootdir, tmp_path, LOOK)
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [need("runc"), "--root", str(tmp_path / "state"), "run", "--bundle", str(tmp_path), f"ck-{os.getpid()}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    theirs = [" ".join(line.split()) for line in (done.stdout + done.stderr).splitlines()]
    # runc keeps the caller's groups apart from setgroups: what it maps is the same
    assert ours(rootdir, LOOK, mounts.Masked(), mounts.ReadOnly()) == theirs


@pytest.mark.root
def test_what_runc_hides_is_hidden(tmp_path: Path) -> None:
    subprocess.run([need("runc"), "spec"], cwd=tmp_path, check=True)
    linux = json.loads((tmp_path / "config.json").read_text())["linux"]
    assert set(linux["maskedPaths"]) <= set(mounts.MASKED)
    assert set(linux["readonlyPaths"]) <= set(mounts.READONLY)


def test_devices_are_those_of_bubblewrap(rootdir: Path) -> None:
    script = LOOK.splitlines()[1]
    command = [need("bwrap"), "--unshare-all", "--bind", str(rootdir), "/", "--proc", "/proc", "--dev", "/dev", "/bin/sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"bwrap does not work here: {done.stderr.strip()}")
    assert ours(rootdir, script) == done.stdout.splitlines()


@pytest.mark.unprivileged
def test_id_maps_are_those_of_unshare() -> None:
    show = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups"
    done = subprocess.run([need("unshare"), "--map-root-user", "sh", "-c", show], capture_output=True, text=True, timeout=60, check=True)
    assert ck.run(["sh", "-c", show], ns.User()).text == done.stdout


@pytest.mark.root
def test_nsenter_and_we_enter_the_same(rootdir: Path) -> None:
    kinds = {"user": "-U", "mnt": "-m", "pid": "-p", "net": "-n", "ipc": "-i", "uts": "-u", "cgroup": "-C"}
    parts = (ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("inner"), ns.Cgroup(), mounts.Root(rootdir))
    show = "hostname; id -u; readlink /proc/self/ns/*; ls /; ps -e -o comm="
    with ck.plan(*parts, run=["/bin/sleep", "100"]).spawn() as process:
        command = [need("nsenter"), "-t", str(process.pid), *kinds.values(), "-S", "0", "-G", "0", "/bin/sh", "-c", show]
        theirs = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env={}).stdout
        joined = [ck.Namespace.of(process.pid, kind) for kind in kinds]
        assert ck.run(["/bin/sh", "-c", show], *joined).text == theirs


@pytest.mark.root
def test_lsns_sees_our_namespaces(rootdir: Path) -> None:
    with ck.plan(ns.User(), ns.Mount(), ns.Pid(), ns.Uts("x"), mounts.Root(rootdir), run=["/bin/sleep", "100"]).spawn() as process:
        listing = subprocess.run([need("lsns"), "--json", "-p", str(process.pid)], capture_output=True, text=True, check=True).stdout
        found = {entry["type"]: int(entry["ns"]) for entry in json.loads(listing)["namespaces"]}
        for kind in ("user", "mnt", "pid", "uts", "net"):
            assert ck.Namespace.of(process.pid, kind).inode == found[kind]
