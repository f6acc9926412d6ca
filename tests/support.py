"""Helpers of several test files: programs made of C, images with one step changed, the same tests as another user."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import containerkit as ck
from containerkit.core.compiler import Program
from containerkit.core.spawn import spawn
from containerkit.linux.native import extension
from containerkit.linux.syscalls import Bytes, Call

REPO = Path(__file__).resolve().parent.parent
NO_SUCH_CALL = 9999
TRUE = "int main(void) { return 0; }"


def compiled(source: str, program: Path, *flags: str) -> Path:
    """A static program made of C."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or pytest.skip("needs a C compiler")
    subprocess.run([compiler, "-xc", "-Os", "-static", *flags, "-o", program, "-"], input=source.encode(), check=True)
    program.chmod(0o755)
    return program


def run_program(program: Program) -> ck.Process:
    """Spawn a compiled program, as Plan.spawn() does."""
    return spawn(program, (None, None, None), {})


def with_number(program: Program, index: int, number: int = NO_SUCH_CALL) -> Program:
    """The program whose child's step `index` is another system call."""
    image, ffi = bytearray(program.code), extension().ffi
    steps = struct.unpack_from("I", image, ffi.offsetof("struct ck_program", "steps"))[0]
    struct.pack_into("q", image, steps + index * ffi.sizeof("struct ck_step"), number)
    return dataclasses.replace(program, code=bytes(image))


def pause(seconds: float) -> Call:
    """A call that takes so long and does nothing."""
    time_spec = struct.pack("qq", int(seconds), int(seconds % 1 * 1e9))
    return Call("ppoll", (None, 0, Bytes(time_spec, f"{seconds}s"), None, 0))


def until(condition: Callable[[], Any], seconds: float = 3.0) -> Any:
    """The first true value of `condition`; the last false one when the time is over."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.005)
    return value


def again(user: Any, file: str, *more: str) -> None:
    """Run the tests of a file that do not need root once more, as the ordinary user."""
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        f"--rootdir={REPO}",
        file,
        "-m",
        "not root and not unprivileged",
        *more,
    ]
    done = user.popen(*argv, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = done.communicate(timeout=110)
    passed = re.search(r"(\d+) passed", out)
    assert done.returncode == 0, out
    assert passed, out
    assert int(passed[1]) > 0
