"""The command line, as a user types it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from containerkit.core.stdio import set_size

COMMAND = [sys.executable, "-m", "containerkit"]


def containerkit(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_run_passes_output_and_exit_code_on() -> None:
    done = containerkit("run", "-h", "web", "--", "sh", "-c", "hostname; id; echo error >&2; exit 7")
    assert done.stdout.splitlines()[0] == "web"
    assert "uid=0(root)" in done.stdout
    assert done.stderr == "error\n"
    assert done.returncode == 7


def test_run_shows_a_signal_as_a_shell_does() -> None:
    assert containerkit("run", "--init", "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_run_ends_at_its_timeout() -> None:
    begin = time.monotonic()
    assert containerkit("run", "--timeout", "0.5", "--", "sleep", "100").returncode == 124
    assert time.monotonic() - begin < 20


def test_standard_input_is_passed_on_when_asked() -> None:
    assert containerkit("run", "-i", "--", "cat", input="hello\n").stdout == "hello\n"
    assert containerkit("run", "--", "cat", input="hello\n").stdout == ""


def test_environment() -> None:
    done = containerkit(
        "run", "-e", "A=b", "-e", "FROM_HERE", "-e", "NOT_HERE", "--", "env", env={**os.environ, "FROM_HERE": "1", "SECRET": "2"}
    )
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found["A"] == "b"
    assert found["FROM_HERE"] == "1"
    assert "SECRET" not in found
    assert "NOT_HERE" not in found


def test_volumes(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("from outside\n")
    tmp_path.chmod(0o777)
    done = containerkit(
        "run", "-v", f"{tmp_path}:/in", "-v", f"{tmp_path}/f:/file:ro", "--", "sh", "-c", "cat /in/f; touch /in/new; echo x > /file"
    )
    assert done.stdout == "from outside\n"
    assert "Read-only file system" in done.stderr
    assert (tmp_path / "new").exists()


def test_keep(tmp_path: Path) -> None:
    containerkit("run", "--keep", str(tmp_path / "state"), "--", "touch", "/kept")
    assert containerkit("run", "--keep", str(tmp_path / "state"), "--", "ls", "/kept").stdout == "/kept\n"


def test_plan_prints_and_does_nothing() -> None:
    done = containerkit("plan", "--", "sh")
    assert "clone3(" in done.stdout
    assert "pivot_root('.', '.')" in done.stdout
    assert done.returncode == 0


def test_plan_explains() -> None:
    done = containerkit("plan", "--explain", "--", "sh")
    assert "see pivot_root(2)" in done.stdout
    assert "(asked for by ns.Pid)" in done.stdout


def test_plan_for_other_programs() -> None:
    plan = json.loads(containerkit("plan", "--json", "--", "sh", "-c", "true").stdout)
    assert plan["run"] == ["sh", "-c", "true"]
    assert {step["side"] for step in plan["steps"]} == {"parent", "child"}


def test_trace_goes_to_stderr() -> None:
    done = containerkit("trace", "--", "echo", "out")
    assert done.stdout == "out\n"
    assert " us  child" in done.stderr


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["run", "--", "nothing"], "no such program in this root", 127),
        (["run", "--", "/bin"], "not executable", 126),
        (["run", "--rootfs", "/nowhere", "--", "sh"], "a layer is a directory", 125),
        (["run", "-v", "oops", "--", "sh"], "a volume is SRC:DST", 125),
        (["run", "-h", "x" * 65, "--", "sh"], "1 to 64 bytes", 125),
        (["run", "--programs", "nothing-like-it", "--", "sh"], "nothing-like-it", 125),
    ],
)
def test_errors_are_one_message(words: list[str], said: str, code: int) -> None:
    done = containerkit(*words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_usage() -> None:
    assert containerkit("fly").returncode == 2
    assert containerkit("images", "--nothing").returncode == 2


@pytest.mark.parametrize(
    "words", [["run"], ["run", "--"], ["run", "--timeout", "soon", "--", "true"], ["run", "--share", "all", "--", "true"]]
)
def test_bad_usage_of_run_has_an_exit_code_of_its_own(words: list[str]) -> None:
    done = containerkit(*words)
    assert done.returncode == 125
    assert "usage: containerkit run" in done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(f"{sys.executable} -m containerkit plan -- sh | true", shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_doctor() -> None:
    assert "user namespaces" in containerkit("doctor").stdout
    assert json.loads(containerkit("doctor", "--json").stdout)


def test_demo_shows_both_sides() -> None:
    done = containerkit("demo")
    assert done.returncode == 0, done.stderr
    for words in ("clone3(", "$ hostname", "lesson", "uid=0(root)", "its own", "added    /hello", "deleted  /etc/hosts", "us  child"):
        assert words in done.stdout, words


def test_the_plan_of_a_terminal_shows_how_it_is_opened() -> None:
    assert "TIOCGPTPEER" in containerkit("plan", "-t", "--", "sh").stdout
    assert "TIOCGPTPEER" not in containerkit("plan", "--", "sh").stdout


def test_a_terminal() -> None:
    """On a real terminal the program gets the typed text, the window's size and Ctrl-C."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*COMMAND, "run", "-t", "--programs", "sh,stty,sleep", "--", "sh"])
    try:
        _until(terminal, b"# ")
        set_size(terminal, 33, 101)
        time.sleep(0.5)
        os.write(terminal, b"stty size; sleep 100\n")
        _until(terminal, b"33 101")
        time.sleep(0.5)
        os.write(terminal, b"\x03")
        _until(terminal, b"# ")
        os.write(terminal, b"exit 3\n")
        while True:
            try:
                if not os.read(terminal, 1024):
                    break
            except OSError:
                break
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def _until(terminal: int, words: bytes) -> bytes:
    said = b""
    while words not in said:
        said += os.read(terminal, 1024)
    return said
