"""The filter in front of the real kernel: each call is made without it first, so that a refusal is the filter's."""

from __future__ import annotations

import errno
import platform
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from support import again, compiled

import containerkit as ck
from containerkit import mounts, ns
from containerkit.linux.native import number
from containerkit.parts.capabilities import Capabilities
from containerkit.parts.privileges import NoNewPrivileges
from containerkit.parts.seccomp import Seccomp, Where

PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
SAFE = (NoNewPrivileges(), Seccomp.default())
PROBE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
int main(int argc, char **argv)
{
	unsigned long a[7] = { 0 };
	long result, self = syscall(SYS_getpid);

	for (int i = 1; i < argc; i++)
		a[i - 1] = strtoul(argv[i], 0, 0);
	errno = 0;
	result = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
	if (result == 0 && syscall(SYS_getpid) != self)
		_exit(0);
	if (a[0] == SYS_clone && result > 0)
		waitpid(result, 0, 0);
	printf("%d\n", result == -1 ? errno : 0);
	return 0;
}
"""
IN_32_BITS = r"""
#include <stdio.h>
int main(void)
{
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");	/* getpid in the table of 32 bits */
	return result > 0 ? 0 : 1;
}
"""
# A program that only exists: static, and started under a list of very few calls.
FEW = """
execve brk arch_prctl set_tid_address set_robust_list rseq prlimit64 readlinkat readlink getrandom mprotect newfstatat fstat write
getpid prctl
""".split()
NEWUSER, SIGCHLD, ABOVE = 0x10000000, 17, 1 << 32


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    made = Path(mkdtemp(prefix="ck-seccomp-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def probe(directory: Path) -> Path:
    return compiled(PROBE, directory / "probe")


def made(probe: Path, name: str, args: tuple[int, ...], *parts: Any) -> str:
    """The error that a call gives, "0" for none."""
    result = ck.run([probe, str(number(name)), *map(str, args)], *parts, timeout=10)
    assert result.exit_code == 0, result
    code = int(result.text)
    return errno.errorcode[code] if code else "0"


REFUSED: list[tuple[str, tuple[int, ...]]] = [
    ("unshare", (NEWUSER,)), ("setns", (1 << 31, 0)), ("mount", (0, 0, 0, 0, 0)), ("umount2", (0, 0)), ("pivot_root", (0, 0)),
    ("chroot", (0,)), ("keyctl", (0, 2**64 - 3, 0)), ("add_key", (0, 0, 0, 0, 0)), ("bpf", (999, 0, 0)),
    ("perf_event_open", (0, 0, 0, 0, 0)), ("userfaultfd", (1,)),
    ("io_uring_setup", (0, 0)), ("open_by_handle_at", (2**64 - 100, 0, 0)), ("clone", (NEWUSER | SIGCHLD,)),
    ("clone", (ABOVE | NEWUSER | SIGCHLD,)), ("personality", (0x40000,)), ("personality", (ABOVE | 0x40000,)),
    ("socket", (38, 5, 0)), ("socket", (ABOVE | 38, 5, 0)), ("get_mempolicy", (0, 0, 0, 0, 0)), ("kcmp", (0, 0, 9, 0, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args"), REFUSED)
def test_a_call_that_the_kernel_takes_is_refused_by_the_filter(probe: Path, name: str, args: tuple[int, ...]) -> None:
    inside = (ns.User(), ns.Mount())
    without = made(probe, name, args, *inside)
    if without in ("EPERM", "ENOSYS"):
        pytest.skip(f"this kernel refuses {name} by itself")
    assert made(probe, name, args, *inside, *SAFE) == "EPERM"


ALLOWED = [
    ("ptrace", (0,)), ("process_vm_readv", (1, 0, 0, 0, 0, 1)), ("process_vm_writev", (1, 0, 0, 0, 0, 1)),
    ("clock_adjtime", (0, 0)), ("fanotify_mark", (2**32 - 1, 0, 0, 0, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args"), ALLOWED)
def test_a_call_that_docker_allows_reaches_the_kernel(probe: Path, name: str, args: tuple[int, ...]) -> None:
    assert made(probe, name, args, ns.User(), *SAFE) == made(probe, name, args, ns.User()) != "EPERM"


@pytest.mark.parametrize("name", ["file_getattr", "file_setattr", "lsm_get_self_attr", "lsm_list_modules"])
def test_calls_that_programs_fall_back_from_are_not_there(probe: Path, name: str) -> None:
    assert made(probe, name, (0, 0, 0, 0, 0), ns.User(), *SAFE) == "ENOSYS"


def test_a_program_can_be_traced_inside(directory: Path) -> None:
    tracer = shutil.which("strace") or pytest.skip("needs strace")
    result = ck.run([tracer, "-f", "-e", "trace=chdir", "sh", "-c", "cd /; cd /usr"], ns.User(), *SAFE, Capabilities.none(), env=PATH)
    assert result.exit_code == 0, result.stderr
    assert b'chdir("/usr")' in result.stderr


def test_chroot_goes_with_its_capability() -> None:
    argv, keeps = ["chroot", "/", "echo", "inside"], Capabilities.only("CAP_SYS_CHROOT")
    with_it = ck.run(argv, ns.User(), keeps, NoNewPrivileges(), Seccomp.default(keeps.names), env=PATH)
    assert (with_it.exit_code, with_it.text) == (0, "inside\n")
    for parts in ((keeps, *SAFE), (Capabilities.none(), NoNewPrivileges(), Seccomp.default(keeps.names))):
        assert ck.run(argv, ns.User(), *parts, env=PATH).exit_code == 125


def test_clone3_is_not_there_so_that_libc_falls_back(probe: Path) -> None:
    assert made(probe, "clone3", (0, 0), ns.User()) == "EINVAL"
    assert made(probe, "clone3", (0, 0), ns.User(), *SAFE) == "ENOSYS"


def test_a_call_nobody_has_heard_of_is_not_there(probe: Path) -> None:
    assert ck.run([probe, "9999"], *SAFE).text == f"{errno.ENOSYS}\n"
    assert ck.run([probe, "9999"], NoNewPrivileges(), Seccomp.allow(FEW, otherwise="EACCES")).text == f"{errno.ENOSYS}\n"


@pytest.mark.parametrize(
    ("name", "args"), [("socket", (1, 1, 0)), ("personality", (0xFFFFFFFF,)), ("clone", (SIGCHLD,)), ("seccomp", (2, 0, 0))]
)
def test_what_ordinary_programs_need_is_allowed(probe: Path, name: str, args: tuple[int, ...]) -> None:
    assert made(probe, name, args, *SAFE) == made(probe, name, args)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has calls of 32 bits")
def test_a_call_of_32_bits_ends_the_program(directory: Path) -> None:
    program = compiled(IN_32_BITS, directory / "call32")
    if ck.run([program]).exit_code != 0:
        pytest.skip("this kernel has no calls of 32 bits")
    assert ck.run([program], *SAFE).exit_code == 128 + signal.SIGSYS


def test_programs_run_under_the_default_filter() -> None:
    script = "import threading, subprocess, socket, asyncio, sqlite3, tempfile\n"
    script += "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
    script += "print(subprocess.run(['/bin/echo', 'child'], capture_output=True, text=True).stdout.strip())\n"
    script += (
        "a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1)); asyncio.run(asyncio.sleep(0)); tempfile.TemporaryFile().write(b'x')"
    )
    assert (
        ck.run([sys.executable, "-c", script], ns.User(), *SAFE, env={"PATH": "/usr/bin:/bin"}, check=True).text == "thread\nchild\nb'x'\n"
    )
    assert ck.run(["sh", "-c", "echo $(echo a | cat) | tr a b"], *SAFE, check=True).text == "b\n"


def test_a_whole_container_under_the_filter(rootdir: Path) -> None:
    inside = (ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("lesson"), ns.Cgroup(), mounts.Root(rootdir), mounts.Dev())
    result = ck.run(["sh", "-c", "hostname; id -u; ls /proc/1/comm; mount -t tmpfs none /tmp"], *inside, Capabilities.none(), *SAFE)
    assert result.text == "lesson\n0\n/proc/1/comm\n"
    assert b"mount" in result.stderr
    assert result.exit_code != 0


def test_log_forbids_nothing(probe: Path) -> None:
    assert made(probe, "unshare", (NEWUSER,), ns.User(), NoNewPrivileges(), Seccomp.log()) == "0"
    status = ck.run(["cat", "/proc/self/status"], NoNewPrivileges(), Seccomp.log()).text
    assert "Seccomp:\t2" in status


def test_a_list_of_ones_own(probe: Path) -> None:
    few = Seccomp.allow([*FEW, "socket"])
    assert made(probe, "socket", (1, 1, 0), NoNewPrivileges(), few) == "0"
    assert made(probe, "socket", (1, 1, 0), NoNewPrivileges(), few.denying(["socket"])) == "EPERM"
    only_unix = few.denying(["socket"]).allowing(["socket"], Where(0, 1), Where(1, 1))
    assert [made(probe, "socket", args, NoNewPrivileges(), only_unix) for args in ((1, 1, 0), (1, 2, 0), (2, 1, 0))] == [
        "0",
        "EPERM",
        "EPERM",
    ]


def test_a_filter_that_kills(probe: Path) -> None:
    killing = Seccomp.allow([*FEW, "socket"], otherwise="kill")
    assert made(probe, "socket", (1, 1, 0), NoNewPrivileges(), killing) == "0"
    result = ck.run([probe, str(number("socket")), "1", "1", "0"], NoNewPrivileges(), killing.denying(["socket"]))
    assert (result.exit_code, result.stopped_by) == (128 + signal.SIGSYS, "signal")


def test_it_passes_on_to_children_and_stacks(probe: Path) -> None:
    plan = ck.plan(
        *SAFE, Seccomp.default().denying(["socket"]), run=["sh", "-c", f"grep filters: /proc/self/status; {probe} {number('socket')} 1 1 0"]
    )
    assert plan.run().text == f"Seccomp_filters:\t2\n{errno.EPERM}\n"


def test_pid_one_reaps_and_passes_signals_on_under_the_filter() -> None:
    parts = (ns.User(), ns.Mount(), ns.Pid(init=True), Capabilities.none(), *SAFE)
    assert ck.run(["sh", "-c", "sleep 0 & sleep 0.01; exit 7"], *parts).exit_code == 7
    with ck.plan(*parts, run=["sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done"]).spawn(stdout=ck.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.signal(signal.SIGTERM)
        assert process.wait(10) == 9


# What goes wrong ------------------------------------------------------------------------------------------------


def test_without_a_promise_of_no_new_privileges_it_takes_a_capability() -> None:
    with pytest.raises(ck.StepError, match=r"needs NoNewPrivileges\(\)") as caught:
        ck.run(["true"], ns.User(), Capabilities.none(), Seccomp.default())
    assert caught.value.errno == errno.EACCES
    assert ck.run(["true"], ns.User(), Seccomp.default()).exit_code == 0


def test_a_filter_without_execve_says_so() -> None:
    with pytest.raises(ck.StepError, match="refuses execve") as caught:
        ck.plan(NoNewPrivileges(), Seccomp.default().denying(["execve"]), run=["/bin/true"]).run()
    assert (caught.value.errno, caught.value.step.call.name) == (errno.EPERM, "execve")


def test_a_filter_without_a_call_of_the_plans_says_which() -> None:
    with pytest.raises(ck.StepError, match="a call that the plan still has to make") as caught:
        ck.plan(NoNewPrivileges(), Seccomp.allow(["execve"]), run=["/bin/true"], die_with_parent=True).run()
    assert caught.value.step.call.name == "prctl"


def test_a_second_filter_needs_the_first_ones_leave() -> None:
    with pytest.raises(ck.StepError, match="a filter that is there already forbids seccomp"):
        ck.run(["true"], NoNewPrivileges(), Seccomp.default().denying(["seccomp"]), Seccomp.default())


def test_a_missing_program_under_a_narrow_filter_ends() -> None:
    with pytest.raises(ck.StepError, match="no such program"):
        ck.plan(NoNewPrivileges(), Seccomp.allow(["execve"]), run=["/nonexistent"]).run()


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
