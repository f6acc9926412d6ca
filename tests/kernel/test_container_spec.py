"""Containers from a spec: what the program inside finds is what the spec says."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import containerkit as ck
from containerkit import mounts
from containerkit.container import ContainerSpec, Namespaces, Profile

ROOT = os.geteuid() == 0
PATH = {"PATH": "/bin:/usr/bin"}


def said(spec: ContainerSpec, root: Path, *parts: ck.Part, group: ck.Cgroup | None = None) -> list[str]:
    """The lines that the program writes; the spec has been a document in between."""
    again = ContainerSpec.parse(spec.dump())
    with ck.LayerFS(root) as layers:
        result = again.plan(layers, group, more=parts).run(timeout=20)
    assert result.exit_code == 0, result.stderr
    return result.text.splitlines()


def test_a_container_is_what_its_spec_says(rootdir: Path) -> None:
    script = "hostname; pwd; echo $HOME; umask; id -u; cat /etc/hostname; ulimit -n; test -e /made; echo $?"
    spec = ContainerSpec(
        ["sh", "-c", script], env=PATH, hostname="box", cwd="/work/here", directories=["/work/here", "/made"], umask=0o027,
        name_files=True, rlimits=ck.Rlimits(nofile=64), set_home=True, user="0",
    )  # fmt: skip
    home = "/root" if "/root" in passwd(rootdir) else "/"
    assert said(spec, rootdir) == ["box", "/work/here", home, "0027", "0", "box", "64", "0"]


def passwd(root: Path) -> str:
    path = root / "etc/passwd"
    return path.read_text() if path.exists() else ""


def test_words_that_are_not_utf8_arrive(rootdir: Path) -> None:
    spec = ContainerSpec(["sh", "-c", 'echo "$1$A"', "sh", b"\xff"], env={**PATH, "A": os.fsdecode(b"\xe9")})
    with ck.LayerFS(rootdir) as layers:
        result = ContainerSpec.parse(spec.dump()).plan(layers).run(timeout=20)
    assert result.stdout == b"\xff\xe9\n"


def test_a_bare_profile_leaves_no_capability(rootdir: Path) -> None:
    script = (
        "while read name value; do case $name in CapEff:|CapBnd:|NoNewPrivs:|Seccomp:) echo $name $value; esac; done </proc/self/status"
    )
    spec = ContainerSpec(["sh", "-c", script], env=PATH, profile=Profile.bare())
    assert said(spec, rootdir) == ["CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2"]


def test_a_device_is_a_bind_of_its_node(rootdir: Path) -> None:
    mounted = (mounts.Dev(), mounts.Bind("/dev/zero", "/dev/mine", directory=False))
    spec = ContainerSpec(["sh", "-c", "cat </dev/mine | read -n 1 x; test -c /dev/mine; echo $?"], env=PATH, mounts=mounted)
    assert said(spec, rootdir)[-1] == "0"


def test_limits_are_those_of_the_group(rootdir: Path) -> None:
    spec = ContainerSpec(["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait"], env=PATH, limits={"pids_max": 4})
    try:
        group = ck.Cgroup(**spec.limits).make()
    except (ck.Unavailable, ck.CgroupError) as error:
        pytest.skip(f"no group with pids_max here: {error}")
    with group, ck.LayerFS(rootdir) as layers:
        assert spec.plan(layers, group).run(timeout=20).exit_code != 0


@pytest.mark.root
def test_namespaces_are_joined(rootdir: Path) -> None:
    wait = ContainerSpec(
        ["sh", "-c", "echo up; read x"], env=PATH, hostname="first", namespaces=Namespaces(user="host"), mounts=(mounts.Dev(),)
    )
    with ck.LayerFS(rootdir) as layers, wait.plan(layers).spawn(stdin=ck.PIPE, stdout=ck.PIPE) as first:
        assert first.stdout
        assert first.stdout.readline() == b"up\n"
        path = f"/proc/{first.pid}/ns/"
        namespaces = Namespaces(user="host", uts=path + "uts", net=path + "net", ipc=path + "ipc")
        spec = ContainerSpec(["sh", "-c", "hostname; readlink /proc/self/ns/net"], env=PATH, namespaces=namespaces, mounts=(mounts.Dev(),))
        assert said(spec, rootdir) == ["first", os.readlink(path + "net")]


@pytest.mark.root
def test_a_user_of_the_root(rootdir: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("web:x:33:34::/var/www:/bin/sh\n")
    (tmp_path / "etc/group").write_text("more:x:44:web\n")
    os.chmod(tmp_path, 0o755)
    spec = ContainerSpec(["sh", "-c", "id -u; id -g; id -G; echo $HOME"], env=PATH, user="web", groups=(50,), set_home=True)
    with ck.LayerFS(rootdir, tmp_path) as layers:
        result = spec.plan(layers).run(timeout=20)
    assert result.text.splitlines() == ["33", "34", "34 44 50", "/var/www"]


def test_a_network_of_its_own(rootdir: Path) -> None:
    assert socket.gethostname() != "alone"
    assert said(ContainerSpec(["sh", "-c", "ls /sys/class/net"], env=PATH, hostname="alone"), rootdir) == ["lo"]
