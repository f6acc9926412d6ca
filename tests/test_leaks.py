"""Each kind of leak is made for real and found, and the objects of others are not reported."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from containerkit.diagnose.leaks import Found, LeakError, leaks
from containerkit.errors import ContainerKitError

REPO = Path(__file__).parent.parent
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def kinds(found: Found) -> list[str]:
    return [leak.kind for leak in found]


def outer(body: str, *unshare: str) -> str:
    """Run Python in namespaces of its own, which take its leaks with them.  Return its output."""
    code = "import os, subprocess, sys\nfrom containerkit.diagnose.leaks import leaks\n" + body
    argv = ["unshare", *unshare, sys.executable, "-c", code]
    done = subprocess.run(argv, env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def sleeper(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a cat(1) that lives until the block ends.  It has answered once, so it is past its exec."""
    with subprocess.Popen([*argv, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        yield process


def test_nothing() -> None:
    with leaks() as found:
        subprocess.run(["true"], check=True)
    assert not found
    assert str(found).startswith("nothing was left behind")
    found.check()


def test_looking_before_the_end_is_an_error() -> None:
    with leaks() as found:
        for look in (bool, list, str, len, Found.check):
            with pytest.raises(ContainerKitError, match="has not ended"):
                look(found)


def test_an_open_fd() -> None:
    with leaks(grace=0) as found:
        fd = os.open("/etc/passwd", os.O_RDONLY)
    os.close(fd)
    assert [(leak.kind, leak.what) for leak in found] == [("fd", f"{fd} -> /etc/passwd")]
    with pytest.raises(LeakError, match=r"1 left behind\nfd: .* -> /etc/passwd"):
        found.check()


def test_a_number_that_now_means_another_file() -> None:
    fd = os.open("/etc/passwd", os.O_RDONLY)
    with leaks(grace=0) as found:
        os.close(fd)
        assert os.open("/etc/group", os.O_RDONLY) == fd
    os.close(fd)
    assert [leak.what for leak in found] == [f"{fd} -> /etc/group"]


def test_a_zombie() -> None:
    with leaks(grace=0.05) as found:
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    os.waitpid(pid, 0)
    assert [leak.what for leak in found] == [f"{pid} (true) zombie"]


def test_a_running_child() -> None:
    with contextlib.ExitStack() as stack:
        with leaks(grace=0) as found:
            child = stack.enter_context(sleeper())
        assert child.stdin
        assert [leak.what for leak in found if leak.kind == "process"] == [f"{child.pid} (cat)"]
        assert [leak.what.split()[0] for leak in found if leak.kind == "fd"] == [str(child.stdin.fileno())]


def test_a_child_of_before_is_no_leak() -> None:
    with sleeper(), leaks(grace=0) as found:
        pass
    assert not found


def orphan(*argv: str) -> int:
    """Start a process whose parent dies at once.  Return its pid."""
    script = '"$@" sh -c "echo \\$\\$; exec sleep 60 >/dev/null" & :'
    said = subprocess.run(["sh", "-c", script, "sh", *argv], stdout=subprocess.PIPE, text=True, check=True)
    while Path(f"/proc/{int(said.stdout)}/comm").read_text() != "sleep\n":
        time.sleep(0.001)
    return int(said.stdout)


def test_an_orphan_of_ours() -> None:
    with leaks(grace=0) as found:
        pid = orphan()
    os.kill(pid, signal.SIGKILL)
    assert [leak.what for leak in found] == [f"{pid} (sleep)"]


@needs_root
def test_an_orphan_in_a_session_and_a_namespace_of_its_own() -> None:
    with leaks(grace=0) as found:
        pid = orphan("setsid", "unshare", "-u")
    os.kill(pid, signal.SIGKILL)
    assert kinds(found) == ["process", "namespace"]
    assert f"held by process {pid} (sleep)" in str(found)
    assert "uts:[" in str(found)


def test_processes_of_others_are_not_ours() -> None:
    """A process below one that existed before and is not below this one: this test plays the foreign process."""
    code = """
import sys
from containerkit.diagnose.leaks import leaks
with leaks(grace=0) as found:
    print("ready", flush=True)
    sys.stdin.readline()
print(found, flush=True)
"""
    argv, env = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(REPO)}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=env, text=True, start_new_session=True, stdin=pipe, stdout=pipe) as looker:
        assert looker.stdout
        looker.stdout.readline()
        inner = ["unshare", "-u"] if os.geteuid() == 0 else []
        with sleeper("sh", "-c", '"$@"; :', "sh", *inner):
            said, _ = looker.communicate("\n")
    assert said.startswith("nothing was left behind")


