"""The attack on shared memory: a container's root goes for the memory and the descriptors of a process that joins it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import TRUE, again, compiled, until, with_number

import containerkit as ck
from containerkit import mounts, ns
from containerkit.core.spawn import spawn
from containerkit.core.standard_steps import exposed
from containerkit.linux.native import number
from containerkit.linux.syscalls import Call, Fd, HeaderAddress

pytestmark = pytest.mark.hostile
CANARY = ctypes.create_string_buffer(b"the host's secret, which nobody inside may read")
ATTACKER = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
static char said[64][300]; static int lines;
static void say(const char *what, int pid, const char *more)
{
	char line[300];
	snprintf(line, sizeof line, "%s %s", what, more);
	for (int i = 0; i < lines; i++) if (!strcmp(said[i], line)) return;
	if (lines < 64) strcpy(said[lines++], line);
	printf("%s\n", line); fflush(stdout);
}
static void link_of(int pid, const char *name, char *to)
{
	char path[64]; ssize_t n;
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	n = readlink(path, to, 255); to[n > 0 ? n : 0] = 0;
}
static void attack(int pid, unsigned long address, const char *wanted)
{
	char path[64], exe[256], bytes[32]; int fd; DIR *fds; struct dirent *e;
	say("seen", pid, "");
	link_of(pid, "exe", exe);
	if (*exe) say("exe", pid, exe); else say("denied", pid, "");
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	fd = open(path, O_RDWR);
	if (fd >= 0) {
		char now[256];
		link_of(pid, "exe", now);
		if (*now) say("mem", pid, now);
		if (pread(fd, bytes, 16, address) == 16 && !memcmp(bytes, wanted, 16)) say("CANARY", pid, now);
		close(fd);
	}
	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	if ((fds = opendir(path))) {
		while ((e = readdir(fds))) if (*e->d_name != '.') {
			char name[280], to[256];
			snprintf(name, sizeof name, "fd/%s", e->d_name);
			link_of(pid, name, to);
			if (*to) say("fd", pid, to);
		}
		closedir(fds);
	}
	for (int i = 0; i < 2; i++) {
		char to[256];
		link_of(pid, i ? "cwd" : "root", to);
		if (*to) say(i ? "cwd" : "root", pid, to);
	}
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
		link_of(pid, "exe", exe);
		if (*exe) say("traced", pid, exe);
		kill(pid, 9);
		waitpid(pid, NULL, __WALL);
	}
}
int main(int argc, char **argv)
{
	unsigned long address = strtoul(argv[1], 0, 10);
	DIR *proc = opendir("/proc"); struct dirent *e;
	printf("ready\n"); fflush(stdout);
	for (;;) {
		rewinddir(proc);
		while ((e = readdir(proc))) { int pid = atoi(e->d_name); if (pid > 1) attack(pid, address, argv[2]); }
	}
}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("evil")
    compiled("#include <signal.h>\n" + ATTACKER, made / "attacker")
    compiled(TRUE, made / "true")
    return made


@pytest.fixture
def attacker(root: Path) -> Iterator[ck.Process]:
    """A container whose root looks for processes that join it."""
    argv = ["/attacker", str(ctypes.addressof(CANARY)), CANARY.raw[:16]]
    with ck.plan(ns.User(), ns.Mount(), ns.Pid(), mounts.Root(root), run=argv).spawn(stdin=ck.DEVNULL, stdout=ck.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process


def _joining(attacker: ck.Process, *kinds: str) -> Iterator[ck.Plan]:
    spaces = [ck.Namespace.of(attacker.pid, kind) for kind in kinds]
    try:
        yield ck.plan(*spaces, run=["/true"])
    finally:
        for space in spaces:
            space.close()


def _heard(attacker: ck.Process) -> list[str]:
    attacker.kill()
    assert attacker.stdout
    return attacker.stdout.read().decode().splitlines()


def _breaches(heard: list[str]) -> list[str]:
    """Return foreign files that it opened: its own files show with their paths inside."""
    allowed = {"seen ", "denied ", "exe /true", "mem /true", "traced /true", "fd /dev/null", "fd /null", "cwd /", "root /"}
    return [line for line in heard if line not in allowed]


STREAMS = {"stdin": ck.DEVNULL, "stdout": ck.DEVNULL, "stderr": ck.DEVNULL}


@pytest.mark.parametrize("kinds", [("user", "mnt", "pid"), ("user", "pid")])
def test_who_joins_cannot_be_reached(attacker: ck.Process, kinds: tuple[str, ...]) -> None:
    for plan in _joining(attacker, *kinds):
        for _ in range(150):
            if "mnt" in kinds:
                with plan.spawn(**STREAMS) as process:
                    process.wait()
            else:
                with pytest.raises(ck.StepError), ck.plan(*plan.parts, run=["/nowhere"]).spawn(**STREAMS):
                    pass
    heard = _heard(attacker)
    assert {"seen ", "denied "} <= set(heard), "the attacker met nobody"
    assert _breaches(heard) == []


def _entered(attacker: ck.Process) -> list[str]:
    for _ in range(100):
        with ck.Inside(attacker) as inside, ck.plan(inside, run=["/true"]).spawn(**STREAMS) as process:
            process.wait()
    return _heard(attacker)


def test_who_enters_with_all_walls_cannot_be_reached(attacker: ck.Process) -> None:
    heard = _entered(attacker)
    assert {"seen ", "denied "} <= set(heard), "the attacker met nobody"
    assert _breaches(heard) == []


@pytest.mark.root
def test_the_way_into_its_cgroup_cannot_be_reached(root: Path) -> None:
    """It is a file that the host's root opened to write to."""
    argv = ["/attacker", str(ctypes.addressof(CANARY)), CANARY.raw[:16]]
    root.chmod(0o755)
    users = ns.User(uids=((0, 0, 1000),), gids=((0, 0, 1000),))
    with ck.Cgroup("attacker", pids_max=50) as group:
        parts = [
            users,
            ns.Mount(),
            ns.Pid(),
            mounts.Root(root),
            group,
            ck.Credentials(33, 33),
            ck.Capabilities.only("CAP_SYS_PTRACE", ambient=True),
        ]
        with ck.plan(*parts, run=argv).spawn(stdin=ck.DEVNULL, stdout=ck.PIPE) as attacker:
            assert attacker.stdout
            assert attacker.stdout.readline() == b"ready\n"
            heard = _entered(attacker)
    assert "seen " in heard
    assert _breaches(heard) == []


