"""How much of a program's output is kept, and where it goes."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import ns

SH = ["/bin/sh", "-c"]
FLOOD = "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"


def test_what_is_over_the_limit_is_read_and_dropped() -> None:
    result = ck.run([*SH, "head -c 3000000 /dev/zero; head -c 10 /dev/zero >&2; exit 3"], output_limit=1000)
    assert (len(result.stdout), len(result.stderr), result.truncated, result.exit_code, result.stopped_by) == (1000, 10, True, 3, None)


@pytest.mark.parametrize(("limit", "kept", "truncated"), [(0, 0, True), (9, 9, True), (10, 10, False), (11, 10, False), (None, 10, False)])
def test_the_limit_is_exact(limit: int | None, kept: int, truncated: bool) -> None:
    result = ck.run([*SH, "printf 0123456789"], output_limit=limit)
    assert (result.stdout, result.truncated) == (b"0123456789"[:kept], truncated)


def test_a_limit_of_nothing_lets_silence_pass() -> None:
    assert not ck.run(["/bin/true"], output_limit=0, over_limit="kill").truncated


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("parts", [[], [ns.User(), ns.Mount(), ns.Pid()]])
def test_over_the_limit_it_can_be_killed(parts: list[Any], stream: str) -> None:
    result = ck.run([*SH, FLOOD + (" >&2" if stream == "stderr" else "")], *parts, output_limit=5000, over_limit="kill", timeout=60)
    assert (result.stopped_by, result.exit_code, result.truncated, len(getattr(result, stream))) == ("output", 137, True, 5000)


def test_the_callers_memory_stays_bounded() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = ck.run(["/usr/bin/head", "-c", "400000000", "/dev/zero"], output_limit=1 << 20)
    assert result.truncated
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_without_a_word_64_mib_are_kept() -> None:
    result = ck.run(["/usr/bin/head", "-c", str(65 << 20), "/dev/zero"])
    assert (len(result.stdout), result.truncated) == (64 << 20, True)
    assert len(ck.run(["/usr/bin/head", "-c", str(65 << 20), "/dev/zero"], output_limit=None).stdout) == 65 << 20


def test_communicate_is_bounded_too() -> None:
    with ck.plan(run=["/usr/bin/head", "-c", "100000", "/dev/zero"]).spawn(stdout=ck.PIPE) as process:
        assert (process.communicate(output_limit=5)[0], process.truncated, process.returncode) == (bytes(5), True, 0)


def test_communicate_has_what_was_read_ahead() -> None:
    with ck.plan(run=[*SH, "printf 'one\\ntwo\\n'; read x; echo three"]).spawn(stdin=ck.PIPE, stdout=ck.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"one\n"
        assert process.communicate(b"x\n")[0] == b"two\nthree\n"


# Where it goes --------------------------------------------------------------------------------------------------


def test_into_files(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        result = ck.run([*SH, "echo out; echo err >&2"], stdout=out, stderr=err.fileno())
    assert (result.stdout, result.stderr) == (b"", b"")
    assert ((tmp_path / "out").read_bytes(), (tmp_path / "err").read_bytes()) == (b"out\n", b"err\n")


def test_into_one_and_into_nothing() -> None:
    result = ck.run([*SH, "echo out; echo err >&2"], stderr=ck.STDOUT)
    assert (result.stdout, result.stderr) == (b"out\nerr\n", b"")
    result = ck.run([*SH, "echo out; echo err >&2"], stdout=ck.DEVNULL)
    assert (result.stdout, result.stderr) == (b"", b"err\n")


def test_a_function_gets_each_piece() -> None:
    pieces: list[bytes] = []
    result = ck.run(["/usr/bin/head", "-c", "1000000", "/dev/zero"], stdout=pieces.append, output_limit=0)
    assert (result.stdout, result.truncated) == (b"", False)
    assert b"".join(pieces) == bytes(1_000_000)
    assert max(map(len, pieces)) <= 65536


def test_what_a_function_raises_kills_the_program_and_arrives() -> None:
    seen: list[int] = []

    def refuse(piece: bytes) -> None:
        seen.append(int(piece))
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        ck.run([*SH, "echo $$; exec sleep 60"], stdout=refuse)
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"stdout": "out.txt"}, "stdout is a file"),
        ({"stderr": object()}, "stderr is a file"),
        ({"stdout": ck.STDOUT}, "only where stderr goes"),
        ({"stdout": ck.PTY}, "plan.spawn"),
        ({"output_limit": -1}, "output_limit"),
        ({"output_limit": "64M"}, "output_limit"),
        ({"over_limit": "stop"}, "over_limit"),
        ({"timeout": "2"}, "timeout"),
        ({"input": "text"}, "input wants bytes"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(tmp_path: Path, terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ck.PlanError, match=words):
        ck.run(["touch", str(tmp_path / "there")], **terms)
    assert not (tmp_path / "there").exists()


# Programs that are difficult to talk to -------------------------------------------------------------------------


def test_a_flood_of_errors_while_the_input_is_not_read() -> None:
    begin = time.monotonic()
    result = ck.run([*SH, FLOOD + " >&2"], input=bytes(1 << 20), timeout=1, output_limit=1000)
    assert (result.stopped_by, len(result.stderr), result.truncated) == ("timeout", 1000, True)
    assert time.monotonic() - begin < 30


def test_outputs_that_are_closed_are_not_the_end() -> None:
    result = ck.run([*SH, "exec >&- 2>&-; sleep 0.2; exit 5"], timeout=60)
    assert (result.exit_code, result.stopped_by) == (5, None)
    assert ck.run([*SH, "exec >&- 2>&-; sleep 60"], timeout=0.3).stopped_by == "timeout"


def test_who_reads_slowly_still_has_a_timeout() -> None:
    with ck.plan(run=[*SH, FLOOD]).spawn(stdout=ck.PIPE) as process, pytest.raises(subprocess.TimeoutExpired) as caught:
        process.communicate(timeout=0.3, output_limit=10)
    assert len(caught.value.stdout) == 10
    assert process.truncated


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