@needs_root
def test_a_namespace_held_by_an_fd() -> None:
    with sleeper("unshare", "-n") as child:
        inode = os.readlink(f"/proc/{child.pid}/ns/net")
        fd = -1

        def take() -> None:
            nonlocal fd
            fd = os.open(f"/proc/{child.pid}/ns/net", os.O_RDONLY)

        with leaks(grace=0) as found:
            take()
        assert kinds(found) == ["fd"]  # the child held this namespace before
    os.close(fd)
    with leaks(grace=0) as found, sleeper("unshare", "-n") as child:
        inode = os.readlink(f"/proc/{child.pid}/ns/net")
        take()
    os.close(fd)
    assert [(leak.kind, leak.what) for leak in found] == [("namespace", f"{inode} held by fd {fd}"), ("fd", f"{fd} -> {inode}")]


@needs_root
def test_a_namespace_held_by_a_mount(tmp_path: Path) -> None:
    (tmp_path / "pin").touch()
    said = outer(
        f"""
with leaks(grace=0) as found:
    subprocess.run(["unshare", "--uts={tmp_path}/pin", "true"], check=True)
print(sorted(leak.kind for leak in found), "held by the mount {tmp_path}/pin" in str(found))
""",
        "-m",
    )
    assert said == "['mount', 'namespace'] True\n"


@needs_root
def test_a_thread_left_in_another_namespace() -> None:
    import ctypes

    libc, moved, done = ctypes.CDLL(None, use_errno=True), threading.Event(), threading.Event()

    def move() -> None:
        assert libc.unshare(0x04000000) == 0  # CLONE_NEWUTS
        moved.set()
        done.wait()

    thread = threading.Thread(target=move)
    with leaks(grace=0) as found:
        thread.start()
        moved.wait()
    done.set()
    thread.join()
    assert kinds(found) == ["namespace"]
    assert f"thread {thread.native_id} of this process" in str(found)


@needs_root
def test_a_mount(tmp_path: Path) -> None:
    body = f"""
os.mkdir("{tmp_path}/a b")
with leaks(grace=0) as found:
    subprocess.run(["mount", "-t", "tmpfs", "lost", "{tmp_path}/a b"], check=True)
print(found)
"""
    assert outer(body, "-m").startswith(f"mount: {tmp_path}/a b (tmpfs lost, id ")


@needs_root
def test_a_mount_in_place_of_another(tmp_path: Path) -> None:
    """The kernel gives the id of the old mount to the new one."""
    body = f"""
os.mkdir("{tmp_path}/a"), os.mkdir("{tmp_path}/b")
subprocess.run(["mount", "-t", "tmpfs", "old", "{tmp_path}/a"], check=True)
with leaks(grace=0) as found:
    subprocess.run(["umount", "{tmp_path}/a"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "new", "{tmp_path}/b"], check=True)
print([leak.kind for leak in found])
"""
    assert outer(body, "-m") == "['mount']\n"


