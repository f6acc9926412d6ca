"""The guest itself, and that what happens inside shows outside."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import guest
import psutil
import pytest
from guest.package import REPO
from support import until

HERE = Path(__file__).resolve().parent
SERIES = next(iter(guest.KERNELS))
pytestmark = pytest.mark.root


@pytest.fixture(scope="module", autouse=True)
def _possible() -> None:
    try:
        guest.package.fetch(SERIES)
        guest.package.tool("qemu-system-x86_64")
    except guest.Missing as missing:
        pytest.skip(f"no guest: {missing}")


def booted(script: str, seconds: float = 60.0, directory: Path = REPO) -> subprocess.CompletedProcess[str]:
    """The runner, as a person calls it."""
    argv = [sys.executable, "-m", "guest", "--kernel", SERIES, "--seconds", str(seconds), "--", "sh", "-c", script]
    return subprocess.run(argv, cwd=directory, env={**os.environ, "PYTHONPATH": str(REPO / "tools")}, capture_output=True, text=True)


LOOK = """
uname -r; echo mine >new; cat new /proc/self/cgroup /sys/block/vda/size; stat -f -c %T $TMPDIR
cat /sys/fs/cgroup/cgroup.controllers /sys/fs/cgroup/cgroup.subtree_control; exit 7
"""


def test_a_command_runs_in_another_machine(tmp_path: Path) -> None:
    done = booted(LOOK, directory=tmp_path)
    assert (done.returncode, done.stderr) == (7, "")
    release, *rest, controllers, on = done.stdout.splitlines()
    assert release.startswith(f"{SERIES}.")
    assert rest == ["mine", "0::/init", str(64 << 11), "tmpfs"]
    assert on == controllers
    assert {"cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc"} <= set(on.split())
    assert list(tmp_path.iterdir()) == []


def test_the_hosts_root_cannot_be_written_even_on_purpose(tmp_path: Path) -> None:
    """The guest's root could mount the file server again, to write."""
    script = f"mkdir -p /run/again && mount -t virtiofs root /run/again && touch /run/again{tmp_path}/escaped"
    done = booted(script)
    assert "Read-only file system" in done.stdout
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_guest_is_turned_off_when_its_time_is_over() -> None:
    begin = time.monotonic()
    done = booted("sleep 1000", seconds=1.5)
    assert done.returncode == 124
    assert "turned off after 1.5 s" in done.stderr
    assert time.monotonic() - begin < 10


def test_a_guest_that_crashes_shows_its_console() -> None:
    done = booted("echo before; sleep 0.2; echo c >/proc/sysrq-trigger; sleep 60")
    assert done.returncode == 125
    assert done.stdout == "before\n"
    assert "Kernel panic" in done.stderr


def names(processes: list[psutil.Process]) -> set[str]:
    """The names of those that are still there."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add(process.name())
    return found


def test_nothing_outlives_a_runner_that_is_killed() -> None:
    argv = [sys.executable, "-m", "guest", "--kernel", SERIES, "--", "sleep", "1000"]
    with subprocess.Popen(argv, cwd=REPO, env={**os.environ, "PYTHONPATH": str(REPO / "tools")}) as runner:
        watched = psutil.Process(runner.pid)
        try:
            started = until(lambda: names(watched.children()) == {"qemu-system-x86_64", "virtiofsd"}, 20)
            family = watched.children(recursive=True)
        finally:
            runner.kill()
    assert started, family
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_a_machine_that_cannot_boot_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = booted("true")
    assert done.returncode == 127
    assert re.match(r"guest: needs \w+", done.stderr)


# Reports --------------------------------------------------------------------------------------------------------

SAMPLE = """
import os, pytest
pytestmark = pytest.mark.vm("SERIES")
@pytest.fixture
def broken(): raise RuntimeError("no fixture")
def test_passes(): assert os.uname().nodename == "guest"
def test_fails(): print("said before"); assert os.uname().nodename == "elsewhere"
@pytest.mark.parametrize("n", [1])
def test_is_skipped(n): pytest.skip("nothing to see")
@pytest.mark.xfail(strict=True)
def test_is_expected_to_fail(): assert False
def test_has_no_fixture(broken): pass
def test_ends_everything(): os._exit(0)
def test_never_runs(): pass
"""


Cases = dict[str, tuple[str, str]]


def sample(directory: Path, **env: str) -> Cases:
    """What a real run on this side says about tests on the other side: the outcome of each, and what is said about it."""
    shutil.copy(HERE / "conftest.py", directory)
    (directory / "test_sample.py").write_text(SAMPLE.replace("SERIES", SERIES))
    (directory / "pytest.ini").write_text(f"[pytest]\nmarkers = vm: in a guest\npythonpath = {REPO / 'tools'}\n")
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=.", "--junitxml=report.xml"]
    subprocess.run(argv, cwd=directory, env={**os.environ, **env}, capture_output=True)
    cases = ElementTree.parse(directory / "report.xml").iter("testcase")
    return {case.get("name", "").replace(f"[{SERIES}]", ""): outcome(case) for case in cases}


def outcome(case: ElementTree.Element) -> tuple[str, str]:
    """What became of a test, and what is said about it."""
    said = [(child.tag, f"{child.get('message')}\n{child.text}") for child in case if child.tag in ("failure", "error", "skipped")]
    return said[0] if said else ("passed", "")


def test_every_outcome_inside_shows_outside(tmp_path: Path) -> None:
    found, skipped = sample(tmp_path), f"test_is_skipped[{SERIES}-1]"
    assert {name: kind for name, (kind, _) in found.items()} == {
        "test_passes": "passed", "test_fails": "failure", skipped: "skipped", "test_is_expected_to_fail": "skipped",
        "test_has_no_fixture": "error", "test_ends_everything": "failure", "test_never_runs": "failure",
    }  # fmt: skip
    assert "elsewhere" in found["test_fails"][1]
    assert "nothing to see" in found[skipped][1]
    assert "no fixture" in found["test_has_no_fixture"][1]
    assert "no report of this test came from the guest: pytest in the guest ended with 0" in found["test_never_runs"][1]


def test_without_a_guest_every_test_is_skipped_with_the_reason(tmp_path: Path) -> None:
    found = sample(tmp_path, PATH="/nowhere")
    assert len(found) == 7
    assert {kind for kind, _ in found.values()} == {"skipped"}
    assert all("no guest: needs " in said for _, said in found.values())