def test_the_attacker_is_able(attacker: ck.Process) -> None:
    """Without the one call that guards it, the joining process is reached: so the test above can fail."""
    for plan in _joining(attacker, "user", "mnt", "pid"):
        program = plan.program((ck.DEVNULL,) * 3)
        guard = next(i for i, s in enumerate(program.child_steps) if "SET_DUMPABLE" in str(s))
        open_to_all = with_number(program, guard, number("setsid"))

        def reached(open_to_all: Any = open_to_all) -> bool:
            with contextlib.suppress(ck.StepError), spawn(open_to_all, (ck.DEVNULL,) * 3, {}) as process:
                process.wait()  # where it was not killed on its way
            return False

        until(reached, 1.5)
    assert any("memfd" in line for line in _breaches(_heard(attacker)))


def test_a_child_in_namespaces_of_its_own_is_met_by_nobody(attacker: ck.Process, root: Path) -> None:
    for _ in range(50):
        with ck.plan(ns.User(), ns.Mount(), ns.Pid(), mounts.Root(root), run=["/true"]).spawn(**STREAMS) as process:
            process.wait()
    assert _heard(attacker) == []


# --- the program that was started through /proc/self/exe ----------------------------------------------------------

INTERPRETER = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	char path[64], to[256]; ssize_t n = readlink("/proc/self/exe", to, 255);
	if (argc == 3 && !strcmp(argv[1], "write")) {
		snprintf(path, sizeof path, "/proc/self/fd/%s", argv[2]);
		for (int i = 0; i < 150; i++) {
			int fd = open(path, O_WRONLY);
			if (fd >= 0) return write(fd, "HACKED", 6) != 6;
			usleep(20000);
		}
		return 1;
	}
	to[n > 0 ? n : 0] = 0;
	if (strcmp(to, "/evil")) {
		snprintf(path, sizeof path, "%d", open("/proc/self/exe", O_RDONLY));
		execl("/evil", "/evil", "write", path, NULL);
	}
	return 7;
}
"""
HOST = """
import sys
import containerkit as ck
from containerkit import mounts, ns
root, how, program = sys.argv[1:]
own = [ns.User(), ns.Mount(), ns.Pid()]
if how == "fresh":
    ck.plan(*own, mounts.Root(root), run=[program]).spawn()