def hierarchies() -> list[str]:
    """Return the cgroups in which this process may make one, one for each hierarchy, beside the first, for each mount of cgroupfs."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines if line.split(" - ")[1].split()[0] in ("cgroup", "cgroup2")]
    return [point for point in points if os.access(point, os.W_OK) and os.geteuid() == 0]


@pytest.fixture
def cgroup() -> Iterator[Callable[[str], str]]:
    made: list[str] = []

    def make(point: str) -> str:
        made.append(tempfile.mkdtemp(prefix="containerkit-test-leaks-", dir=point))
        return made[-1]

    yield make
    for path in made:
        os.rmdir(path)


@needs_root
@pytest.mark.parametrize("point", hierarchies() or [pytest.param("", marks=pytest.mark.skip(reason="no writable cgroup hierarchy"))])
def test_a_cgroup(point: str, cgroup: Callable[[str], str]) -> None:
    with leaks(grace=0) as found:
        path = cgroup(point)
    assert str(found).splitlines()[0] == f"cgroup: {path}"
    assert len(found) == 1


@needs_root
@pytest.mark.skipif(not hierarchies(), reason="no writable cgroup hierarchy")
def test_a_cgroup_with_processes_of_others_only(cgroup: Callable[[str], str]) -> None:
    point = next((point for point in hierarchies() if "cpuset" not in point), hierarchies()[0])
    stranger = orphan("setsid")
    try:
        home = next(path for path in Path(point).rglob("cgroup.procs") if str(stranger) in path.read_text().split())
        with leaks(grace=0) as found:
            path = cgroup(point)
            Path(path, "cgroup.procs").write_text(str(stranger))
        with sleeper() as child, leaks(grace=0) as mine:
            second = cgroup(point)
            Path(second, "cgroup.procs").write_text(str(child.pid))
        home.write_text(str(stranger))
    finally:
        os.kill(stranger, signal.SIGKILL)
    assert not found
    assert kinds(mine) == ["cgroup"]


@needs_root
@pytest.mark.skipif(not shutil.which("ip"), reason="needs ip: apt-get install iproute2")
def test_a_link() -> None:
    body = """
with leaks(grace=0) as found:
    subprocess.run(["ip", "link", "add", "lost0", "type", "veth", "peer", "name", "lost1"], check=True)
print(found)
"""
    assert set(outer(body, "-n").splitlines()) == {"link: lost0", "link: lost1"}


@needs_root
@pytest.mark.skipif(not shutil.which("nft"), reason="needs nft: apt-get install nftables")
def test_nftables_tables() -> None:
    body = """
nft = lambda *words: subprocess.run(["nft", "add", "table", *words], check=True)
nft("inet", "old")
with leaks(grace=0) as found:
    nft("inet", "lost"), nft("ip", "old")
print(found)
"""
    assert set(outer(body, "-n").splitlines()) == {"nftables table: lost (family 1)", "nftables table: old (family 2)"}


@needs_root
def test_a_kind_that_cannot_be_listed_is_reported() -> None:
    body = """
