# ruff: noqa: E501 - tables of cases and scripts read better on one line
"""Kernels and sandboxes without the newer calls: the same outcome by older ones, or a clear refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import REPO, again

import containerkit as ck
from containerkit import kernel, mounts, ns

NEW = ("fsopen", "open_tree", "move_mount", "mount_setattr")
SHOW = "id -u; hostname; ls -l /dev | tail -n +2 | while read a b c d e; do echo $a; done; stat -c '%F %t %T' /dev/null /dev/zero /etc/name; cat /etc/name; while read a b c d e f; do echo $e; done < /proc/self/mountinfo; touch /x/y && echo wrote"
OLD_SANDBOX = """
import ctypes, json, struct, sys
hidden = {hidden}
libc = ctypes.CDLL(None, use_errno=True)
import containerkit as ck
from containerkit import mounts, ns
from containerkit.linux.native import number
def rule(code, jt, jf, k): return struct.pack("HBBI", code, jt, jf, k)
rules = rule(0x20, 0, 0, 0)  # the call's number
for name in hidden:
    rules += rule(0x15, 0, 1, number(name)) + rule(0x06, 0, 0, 0x50000 | 38)  # that one: ENOSYS
rules += rule(0x06, 0, 0, 0x7FFF0000)
code = ctypes.create_string_buffer(rules)
program = struct.pack("HxxxxxxQ", len(rules) // 8, ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
try:
    plan = eval(sys.argv[1])
    with plan.spawn(stdout=ck.PIPE) as process:
        out = process.communicate()[0].decode()
    calls = [e.step.call.name for e in process.trace]
    print(json.dumps(["ran", process.returncode, out, calls]))
except ck.Unavailable as error:
    print(json.dumps(["unavailable", str(error)]))
except ck.StepError as error:
    print(json.dumps(["failed", str(error)]))
"""


def parts(rootdir: Path) -> list[Any]:
    places = [
        mounts.Root(rootdir),
        mounts.Dev(),
        mounts.Tmpfs("/tmp", size="1M"),
        mounts.Bind("/etc/hostname", "/etc/name"),
        mounts.Bind("/etc", "/x", readonly=True, recursive=False),
    ]
    return [ns.User.same(), ns.Mount(), ns.Pid(), ns.Uts("old"), *places]


def outcome(rootdir: Path) -> tuple[list[str], set[str]]:
    plan = ck.plan(*parts(rootdir), run=["/bin/sh", "-c", SHOW], env={"PATH": "/bin:/usr/bin"})
    with plan.spawn(stdout=ck.PIPE, stderr=ck.DEVNULL) as process:
        out = process.communicate()[0].decode().splitlines()
    return out, {s.call.name for s in plan.child_steps}


@pytest.mark.parametrize("missing", [NEW, NEW[:1], NEW[1:2], NEW[:2]])
def test_the_older_way_has_the_same_outcome(missing: tuple[str, ...], rootdir: Path) -> None:
    modern, _ = outcome(rootdir)
    assert "wrote" not in modern
    assert "character special file 1 3" in modern
    try:
        with kernel.assume_missing(*missing):
            older, calls = outcome(rootdir)
    except ck.Unavailable:
        pytest.fail("this plan needs none of them")
    assert sorted(older) == sorted(modern)
    assert not calls & set(missing)


def test_what_has_no_older_way_is_refused(tmp_path: Path) -> None:
    with kernel.assume_missing(*NEW):
        for part in (mounts.Root(tmp_path, readonly=True), mounts.Bind("/etc", readonly=True), mounts.ReadOnly()):
            with pytest.raises(ck.Unavailable, match="mount_setattr"):
                ck.plan(ns.User(), ns.Mount(), part, run=["/bin/true"])


def sandboxed(hidden: list[str], plan: str) -> Any:
    source = OLD_SANDBOX.replace("{hidden}", repr(hidden))
    done = subprocess.run(
        [sys.executable, "-c", source, plan],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PYTHONPATH": str(REPO), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def plain() -> str:
    return "ck.plan(ns.User(), ns.Mount(), ns.Pid(), ns.Uts('sandboxed'), mounts.Tmpfs('/mnt'), mounts.Dev(), run=['/bin/sh', '-c', 'hostname; echo /dev/*'])"


@pytest.mark.parametrize("hidden", [["clone3"], ["fsopen"], ["open_tree"], ["mount_setattr"], [*NEW], ["clone3", *NEW]])
def test_in_a_sandbox_that_hides_calls(hidden: list[str], plain: str) -> None:
    seen = sandboxed(hidden, plain)
    assert seen[:2] == ["ran", 0], seen
    assert seen[2] == sandboxed([], plain)[2]
    assert not set(hidden) - {"clone3"} & set(seen[3])


def test_a_sandbox_without_clone3_still_knows_when_the_child_has_gone() -> None:
    seen = sandboxed(["clone3"], "ck.plan(ns.User(), run=['/nowhere'])")
    assert seen[0] == "failed"
    assert "no such program" in seen[1]
    seen = sandboxed(["clone3"], "ck.plan(ns.User(), run=['/bin/echo', 'x'], die_with_parent=True)")
    assert seen[:3] == ["ran", 0, "x\n"]


@pytest.mark.parametrize(("hidden", "plan"), [
    ("openat2", "ck.plan(run=['/bin/true'], cwd='/')"),
    ("close_range", "ck.plan(run=['/bin/true'])"),
    ("mount_setattr", "ck.plan(ns.User(), ns.Mount(), mounts.Bind('/etc', '/mnt', readonly=True), run=['/bin/true'])"),
])  # fmt: skip
def test_what_cannot_be_done_without_is_not_skipped(hidden: str, plan: str) -> None:
    """Fail closed: no isolation that was asked for is left out."""
    seen = sandboxed([hidden], plan)
    assert seen[0] in ("failed", "unavailable")
    assert hidden in seen[1]


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
