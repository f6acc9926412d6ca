"""The core on kernels that lack what newer ones have, and on pure cgroup v2, in guests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import containerkit as ck
from containerkit import kernel, mounts, ns, syscalls
from containerkit.core import descriptors
from containerkit.linux.syscalls import CLONE, Fd

pytestmark = pytest.mark.vm

SERIES = os.environ.get("CK_GUEST", "")
VERSION = tuple(int(n) for n in SERIES.split(".")) if SERIES else (0, 0)
CGROUPS = Path("/sys/fs/cgroup")
NOEXEC = Path("/proc/sys/vm/memfd_noexec")
YEAR = 365 * 86400
#: Before Linux 6.3 no file in memory is shown with other ids, so there the caller's own are asked for by name.
USER = ns.User.same() if VERSION < (6, 3) else ns.User()
BASE = {"srv/name": "base", "srv/gone": "", "opt/old/gone": ""}


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root directory with busybox in it.  Starting one static program is quick, even here."""
    return ck.rootfs.busybox("/run/guest/busybox", tmp_path_factory.mktemp("busybox") / "root")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An ext4: memory keeps user.* attributes only since Linux 6.6."""
    place = tmp_path_factory.mktemp("disk")
    subprocess.run(["mkfs.ext4", "-q", "/dev/vda"], check=True)
    subprocess.run(["mount", "-t", "ext4", "/dev/vda", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A layer with a few files."""
    for name, text in BASE.items():
        (tmp_path / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "app" / name).write_text(text)
    return tmp_path / "app"


# What the kernel has --------------------------------------------------------------------------------------------


def test_the_guest_runs_the_kernel_it_is_named_after() -> None:
    assert kernel.version() == VERSION


@pytest.mark.parametrize("name", sorted(kernel.SINCE))
def test_has_knows_what_this_kernel_offers(name: str) -> None:
    assert kernel.has(name) == (kernel.SINCE[name] <= VERSION)


@pytest.mark.vm("6.1")
def test_require_says_which_kernel_would_do() -> None:
    with pytest.raises(ck.Unavailable, match=r"Linux 6\.8 or newer") as error:
        kernel.require("statmount", "a list of mounts")
    assert os.uname().release in str(error.value)


# Layers ---------------------------------------------------------------------------------------------------------


def test_layers_are_mounted_the_way_this_kernel_knows(busybox: Path, app: Path, disk: Path) -> None:
    with ck.LayerFS(busybox, app, scratch=disk) as root:
        text = str(ck.plan(USER, ns.Mount(), root, run=["true"]))
    assert ("lowerdir+" in text) == (VERSION >= (6, 7))
    assert ("mount('overlay'" in text) == (VERSION < (6, 7))
    assert "userxattr" in text


@pytest.mark.parametrize("parts", [[USER], []], ids=["user", "root"])
def test_layers_take_changes(busybox: Path, app: Path, disk: Path, parts: list[ck.Part]) -> None:
    script = "cat /srv/name; echo new >/srv/name; rm /srv/gone; rm -r /opt/old; mkdir /opt/old; touch /opt/old/new"
    with ck.LayerFS(busybox, app, scratch=disk) as root:
        assert ck.run(["sh", "-ec", script], *parts, ns.Mount(), root, check=True).text == "base"
        found = {change.path: change.kind for change in root.changes()}
        assert found["/srv/name"] == "modified"
        assert found["/srv/gone"] == found["/opt/old/gone"] == "deleted"
        again = ck.run(["sh", "-ec", "cat /srv/name; ls /opt/old /srv"], *parts, ns.Mount(), root, check=True)
    assert again.text.split() == ["new", "/opt/old:", "new", "/srv:", "name"]
    assert (app / "srv/name").read_text() == "base"


@pytest.mark.vm("6.12")
def test_changes_in_memory(busybox: Path, app: Path) -> None:
    with ck.LayerFS(busybox, app) as root:
        result = ck.run(["sh", "-ec", "rm -r /opt/old; mkdir /opt/old; ls -A /opt/old"], ns.User(), ns.Mount(), root)
        assert (result.exit_code, result.stdout, result.stderr) == (0, b"", b"")