os.setuid(65534)
with leaks(grace=0) as found: pass
print(found)
"""
    # the repository may lie where an ordinary user cannot read, so the modules are imported before the change of user
    lines = outer(body, "-n").splitlines()
    assert lines == ["nothing was left behind", "(not looked at: nftables table: [Errno 1] Operation not permitted)"]


def test_a_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with leaks(grace=0) as found:
        (tmp_path / "containerkit-x").mkdir()
        (tmp_path / "another-x").mkdir()
    assert [(leak.kind, leak.what) for leak in found] == [("state directory", f"{tmp_path}/containerkit-x")]


def test_an_object_torn_down_within_the_grace_is_no_leak() -> None:
    begin = time.monotonic()
    with leaks() as found:
        child = subprocess.Popen(["sleep", "0.2"])
        threading.Thread(target=child.wait).start()
    assert not found
    assert 0.2 <= time.monotonic() - begin < 1.5


def test_the_grace_ends() -> None:
    read, write = os.pipe()
    with leaks(grace=0.2) as found:
        begin, third = time.monotonic(), os.dup(read)
    assert 0.2 <= time.monotonic() - begin < 1
    for fd in (read, write, third):
        os.close(fd)
    assert kinds(found) == ["fd"]


def test_an_error_in_the_block_is_passed_on_with_its_leaks_found() -> None:
    opened: list[int] = []

    def fail() -> None:
        opened.append(os.open("/", os.O_RDONLY))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), leaks(grace=0) as found:
        fail()
    os.close(opened[0])
    assert kinds(found) == ["fd"]


def test_processes_that_vanish_while_being_read() -> None:
    """Short processes of this process come and go: no error, and no leak once they are gone."""
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            subprocess.run(["true"], check=True)

    with leaks() as outside:
        threads = [threading.Thread(target=churn) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(40):
            with leaks(grace=0):
                pass
        stop.set()
        for thread in threads:
            thread.join()
    assert not outside, str(outside)


def test_names_with_spaces_and_brackets(tmp_path: Path) -> None:
    program = tmp_path / "a) b (c"
    shutil.copy("/bin/sleep", program)
    child = subprocess.Popen([program, "60"])
    with leaks(grace=0) as nothing:
        pass
    child.kill()
    child.wait()
    assert not nothing
    with leaks(grace=0) as found:
        child = subprocess.Popen([program, "60"])
        while Path(f"/proc/{child.pid}/comm").read_text() != "a) b (c\n":
            time.sleep(0.001)
    child.kill()
    child.wait()
    assert [leak.what for leak in found] == [f"{child.pid} (a) b (c)"]


KERNEL_TESTS = """
import os, subprocess, pytest
kept = []
def test_leaves_an_fd(): kept.append(os.open("/etc/passwd", os.O_RDONLY))
def test_leaves_nothing(): pass
def test_fails(): fd = os.open("/etc/passwd", os.O_RDONLY); kept.append(fd); assert 0
@pytest.mark.root
def test_root(): assert os.getuid() == 0
@pytest.mark.unprivileged
@pytest.mark.parametrize("value", [1, 2])
def test_ordinary(value, tmp_path): assert os.getuid() != 0 and value == 1
def test_as_user(as_user): assert int(as_user("import os; print(os.getuid())")) > 0
def test_as_user_that_fails(as_user): as_user("raise SystemExit('said why')")
def test_rootdir(rootdir): assert (rootdir / "bin/sh").exists() or os.path.islink(rootdir / "bin/sh")
"""


def test_the_tests_own_fixtures(tmp_path: Path) -> None:
    """tests/conftest.py: a kernel test that leaves an object behind fails, and the markers and fixtures work as documented."""
    with tempfile.TemporaryDirectory(prefix="ck-fixtures-") as name:
        top = Path(name)
        top.chmod(0o755)
        (top / "tests/kernel").mkdir(parents=True)
        shutil.copy(REPO / "pyproject.toml", top)
        (top / "tests/conftest.py").write_text(
            (REPO / "tests/conftest.py").read_text().replace("REPO = TESTS.parent", f"REPO = __import__('pathlib').Path({str(REPO)!r})")
        )
        (top / "tests/kernel/test_some.py").write_text(KERNEL_TESTS)
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "tests"]
        done = subprocess.run(argv, cwd=top, env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True, text=True)
    said = [line.split(" - ")[0] for line in done.stdout.splitlines() if line.split(" ")[0] in ("PASSED", "FAILED", "ERROR", "SKIPPED")]
    outcome = {line.rpartition("::")[2]: line.partition(" ")[0] for line in said if "::" in line and "ERROR" not in line}
    assert [line.rpartition("::")[2] for line in said if line.startswith("ERROR")] == ["test_leaves_an_fd"], done.stdout
    assert outcome["test_leaves_nothing"] == outcome["test_rootdir"] == "PASSED"
    assert outcome["test_fails"] == "FAILED"
    if os.geteuid() == 0:
        assert outcome["test_root"] == "PASSED"
    if "test_as_user" in outcome:  # without the user it is skipped, with a reason
        assert outcome["test_as_user"] == outcome["test_ordinary[1]"] == "PASSED"
        assert outcome["test_as_user_that_fails"] == outcome["test_ordinary[2]"] == "FAILED"
        assert "said why" in done.stdout