else:
    box = ck.plan(*own, mounts.Root(root), run=["/sleep"]).spawn()
    ck.plan(*[ck.Namespace.of(box.pid, kind) for kind in ("user", "mnt", "pid")], run=[program]).spawn()
"""


@pytest.mark.parametrize("how", ["fresh", "joined"])
@pytest.mark.parametrize("program", ["/script", "/link"])
def test_the_hosts_python_cannot_be_overwritten(how: str, program: str, tmp_path: Path) -> None:
    """CVE-2019-5736: an image whose program is /proc/self/exe would run the host's own file, and keep hold of it.

    The host's python is a copy here, owned by the caller as one in a home directory is.
    """
    root, python = tmp_path / "root", tmp_path / "python"
    for directory in ("lib64", "lib", "proc"):
        (root / directory).mkdir(parents=True)
    compiled(INTERPRETER, root / "evil")
    compiled("#include <unistd.h>\nint main(void) { return sleep(4); }", root / "sleep")
    for loader in ("lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"):
        os.link(root / "evil", root / loader)
    (root / "script").write_text("#!/proc/self/exe\n")
    (root / "script").chmod(0o755)
    (root / "link").symlink_to("/proc/self/exe")
    python.write_bytes(Path(os.path.realpath(sys.executable)).read_bytes())
    python.chmod(0o755)
    before = python.read_bytes()
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {"PYTHONPATH": path, "PYTHONHOME": sys.base_prefix}
    subprocess.run([python, "-W", "ignore", "-c", HOST, root, how, program], env=environment, check=False, timeout=20, capture_output=True)
    until(lambda: python.read_bytes() != before or not _inside(root), 4)
    assert python.read_bytes() == before


def _inside(root: Path) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            found += [int(name)] if os.readlink(f"/proc/{name}/exe") in ("/evil", "/sleep") else []
        except OSError:
            continue
    return found


def test_no_process_but_a_child_is_taken_for_the_program() -> None:
    """The number lies in memory that a container's root may have reached as its process 1 began."""

    class Forger:
        def steps(self) -> Iterator[ck.Step]:
            forge = Call("read", (Fd("forged", reader), HeaderAddress("forked"), 4))
            yield ck.Step.child(ck.Phase.INSIDE, forge, why="write another process's number there")

    reader, writer = os.pipe()
    os.write(writer, os.getppid().to_bytes(4, "little"))
    with pytest.raises(ChildProcessError):
        ck.plan(Forger(), run=["/bin/true"], share_memory=False).spawn()
    os.wait()  # the true one: its number was lost with the forgery
    os.close(reader)
    os.close(writer)


@pytest.mark.root
def test_a_caller_without_a_proc_counts_as_exposed(tmp_path: Path) -> None:
    """It cannot look, and its container may have a proc in which its program shows."""
    pid = os.fork()
    if not pid:
        os.chroot(tmp_path)
        os._exit(exposed())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
