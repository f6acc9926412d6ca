"""SIGKILL of an owner at every step of what it does: the next start of anything leaves nothing of it behind.

A fork of the test does the work and kills itself before its first step, its second, and so on, until it gets to the end.  A step is
a system call of a plan's parent, before and after it is made, or whatever the interpreter audits that changes something: a directory
or a file that is made, renamed, removed, locked.  After each kill another fork starts something.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sample_images import Sample, base, image_of, tar_of

import containerkit as ck
from containerkit import ns
from containerkit.core.parent import ParentExecutor
from containerkit.image.blobs import FileBlobs, TemporaryBlobs
from containerkit.image.ids import Ids
from containerkit.image.layer import Layer
from containerkit.linux.syscalls import AT_FDCWD, MNT, Call, O, mkdirat, mount, openat, umount2
from containerkit.rootfs import rootfs
from containerkit.state import journal
from containerkit.store.store import Store

MOST = 400  # steps; a piece of work that has more never ends
CHANGES = {
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
    "fcntl.fcntl",
    "fcntl.flock",
}
REMOVEDIR = 0x200
Work = Callable[[Path, Path], object]


# Killing and starting -------------------------------------------------------------------------------------------


def fork(work: Callable[[], object]) -> int:
    """Do some work in a fork.  Return how it ended, as `subprocess` has it."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Killer:
    """Counts steps; ends this process before the one of a number."""

    def __init__(self, last: int) -> None:
        self.left = last

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(self, event: str, args: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT):
            self.step()

    def install(self) -> None:
        call = ParentExecutor._call

        def counted(parent: ParentExecutor, made: Call) -> Any:
            self.step()
            result = call(parent, made)
            self.step()
            return result

        ParentExecutor._call = counted  # type: ignore[method-assign]
        sys.addaudithook(self.audited)


def killed(work: Work, number: int, directory: Path, rootdir: Path) -> bool:
    """Whether the work was killed before a step of that number; it has fewer otherwise."""

    def doing() -> None:
        Killer(number).install()
        work(directory, rootdir)

    code = fork(doing)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def spawn(directory: Path) -> None:
    assert ck.run(["/bin/true"]).exit_code == 0


def store(directory: Path) -> None:
    Store(directory / "another store")


def scratch(directory: Path) -> None:
    with contextlib.closing(TemporaryBlobsScratch()):
        pass


class TemporaryBlobsScratch:
    """The smallest thing that takes a scratch directory."""

    def __init__(self) -> None:
        from containerkit.state.scratch import Scratch

        self.close = Scratch("next").close


def group(directory: Path) -> None:
    with contextlib.suppress(ck.Unavailable, ck.CgroupError), ck.Cgroup("next"):
        pass


STARTS = (spawn, store, scratch, group)


def start(number: int, directory: Path) -> None:
    """The next start of something."""

    def starting() -> None:
        STARTS[number % len(STARTS)](directory)

    assert fork(starting) == 0


# Owners ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Undone:
    """A part of which every step has to be undone: a directory, a link and a file in it, and, for root, a mount outside."""

    directory: Path
    mounts: bool

    def steps(self) -> Iterator[ck.Step]:
        made, link, file = (os.fsencode(self.directory / name) for name in ("made", "made/link", "made/file"))
        yield self._step(mkdirat(AT_FDCWD, made), Call("unlinkat", (AT_FDCWD, made, REMOVEDIR)))
        yield self._step(Call("symlinkat", (b"/nowhere", AT_FDCWD, link)), Call("unlinkat", (AT_FDCWD, link, 0)))
        opened = openat(os.fsdecode(file), O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC)
        yield self._step(opened, Call("unlink", (file,)))
        if self.mounts:
            at = str(self.directory / "mount point")
            yield self._step(mount("tmpfs", at, "tmpfs", 0), umount2(at, MNT.DETACH))

    def _step(self, call: Call, undo: Call) -> ck.Step:
        return ck.Step.parent(ck.Phase.PREPARE, call, why="for as long as the process is there", undo=undo)


def plan(directory: Path, rootdir: Path) -> None:
    (directory / "mount point").mkdir(exist_ok=True)
    made = ck.plan(Undone(directory, os.geteuid() == 0), run=["/bin/sleep", "60"], die_with_parent=True)
    with made.spawn():
        pass


def session(directory: Path, rootdir: Path) -> None:
    store = Store(directory / "store")
    image = image_of(Sample(base(), tar_of({"d/f": b"x" * 1000})))
    store.put(image, "one:1")
    with store.hold("one:1"):
        pass
    store.untag("one:1")
    store.gc()


def groups(directory: Path, rootdir: Path) -> None:
    with ck.Cgroup("killed", pids_max=10) as group:
        group.child("below")
        ck.run(["/bin/true"], group)


def overlay(directory: Path, rootdir: Path) -> None:
    with ck.LayerFS(rootdir) as root:
        ck.run(["/bin/touch", "/new"], ns.User(), ns.Mount(), root, check=True)
        root = root.commit()
    root.close()


def kept_overlay(directory: Path, rootdir: Path) -> None:
    with ck.LayerFS(rootdir, directory=directory / "kept") as root:
        ck.run(["/bin/touch", "/new"], ns.User(), ns.Mount(), root, check=True)


def mounted_overlay(directory: Path, rootdir: Path) -> None:
    with ck.LayerFS(rootdir) as root, root.mounted() as at:
        (at / "new").touch()


def blobs(directory: Path, rootdir: Path) -> None:
    for each in (FileBlobs(directory / "blobs"), TemporaryBlobs()):
        each.add(b"some bytes")


