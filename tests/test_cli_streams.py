"""The command with closed, full or unread standard streams; interrupted; and with --debug."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import until

import containerkit as ck

REPO = Path(ck.__file__).resolve().parent.parent
COMMAND = f"{sys.executable} -m containerkit"
HIDDEN = "hunter2-is-secret"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPO), "CONTAINERKIT_STORE": str(tmp_path / "store"), "HOME": str(tmp_path)}


def shell(text: str, environment: dict[str, str]) -> tuple[int, str, str]:
    """Run a line of bash; the exit code is that of the command itself."""
    argv = ["bash", "-c", f"{text}; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, timeout=60)
    return done.returncode, done.stdout, done.stderr


VERBS = ["images", "run --help", "images --no-such-flag", "inspect nosuch", "load"]
CLOSED = [">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"]
GONE = ["2>&1 | true", "> /dev/full 2>&1"]


@pytest.mark.parametrize("verb", VERBS)
def test_no_closed_full_or_unread_stream_ends_in_a_traceback(verb: str, environment: dict[str, str]) -> None:
    for streams in CLOSED + GONE:
        code, out, err = shell(f"{COMMAND} {verb} {streams}", environment)
        for word in ("Traceback", "Exception ignored", "NoneType"):
            assert word not in out + err, (streams, out, err)
        assert code in (0, 1, 2, 125, 141), (streams, code)


@pytest.mark.parametrize("streams", [">&-", "> /dev/full", "<&- >&-"])
@pytest.mark.parametrize("verb", ["images", "doctor --json", "--help"])
def test_lost_output_is_reported_as_an_error(verb: str, streams: str, environment: dict[str, str]) -> None:
    code, _, err = shell(f"{COMMAND} {verb} {streams}", environment)
    assert code in (1, 125)
    assert "output: " in err


def test_no_file_of_ours_gets_the_number_of_a_closed_stream(environment: dict[str, str], tmp_path: Path) -> None:
    """Without the repair, printed text would be written into the store."""
    shell(f"{COMMAND} images <&- >&- 2>&-", environment)
    assert not any(b"REPOSITORY" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_reader_that_leaves_gives_the_exit_code_of_a_shell(environment: dict[str, str]) -> None:
    code, _, err = shell(f"{COMMAND} doctor | true", environment)
    assert (code in (0, 141), err) == (True, "")


def test_doctor_speaks_json_and_nothing_else(environment: dict[str, str]) -> None:
    for line in (f"{COMMAND} doctor --json", f"{COMMAND} --debug doctor --json", f"{COMMAND} doctor --debug --json"):
        findings = json.loads(shell(line, environment)[1])
        assert {"name", "ok", "found", "remedy"} == set(findings[0])


# Interrupted ----------------------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def interrupted(words: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Return the exit code and the errors of a command that gets Ctrl-C while it waits."""
    argv = [sys.executable, "-m", "containerkit", *words]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        until(lambda: waits(process.pid), 20)
        process.send_signal(signal.SIGINT)
        end = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.kill()
        assert process.stderr
        return process.wait(), process.stderr.read()


def waits(pid: int) -> bool:
    """Whether the command has loaded its modules and sleeps in a call."""
    try:
        return all(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "S" or time.sleep(0.05) for _ in range(12))
    except OSError:
        return True


WAITING = [["load"], ["import", "-"], ["build", "-"], ["pull", "SILENT/a/b:1"], ["login", "-u", "a", "-p", "b", "SILENT"]]


@pytest.mark.parametrize("words", WAITING)
def test_ctrl_c_is_exit_code_130_without_a_traceback(words: list[str], silent: str, environment: dict[str, str]) -> None:
    if words[0] in ("pull", "login"):
        pytest.importorskip("urllib3", reason="needs urllib3: pip install containerkit[registry]")
    code, err = interrupted([word.replace("SILENT", silent) for word in words], environment)
    assert (code, "Traceback" in err) == (130, False), err


# The log --------------------------------------------------------------------------------------------------------


def test_the_library_logs_nothing_by_default() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("containerkit").handlers)
    program = "import containerkit as ck; ck.run(['/bin/true'])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stderr == b""


def test_the_log_names_the_program_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "containerkit"):
        ck.run(["/bin/sh", "-c", f"exit 3; {HIDDEN}"], env={"PASSWORD": HIDDEN}, input=HIDDEN.encode())
    assert any("runs /bin/sh" in line for line in caplog.messages)
    assert any("exit code 3" in line for line in caplog.messages)
    assert HIDDEN not in caplog.text
    assert {record.name.partition(".")[0] for record in caplog.records} == {"containerkit"}


@pytest.mark.parametrize("line", ["--debug save nosuch", "save --debug nosuch", "save nosuch --debug"])
def test_debug_may_be_given_before_or_after_the_verb(line: str, environment: dict[str, str]) -> None:
    code, out, err = shell(f"{COMMAND} {line}", environment)
    assert (code, out) == (1, "")
    assert "containerkit.cli: Missing" in err


def test_debug_logs_the_registry_s_url_and_no_password(environment: dict[str, str]) -> None:
    pytest.importorskip("urllib3", reason="needs urllib3: pip install containerkit[registry]")
    code, _, err = shell(f"{COMMAND} --debug login --plain-http -u somebody -p {HIDDEN} 127.0.0.1:1", environment)
    assert (code, "GET http" in err, HIDDEN in err) == (1, True, False), err