@pytest.mark.vm("6.1")
def test_memory_that_cannot_say_what_was_removed_is_refused(busybox: Path, app: Path, tmp_path: Path) -> None:
    """It would let the program run and fail with EIO when a directory is removed and made anew."""
    with pytest.raises(ck.Unavailable, match="EOPNOTSUPP"), ck.LayerFS(busybox, app, scratch=tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["app"]
    with ck.LayerFS(busybox, app, xattrs="trusted") as root:
        ck.run(["sh", "-ec", "rm -r /opt/old; mkdir /opt/old"], ns.Mount(), root, check=True)


# Time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [[USER], []], ids=["user", "root"])
def test_a_time_namespace_is_entered(busybox: Path, parts: list[ck.Part]) -> None:
    inside = [*parts, ns.Mount(), ns.Pid(), ns.Time(boottime=YEAR, monotonic=YEAR), mounts.Root(busybox)]
    result = ck.run(["sh", "-c", "cat /proc/uptime; readlink /proc/self/ns/time"], *inside, check=True)
    uptime, _, namespace = result.text.split()
    assert YEAR < float(uptime) < YEAR + 3600
    assert namespace != os.readlink("/proc/self/ns/time")
    assert any(entry.step.call.name == "setns" for entry in result.trace) == (VERSION < (6, 3))


# The helper, an image of its own --------------------------------------------------------------------------------


def test_a_namespace_is_joined_from_an_image_of_its_own(busybox: Path) -> None:
    with ck.plan(USER, ns.Pid(), ns.Mount(), mounts.Root(busybox), run=["sleep", "60"]).spawn() as process:
        joined = [ck.Namespace.of(process.pid, kind) for kind in ("user", "pid", "mnt")]
        result = ck.run(["ps", "-o", "pid,comm"], *joined, check=True)
        assert ["1", "sleep"] in [line.split() for line in result.text.splitlines()]
        process.kill()


@contextmanager
def memfd_noexec(value: int) -> Iterator[None]:
    before = NOEXEC.read_text()
    NOEXEC.write_text(str(value))
    try:
        yield
    finally:
        NOEXEC.write_text(before)


@pytest.mark.vm("6.12")
def test_the_helper_says_that_its_memory_is_to_be_executed(busybox: Path) -> None:
    with memfd_noexec(1):
        plan = ck.plan(ns.Mount(), mounts.Root(busybox), run=["true"], share_memory=False)
        assert plan.run().exit_code == 0


@pytest.mark.vm("6.12")
def test_the_sysctl_that_forbids_the_helper_is_named(busybox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = type(descriptors._helper)()  # this process may have made its file before
    monkeypatch.setattr(descriptors, "_helper", fresh)
    plan = ck.plan(ns.Mount(), mounts.Root(busybox), run=["true"], share_memory=False)
    with memfd_noexec(2), pytest.raises(ck.StepError) as error:
        plan.run()
    assert "vm.memfd_noexec" in str(error.value)
    for fd in fresh.kept():
        os.close(fd)


# A whole container ----------------------------------------------------------------------------------------------

LOOK = """
hostname; id -u; echo $$; cat /proc/self/cgroup; ls /sys 2>/dev/null; cat /proc/net/dev | wc -l
echo x >/dev/null && echo null; cat /proc/keys | wc -c; echo 1 2>/dev/null >/proc/sys/kernel/panic || echo readonly
touch /new; echo done
"""


def test_a_whole_container(busybox: Path, app: Path, disk: Path) -> None:
    namespaces = [USER, ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("lesson"), ns.Cgroup()]
    with ck.LayerFS(busybox, app, scratch=disk) as root:
        result = ck.run(["sh", "-c", LOOK], *namespaces, root, mounts.Dev(), mounts.Masked(), mounts.ReadOnly())
        assert result.stderr == b""
        assert result.text.split() == ["lesson", "0", "1", "0::/", "3", "null", "0", "readonly", "done"]
        assert "/new" in [change.path for change in root.changes()]
    assert os.uname().nodename == "guest"


# Pure cgroup v2 -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InGroup:
    """Born in a cgroup."""

    fd: int

    def steps(self) -> Iterable[ck.Step]:
        call = syscalls.clone3(CLONE.INTO_CGROUP, Fd("cgroup", self.fd))
        yield ck.Step.parent(ck.Phase.CLONE, call, why="born inside its limits")


@pytest.fixture
def group() -> Iterator[tuple[Path, int]]:
    """An empty cgroup, and a descriptor of it."""
    path = CGROUPS / "lesson"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield path, fd
    os.close(fd)
    path.rmdir()


@pytest.mark.parametrize(("parts", "shown"), [([], "0::/lesson\n"), ([ns.Cgroup()], "0::/\n")], ids=["seen", "as-root"])
def test_a_child_is_born_in_a_cgroup(group: tuple[Path, int], busybox: Path, parts: list[ck.Part], shown: str) -> None:
    path, fd = group
    (path / "pids.max").write_text("5")
    result = ck.run(["cat", "/proc/self/cgroup"], ns.Mount(), ns.Pid(), mounts.Root(busybox), InGroup(fd), *parts, check=True)
    assert result.text == shown
    assert Path("/proc/self/cgroup").read_text() == "0::/init\n"


def test_a_cgroup_that_is_full_lets_nobody_be_born(group: tuple[Path, int], busybox: Path) -> None:
    path, fd = group
    (path / "pids.max").write_text("0")
    with pytest.raises(ck.StepError, match="EAGAIN") as error:
        ck.run(["true"], ns.Mount(), mounts.Root(busybox), InGroup(fd))
    assert "pids.max" in error.value.hint


def test_a_cgroup_that_feeds_others_takes_no_process(group: tuple[Path, int], busybox: Path) -> None:
    path, fd = group
    (path / "below").mkdir()
    (path / "cgroup.subtree_control").write_text("+memory")
    try:
        with pytest.raises(ck.StepError, match="EBUSY") as error:
            ck.run(["true"], ns.Mount(), mounts.Root(busybox), InGroup(fd))
        assert "no-internal-process rule" in error.value.hint
    finally:
        (path / "below").rmdir()


def test_doctor_names_the_cgroup_mode() -> None:
    report = ck.doctor()
    assert report["cgroup mode"].ok
    assert "v2" in report["cgroup mode"].found
    assert "hybrid" not in report["cgroup mode"].found
    assert report["cgroup controllers"].ok
    assert {"cpu", "memory", "pids", "io"} <= set(report["cgroup controllers"].found.replace(",", " ").split())
    assert bool(report["call statmount"].ok) == (VERSION >= (6, 8))