def unpacking(directory: Path, rootdir: Path) -> None:
    target = directory / "unpacked"
    if not target.exists():
        Layer.from_tar(io.BytesIO(base())).unpack(target, ids=None if os.geteuid() == 0 else Ids.mine())


def saving(directory: Path, rootdir: Path) -> None:
    image_of(Sample(base())).save(directory / "image.tar")


def root_cache(directory: Path, rootdir: Path) -> None:
    os.environ["CONTAINERKIT_ROOTFS"] = str(directory / "roots")
    rootfs.from_programs(["true"])


OWNERS: dict[str, Work] = {each.__name__: each for each in (plan, session, overlay, kept_overlay, blobs, unpacking, saving, root_cache)}
OF_ROOT: dict[str, Work] = {each.__name__: each for each in (groups, mounted_overlay)}


def unfinished(directory: Path) -> list[str]:
    """Return the leftovers of unfinished things, in all directories that may have them."""
    patterns = ("**/.part-*", "**/.new-*", "**/.*-????????", "**/.*-????????????", "store/staging/*", "made", "kept/changes/in-use")
    return sorted(str(path) for pattern in patterns for path in directory.glob(pattern))


def check(work: Work, directory: Path, rootdir: Path) -> None:
    """Kill the owner at every step.  The next start removes the leftovers."""
    here, number = Path(tempfile.gettempdir()), 0
    while killed(work, number, directory, rootdir):
        start(number, directory)
        assert [*journal.left()] == [], f"step {number}"
        assert [*here.glob("containerkit-*")] == [], f"step {number}"
        assert unfinished(directory) == [], f"step {number}"
        number += 1
        assert number < MOST
    assert number > 5
    start(number, directory)
    assert unfinished(directory) == []


@pytest.fixture
def here(open_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for the work, and one for temporary files and one for journals into which nobody else's come and go."""
    (open_path / "tmp").mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(open_path / "tmp"))
    monkeypatch.setattr(journal, "directory", lambda: str(open_path / "journals"))
    (open_path / "work").mkdir(mode=0o755)
    return open_path / "work"


@pytest.mark.root
@pytest.mark.timeout(300)
@pytest.mark.parametrize("owner", [*OWNERS, *OF_ROOT])
def test_a_killed_owner_leaves_nothing(owner: str, here: Path, rootdir: Path) -> None:
    check((OWNERS | OF_ROOT)[owner], here, rootdir)


@pytest.mark.unprivileged
@pytest.mark.timeout(300)
@pytest.mark.parametrize("owner", OWNERS)
def test_a_killed_owner_that_is_an_ordinary_user_leaves_nothing(owner: str, here: Path, rootdir: Path) -> None:
    check(OWNERS[owner], here, rootdir)


# What is not the dead owner's -----------------------------------------------------------------------------------


def dead(directory: Path) -> None:
    """Make everything that a plan has to undo, and die."""
    (directory / "mount point").mkdir()

    def doing() -> None:
        steps = [step.with_(side=ck.Side.PARENT) for step in Undone(directory, os.geteuid() == 0).steps()]
        ParentExecutor().perform(steps)
        os.kill(os.getpid(), signal.SIGKILL)

    assert fork(doing) == -signal.SIGKILL
    assert (directory / "made/file").exists()


def test_a_later_file_of_another_program_stays(here: Path) -> None:
    dead(here)
    for name in ("file", "link"):
        (here / "made" / name).unlink()
    (here / "made/file").write_text("another")
    (here / "made/link").symlink_to("/somewhere")
    start(0, here)
    assert (here / "made/file").read_text() == "another"
    assert os.readlink(here / "made/link") == "/somewhere"


@pytest.mark.root
def test_a_mount_of_another_program_stays(here: Path) -> None:
    dead(here)
    at = str(here / "mount point")
    subprocess.run(["umount", at], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "another", at], check=True)
    try:
        start(0, here)
        assert os.path.ismount(at)
    finally:
        subprocess.run(["umount", at], check=True)


def test_a_child_that_lives_on_keeps_what_it_was_given(here: Path) -> None:
    """Its owner was killed, and did not ask that it die too."""
    (here / "mount point").mkdir()
    ready, told = os.pipe()

    def doing() -> None:
        process = ck.plan(Undone(here, False), run=["/bin/sleep", "60"]).spawn()
        os.write(told, b"%d" % process.pid)
        os.kill(os.getpid(), signal.SIGKILL)

    assert fork(doing) == -signal.SIGKILL
    pidfd = os.pidfd_open(int(os.read(ready, 20)))
    try:
        start(0, here)
        assert (here / "made/file").exists()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        assert select.select([pidfd], [], [], 5)[0]
        start(0, here)
        assert not (here / "made").exists()
    finally:
        for fd in (ready, told, pidfd):
            os.close(fd)


def test_an_undo_that_no_other_process_could_do_is_refused() -> None:
    for call in (Call("kill", (1, 9)), Call("unlinkat", (AT_FDCWD, b"x"))):
        with pytest.raises(ck.PlanError, match="cannot be a step's undo"):
            ck.Step.parent(ck.Phase.PREPARE, mkdirat(AT_FDCWD, "/x"), why="-", undo=call)


def test_a_plan_without_undo_writes_nothing_down(here: Path, rootdir: Path) -> None:
    assert ck.run(["/bin/true"], ns.User(), ns.Mount(), ck.LayerFS(rootdir, readonly=True)).exit_code == 0
    assert not os.path.exists(journal.directory())
