"""Fixtures that the tests share: the watch for leaks, an ordinary user, a root directory.

Tests below tests/kernel, tests/hostile, tests/peers and, inside a guest, tests/vm run under `leaks()`: one that passes and
leaves something behind fails.  A test marked `root` is skipped for others; one marked `unprivileged` is run again in a
pytest of its own as the ordinary user when this one is root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from containerkit.core.device_nodes import open_null
from containerkit.diagnose.leaks import leaks
from containerkit.errors import ContainerKitError
from containerkit.state import journal

TESTS = Path(__file__).resolve().parent
REPO = TESTS.parent
WATCHED = {"kernel", "hostile", "peers"} | ({"vm"} if os.environ.get("CK_GUEST") else set())
USER = "ckuser"
PROGRAMS = ["sh", "ls", "cat", "hostname", "id", "ps", "mount", "sleep", "env", "true", "false", "touch"]
PROGRAMS += ["rm", "mkdir", "stat", "readlink", "chown"]


# Leaks ----------------------------------------------------------------------------------------------------------


def watched(path: Path) -> bool:
    return path.is_relative_to(TESTS) and path.relative_to(TESTS).parts[0] in WATCHED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


PASSED = pytest.StashKey[bool]()


@pytest.fixture(scope="session", autouse=True)
def device_nodes() -> None:
    """Make the descriptors that a process keeps before the first test looks at its descriptors."""
    os.close(open_null())
    with contextlib.suppress(ContainerKitError):
        journal.own()


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a kernel test that leaves something behind.  A failed one keeps its frames, and so what they hold, alive."""
    if not watched(request.path):
        yield
        return
    watch = leaks()
    found = watch.__enter__()
    yield
    if request.node.stash.get(PASSED, False):
        watch.__exit__(None, None, None)
        found.check()


# The ordinary user ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class User:
    """Runs Python as an ordinary user, with this interpreter and this tree.

    :ivar directory: a directory of the user's own: working directory and TMPDIR of what is run
    """

    entry: pwd.struct_passwd
    directory: Path

    def popen(self, *argv: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start a program with all ids and groups of the user and none of root's environment."""
        environment = {"HOME": self.entry.pw_dir, "USER": self.entry.pw_name, "PATH": os.environ["PATH"]}
        environment |= {"PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(self.directory)}
        ids: dict[str, Any] = {"user": self.entry.pw_uid, "group": self.entry.pw_gid, "extra_groups": []}
        defaults: dict[str, Any] = {"env": environment, "cwd": self.directory, "text": True}
        return subprocess.Popen(argv, **(defaults | ids | options))

    def run(self, *argv: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        with self.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def __call__(self, source: str | Path, *args: str) -> str:
        """Run Python, a script's path or source text; it must exit with 0.  Returns what it printed."""
        done = self.run(sys.executable, *((source,) if isinstance(source, Path) else ("-c", source)), *args)
        assert done.returncode == 0, f"as {self.entry.pw_name}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


def ordinary_user(directory: Path) -> User:
    """The user, or a skip that says what is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    try:
        user = User(pwd.getpwnam(USER), directory)
    except KeyError:
        pytest.skip(f"needs an ordinary user: tools/ordinary-user {USER}")
    os.chown(directory, user.entry.pw_uid, user.entry.pw_gid)
    try:
        reaches = user.run(sys.executable, "-c", "import containerkit").returncode == 0
    except PermissionError:
        reaches = False
    if not reaches:
        pytest.skip(f"{USER} cannot enter {REPO} or run {sys.executable}")
    return user


@pytest.fixture(scope="session")
def _user_directory() -> Iterator[Path]:
    """Not below pytest's own directory, which is closed to other users."""
    directory = Path(tempfile.mkdtemp(prefix="ck-user-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def as_user(_user_directory: Path) -> User:
    """Run a piece of Python as the ordinary user: `as_user("import os; print(os.getuid())")`."""
    return ordinary_user(_user_directory)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test marked `unprivileged` as the ordinary user."""
    if not pyfuncitem.get_closest_marker("unprivileged") or os.geteuid() != 0:
        return None
    user = pyfuncitem.session.stash.get(ORDINARY, None)
    if user is None:
        directory = Path(tempfile.mkdtemp(prefix="ck-user-"))
        pyfuncitem.session.config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
        user = pyfuncitem.session.stash[ORDINARY] = ordinary_user(directory)
    node = f"{pyfuncitem.path}::{pyfuncitem.nodeid.partition('::')[2]}"
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs", f"--rootdir={pyfuncitem.config.rootpath}"]
    done = user.run(*argv, node, cwd=pyfuncitem.config.rootpath)
    if skipped := re.search(r"^SKIPPED \[1\] \S+ (.*)$", done.stdout, re.MULTILINE):
        pytest.skip(skipped[1])
    if done.returncode != 0 or "1 passed" not in done.stdout:
        pytest.fail(f"as {USER}:\n{done.stdout}{done.stderr}", pytrace=False)
    return True


ORDINARY = pytest.StashKey[User]()


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that every user may enter: the root of a container has no rights here, also when root made it."""
    with tempfile.TemporaryDirectory(prefix="ck-open-") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


# A root directory -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def rootdir() -> Iterator[Path]:
    """A root directory with the common programs, readable by every user.  Tests must not write to it."""
    from containerkit.rootfs import rootfs

    directory = Path(tempfile.mkdtemp(prefix="ck-rootdir-"))
    directory.chmod(0o755)
    yield rootfs.from_programs(PROGRAMS, directory / "root")
    shutil.rmtree(directory)
