"""`containerkit run` relays its standard streams to a program whose streams are pipes of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support import again

RUN = [sys.executable, "-m", "containerkit", "run"]
PROGRAMS = ["--programs", "sh,cat,head,sleep,true,stat,tty,id,ls,readlink,yes"]
OPENS = "echo out > /dev/stdout; echo err > /dev/stderr"


def run(*words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*RUN, *PROGRAMS, *words], check=False, timeout=60, **{"capture_output": True, **more})


@pytest.mark.parametrize("user", [[], ["-u", "33"]])
def test_another_user_opens_its_streams_if_ours_are_pipes(user: list[str]) -> None:
    done = run(*user, "--", "sh", "-c", OPENS)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 0)


def test_another_user_opens_its_streams_if_ours_are_files(tmp_path: Path) -> None:
    """The owners of our own streams do not change."""
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        before = os.fstat(out.fileno())
        assert run("-u", "33", "--", "sh", "-c", OPENS, capture_output=False, stdout=out, stderr=err).returncode == 0
        after = os.fstat(out.fileno())
    assert ((tmp_path / "out").read_bytes(), (tmp_path / "err").read_bytes()) == (b"out\n", b"err\n")
    assert (before.st_uid, before.st_gid, before.st_mode) == (after.st_uid, after.st_gid, after.st_mode)


@pytest.mark.parametrize("tty", [[], ["-t"]])
def test_another_user_opens_its_streams_if_ours_are_a_terminal(tty: list[str]) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(
            sys.executable, [*RUN, *PROGRAMS, *tty, "-u", "33", "--", "sh", "-c", OPENS + "; tty; ls -d /dev/console /dev/pts/0; true"]
        )
    said = b""
    try:
        while piece := os.read(terminal, 1000):
            said += piece
    except OSError:
        pass
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    assert {b"out", b"err"} <= set(said.split())
    assert (b"/dev/pts/0" in said.split(), b"/dev/console" in said.split()) == (bool(tty), bool(tty))


def test_no_descriptor_of_ours_is_inside(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        script = "for fd in 0 1 2; do readlink /proc/self/fd/$fd >&2; done"
        done = run("-i", "--", "sh", "-c", script, capture_output=False, stdout=out, stderr=subprocess.PIPE, stdin=out)
    assert [line.split(b":")[0] for line in done.stderr.splitlines()] == [b"pipe"] * 3


def test_a_lot_in_both_directions() -> None:
    data = os.urandom(3_000_000)
    done = run("-i", "--", "sh", "-c", "cat; yes | head -c 1000000 >&2", input=data)
    assert done.stdout == data
    assert done.stderr == b"y\n" * 500_000


def test_an_input_that_the_program_does_not_read() -> None:
    assert run("-i", "--", "true", input=bytes(3_000_000)).returncode == 0
    assert run("--", "cat", input=b"not passed on").stdout == b""


def test_a_file_as_input(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file\n")
    with (tmp_path / "in").open() as file:
        assert run("-i", "--", "cat", stdin=file).stdout == b"from a file\n"


def test_closed_streams() -> None:
    words = " ".join([*RUN, *PROGRAMS])
    done = subprocess.run(f"{words} -i -- sh -c 'cat; exit 4' <&-", shell=True, capture_output=True, check=False, timeout=60)
    assert done.returncode == 4
    assert b"Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_the_program() -> None:
    words = " ".join([*RUN, *PROGRAMS])
    script = f"{{ {words} -- yes; echo $? >&2; }} | head -n 1"
    done = subprocess.run(script, shell=True, capture_output=True, check=False, timeout=60)
    assert done.stdout == b"y\n"
    assert done.stderr.split()[-1] in (b"141", b"1")  # exit code of SIGPIPE; or of yes, if its message has no reader either


def test_the_timeout_counts_while_the_output_is_not_read() -> None:
    begin = time.monotonic()
    with subprocess.Popen([*RUN, *PROGRAMS, "--timeout", "1", "--", "yes"], stdout=subprocess.PIPE) as process:
        assert process.wait(30) == 124
    assert 1 <= time.monotonic() - begin < 25


def test_memory_stays_bounded_while_the_output_is_not_read() -> None:
    with subprocess.Popen([*RUN, *PROGRAMS, "--stop-timeout", "0.1", "--", "yes"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.read(4)
        time.sleep(1)
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak < 150_000
        process.send_signal(signal.SIGTERM)


def test_a_process_left_by_the_program_is_not_waited_for() -> None:
    """In a pid namespace of ours, other processes may still hold the program's pipes when it has ended."""
    begin = time.monotonic()
    done = run("--share", "pid", "--", "sh", "-c", "echo before; sleep 3 & exit 5")
    assert (done.stdout, done.returncode) == (b"before\n", 5)
    assert time.monotonic() - begin < 60
    time.sleep(3)  # the process ends by itself


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--", "nothing"], 127), (["--", "/nowhere/sh"], 127), (["--", "/bin"], 126), (["--", "sh", "-c", "exit 125"], 125),
        (["--timeout", "0.5", "--", "sleep", "60"], 124), (["--nothing", "--", "sh"], 125),
        (["-v", "oops", "--", "sh"], 125), (["--share", "pid", "--", "sh", "-c", "kill -9 $$"], 137),
    ],
)  # fmt: skip
def test_exit_codes_are_dockers(words: list[str], code: int) -> None:
    done = run(*words)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
