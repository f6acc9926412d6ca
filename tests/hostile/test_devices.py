"""Root in a container, without a user namespace and with CAP_MKNOD, makes a node of a device that it was not given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import containerkit as ck
from containerkit import mounts, ns

pytestmark = [pytest.mark.hostile, pytest.mark.root]
MOUNTS_WITHOUT_NODES = {"devpts"}  # nothing can be made in it


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    return ck.rootfs.from_programs(["sh", "mknod", "cat", "dd"], tmp_path / "tools")


def parts(root: ck.LayerFS) -> list[ck.Part]:
    return [ns.Mount(), ns.Pid(), root, mounts.Dev(), mounts.Tmpfs("/tmp"), ck.Capabilities.default()]


@pytest.mark.parametrize("place", ["/", "/dev/", "/dev/shm/", "/tmp/"])
def test_a_node_that_it_makes_is_dead(tools: Path, place: str) -> None:
    script = f"mknod {place}node c 1 5 && dd if={place}node bs=1 count=1"  # the harmless zero device: a disk is as far away
    with ck.LayerFS(tools) as root:
        tried = ck.run(["sh", "-c", script], *parts(root))
    assert tried.exit_code != 0
    assert b"Permission denied" in tried.stderr


def test_with_devices_it_is_alive(tools: Path) -> None:
    """So the test above sees a refusal, and not a machine on which nothing of the kind works."""
    with ck.LayerFS(tools, devices=True) as root:
        made = ck.run(["sh", "-c", "mknod /zero c 1 5 && dd if=/zero bs=1 count=1 2>/dev/null"], *parts(root))
    assert (made.exit_code, made.stdout) == (0, b"\0")


@pytest.mark.parametrize("readonly", [False, True])
def test_every_mount_refuses_devices_but_the_ones_bound_there(tools: Path, readonly: bool) -> None:
    with ck.LayerFS(tools, readonly=readonly) as root:
        table = ck.run(["cat", "/proc/self/mounts"], *parts(root), check=True).text
    for line in table.splitlines():
        _, target, kind, options, *_ = line.split()
        allowed = kind in MOUNTS_WITHOUT_NODES or os.path.dirname(target) == "/dev"
        assert allowed or "nodev" in options.split(","), line
    assert "nodev" in next(line for line in table.splitlines() if line.split()[1] == "/dev")


def test_the_devices_of_dev_work(tools: Path) -> None:
    with ck.LayerFS(tools) as root:
        made = ck.run(["sh", "-c", "dd if=/dev/zero bs=1 count=1 2>/dev/null; echo x > /dev/null"], *parts(root))
    assert (made.exit_code, made.stdout) == (0, b"\0")
