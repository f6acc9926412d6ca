"""Roots full of links: for any image, nothing outside of it is made, mounted on or changed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from support import TRUE, again, compiled

import containerkit as ck
from containerkit import kernel, mounts, ns

pytestmark = pytest.mark.hostile
TARGETS = [
    "{outside}",
    "../outside",
    "../../../../../../..{outside}",
    "/proc/1/root{outside}",
    "/proc/self/root{outside}",
    "/nowhere",
    ".",
    "..",
    "/proc/self/cwd",
]
OLD = ["fsopen", "open_tree", "move_mount", "mount_setattr"]


def tree(directory: Path) -> list[tuple[str, int, int, int]]:
    """All that is there, with what it is."""
    found = [directory, *sorted(directory.rglob("*"))]
    return [(str(p), s.st_mode, s.st_size, s.st_dev) for p in found for s in [p.lstat()]]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["proc", "dev", "sys", "tmp", "etc"])
def test_a_link_in_place_of_a_directory(name: str, target: str, old: bool, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory in (root / "bin", outside / "sub"):
        directory.mkdir(parents=True)
    (outside / "null").write_text("the host's")
    compiled(TRUE, tmp_path / "true") if not (root / "bin/true").exists() else None
    os.link(tmp_path / "true", root / "bin/true")
    (root / name).symlink_to(target.format(outside=outside))
    before, table = tree(outside), Path("/proc/self/mountinfo").read_text()
    parts = [
        ns.User.same() if old else ns.User(),
        ns.Mount(),
        ns.Pid(),
        ns.Net(),
        mounts.Root(root),
        mounts.Dev(),
        mounts.Sysfs(),
        mounts.Tmpfs("/tmp/a"),
        mounts.Masked(["/etc", "/tmp"]),
    ]
    parts += [mounts.Bind("/etc/hostname", "/etc/name")]
    with (
        kernel.assume_missing(*(OLD if old else [])),
        contextlib.suppress(ck.StepError),
        ck.plan(*parts, run=["/bin/true"]).spawn() as process,
    ):
        process.wait()
    assert tree(outside) == before
    assert Path("/proc/self/mountinfo").read_text() == table


@pytest.mark.parametrize("target", TARGETS)
def test_a_link_in_place_of_a_device_or_file(target: str, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory in (root / "bin", root / "dev", root / "etc", outside):
        directory.mkdir(parents=True)
    compiled(TRUE, root / "bin/true")
    for name in ("null", "pts", "shm", "ptmx"):
        (root / "dev" / name).symlink_to(target.format(outside=outside) + "/file")
    (root / "etc/name").symlink_to(target.format(outside=outside) + "/new")
    before = tree(outside)
    parts = [
        ns.User(),
        ns.Mount(),
        ns.Pid(),
        mounts.Root(root),
        mounts.Bind("/etc/hostname", "/etc/name"),
        mounts.Masked(["/etc/name", "/dev/null"]),
    ]
    for more in ([], [mounts.Dev()], [mounts.Devpts()]):
        with contextlib.suppress(ck.StepError), ck.plan(*parts, *more, run=["/bin/true"]).spawn() as process:
            process.wait()
    assert tree(outside) == before


def test_a_tree_can_be_told_from_another(tmp_path: Path) -> None:
    before = tree(tmp_path)
    (tmp_path / "new").touch()
    assert tree(tmp_path) != before


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__, "-k", "not etc and not tmp")
