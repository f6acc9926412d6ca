"""Things of the caller's that could be reached from inside: open files, directories, its terminal."""

from __future__ import annotations

import os
import pty
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import kernel, mounts, ns, syscalls
from containerkit.linux.syscalls import O, Slot

pytestmark = pytest.mark.hostile
FDS = ["/bin/sh", "-c", "echo /proc/self/fd/*; for f in /proc/self/fd/*; do readlink $f; done"]


def inside(rootdir: Path) -> list[Any]:
    return [ns.User(), ns.Mount(), ns.Pid(), mounts.Root(rootdir)]


@pytest.mark.parametrize("options", [{}, {"share_memory": False}, {"die_with_parent": True}])
def test_of_500_open_files_none_gets_inside(options: dict[str, Any], rootdir: Path) -> None:
    opened = [os.open("/", os.O_RDONLY) for _ in range(500)]
    for fd in opened[::2]:
        os.set_inheritable(fd, True)
    try:
        with ck.plan(*inside(rootdir), run=FDS, **options).spawn(stdin=ck.DEVNULL, stdout=ck.PIPE, stderr=ck.DEVNULL) as process:
            out = process.communicate()[0].decode().split("\n")
    finally:
        for fd in opened:
            os.close(fd)
    assert set(out[0].split()) <= {f"/proc/self/fd/{n}" for n in range(4)}  # 3 is the shell's own, to list them
    links = out[1:-1]
    assert len(links) == 3, links
    assert "/" not in links


@pytest.mark.parametrize("init", [False, True])
def test_process_1_holds_only_what_was_asked_for(init: bool, rootdir: Path) -> None:
    script = "ls -l /proc/1/fd"
    parts = [ns.User(), ns.Mount(), ns.Pid(init=init), mounts.Root(rootdir)]
    with ck.plan(*parts, run=["/bin/sh", "-c", script]).spawn(stdin=ck.DEVNULL, stdout=ck.PIPE, stderr=ck.STDOUT) as process:
        out = process.communicate()[0].decode()
    numbers = [line.split(" -> ")[0].split()[-1] for line in out.splitlines() if " -> " in line]
    # an init is not the program's to look at, or holds nothing
    assert numbers == ([] if init else ["0", "1", "2"])


def test_a_working_directory_through_a_leaked_descriptor_is_refused(rootdir: Path) -> None:
    """CVE-2024-21626: a working directory of /proc/self/fd/N stands on the host."""
    host = os.open("/", os.O_RDONLY)
    try:
        for number in (host, 3, 4, 5, 6, 7, 8):
            for path in (f"/proc/self/fd/{number}", f"/proc/1/fd/{number}", f"/proc/thread-self/fd/{number}/etc"):
                with pytest.raises(ck.StepError) as caught:
                    ck.plan(*inside(rootdir), run=["/bin/true"], cwd=path).spawn().close()
                assert caught.value.errno in (2, 40)
                assert caught.value.step.phase is ck.Phase.INSIDE
    finally:
        os.close(host)


def test_a_working_directory_by_a_link_of_the_image_is_refused(tmp_path: Path, rootdir: Path) -> None:
    (tmp_path / "w").symlink_to("/proc/self/fd/7")
    parts = [*inside(rootdir), mounts.Bind(tmp_path, "/mnt")]
    with pytest.raises(ck.StepError):
        ck.plan(*parts, run=["/bin/true"], cwd="/mnt/w").spawn().close()


WALLS = [ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc()]


class Careless:
    """A user's own part, which leaves directories of the host's open."""

    def steps(self) -> Iterator[ck.Step]:
        for number in range(2):
            call = syscalls.openat("/", O.PATH | O.DIRECTORY | O.CLOEXEC)
            yield ck.Step.child(ck.Phase.IDENTITY, call, why="look around", save=Slot(f"forgotten{number}"))


PLANS: dict[str, tuple[Any, dict[str, Any]]] = {
    "root": (lambda root: [*WALLS, mounts.Root(root)], {}),
    "clocks": (lambda root: [*WALLS, ns.Time(1), mounts.Root(root), mounts.Dev(), mounts.Masked(), mounts.ReadOnly()], {}),
    "sandbox": (lambda root: [ck.sandbox(root)], {"die_with_parent": True}),
    "init": (lambda root: [*WALLS[:2], ns.Pid(init=True), ns.Time(1), mounts.Root(root)], {}),
    "apart": (lambda root: [*WALLS, ns.Time(1), mounts.Root(root)], {"share_memory": False}),
    "hidden": (lambda root: [*WALLS, ns.Time(1), mounts.Root(root)], {"hide_executable": True}),
    "bind": (lambda root: [*WALLS, ns.Time(1), mounts.Root(root), mounts.Bind("/usr/share", "/mnt")], {}),
    "careless": (lambda root: [*WALLS, Careless(), mounts.Root(root)], {}),
}


def _parts(parts: list[Any], old: bool) -> list[Any]:
    """Without idmapped mounts no container has ids of its own."""
    return [ns.User.same() if old and isinstance(part, ns.User) else part for part in parts]


@pytest.mark.parametrize(("name", "old"), [(name, old) for name in PLANS for old in (False, True) if not (old and name == "sandbox")])
def test_no_program_is_found_through_a_descriptor_of_the_plans(name: str, old: bool, rootdir: Path, tmp_path: Path) -> None:
    """CVE-2024-21626: close-on-exec comes after the program, or its interpreter, was looked up."""
    make, options = PLANS[name]
    tmp_path.chmod(0o755)
    shutil.copytree(rootdir, tmp_path / "root", symlinks=True)
    outside, script = tmp_path / "outside", tmp_path / "root/script"
    shutil.copy("/bin/true", outside)
    with kernel.assume_missing(*(("fsopen", "open_tree", "move_mount") if old else ())):
        for number in (*range(3, 12), 60, 61, 62, 63, 100, 101):
            there = f"/proc/self/fd/{number}"
            script.write_text(f"#!{there}/..{outside}\n")
            script.chmod(0o755)
            for path in (f"{there}/..{outside}", f"{there}/../..{outside}", f"{there}{outside}", f"{there}/self/exe", "/script"):
                with pytest.raises(ck.StepError) as caught:
                    ck.plan(*_parts(make(tmp_path / "root"), old), run=[path], **options).spawn(stdin=ck.DEVNULL, stdout=ck.DEVNULL).close()
                assert caught.value.step.call.name == "execve"
                assert caught.value.errno in (2, 20), path


TYPE = """
import fcntl, os, sys, termios
try:
    os.close(os.open("/dev/tty", os.O_RDWR))
    print("tty opened")
except OSError as error:
    print("tty", error.errno)
try:
    fcntl.ioctl(0, termios.TIOCSTI, b"x")
    print("typed")
except OSError as error:
    print("typing", error.errno)
"""


def test_nothing_can_be_typed_into_the_callers_terminal() -> None:
    """A program whose standard input is the caller's terminal, which it does not own."""
    pid, master = pty.fork()
    if not pid:
        try:
            plan = ck.plan(ns.User(), run=[sys.executable, "-c", TYPE])
            with plan.spawn() as process:
                process.wait()
        finally:
            os._exit(0)
    said = b""
    try:
        while chunk := os.read(master, 4096):
            said += chunk
    except OSError:
        pass  # the terminal's end
    os.waitpid(pid, 0)
    os.close(master)
    assert said.decode().split() == ["tty", "6", "typing", said.decode().split()[-1]]
    assert said.decode().split()[-1] in ("1", "5")


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
