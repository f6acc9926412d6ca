# ruff: noqa: E501 - tables of cases and scripts read better on one line
"""Calls as values: how they print, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

import containerkit as ck
from containerkit import syscalls
from containerkit.linux.syscalls import AT_FDCWD, ATTR, CLONE, MNT, MS, OPEN_TREE, RESOLVE, O, Slot

SHOWN = [
    (syscalls.mount("proc", "/proc", "proc", MS.NOSUID | MS.NODEV), "mount('proc', '/proc', 'proc', NOSUID|NODEV, NULL)"),
    (syscalls.openat("/x", O.CREAT | O.WRONLY, 0o640), "openat(AT_FDCWD, '/x', WRONLY|CREAT, 0o640)"),
    (syscalls.openat2(Slot("root"), "a", O.PATH, RESOLVE.IN_ROOT), "openat2(%root, 'a', {PATH, IN_ROOT}, 24)"),
    (syscalls.setns(Slot("fd"), CLONE.NEWNET), "setns(%fd, NEWNET)"),
    (syscalls.umount2(".", MNT.DETACH), "umount2('.', DETACH)"),
    (syscalls.close_range(3), "close_range(3, ~0, 0)"),
    (syscalls.mount_setattr(Slot("m"), ATTR.RDONLY, recursive=True), "mount_setattr(%m, '', EMPTY_PATH|RECURSIVE, {set=RDONLY}, 32)"),
    (syscalls.execve("/bin/sh", ["sh", "-c", "x"], ["PASSWORD=secret"]), "execve('/bin/sh', ['sh', '-c', 'x'], [1 variables])"),
    (syscalls.setgroups([]), "setgroups(0, [])"), (syscalls.setresgid(5), "setresgid(5, 5, 5)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "text"), SHOWN, ids=[c.name for c, _ in SHOWN])
def test_a_call_reads_like_strace(call: syscalls.Call, text: str) -> None:
    assert str(call) == text
    assert call.man.endswith("(2)")


def test_an_environment_is_not_printed() -> None:
    assert "secret" not in str(SHOWN[7][0])


@pytest.mark.parametrize("make", [
    lambda: syscalls.chdir("a\0b"), lambda: syscalls.openat(b"\0", 0), lambda: syscalls.execve("x", ["a\0"]), lambda: syscalls.execve("x", [], ["A=\0"]),
    lambda: syscalls.mount("a", "b", "c", 0, "d\0"), lambda: syscalls.sethostname("\0"), lambda: syscalls.fsopen("\0"),
])  # fmt: skip
def test_a_nul_in_a_string(make: object) -> None:
    with pytest.raises(ck.PlanError, match="NUL"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("make", [
    lambda: syscalls.mount("a", "b", "c", 1 << 40), lambda: syscalls.openat("x", 1 << 60), lambda: syscalls.umount2("x", 64),
    lambda: syscalls.clone3(1), lambda: syscalls.close_range(3, 4, 1), lambda: syscalls.open_tree(AT_FDCWD, "x", 2), lambda: syscalls.clone3(-1),
])  # fmt: skip
def test_an_unknown_flag(make: object) -> None:
    with pytest.raises(ck.PlanError, match="unknown flag"):
        make()  # type: ignore[operator]


def test_paths_of_every_kind() -> None:
    assert syscalls.chdir(Path("/x")) == syscalls.chdir("/x") == syscalls.chdir(b"/x")
    assert syscalls.flags(OPEN_TREE, 1) is OPEN_TREE.CLONE
