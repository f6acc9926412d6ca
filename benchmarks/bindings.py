"""The binding from Python to C: cffi, which the library uses, against ctypes on the same C file."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from containerkit import ns
from containerkit.core.compiler import Program
from containerkit.core.spawn import ADDED_BY_CK_START
from containerkit.core.trace import ENTRY
from containerkit.errors import Unavailable
from containerkit.linux.native import extension, number

from . import plans
from .ground import CSRC, Ground, compile_c
from .measure import Budget, Contender, in_turn, timed
from .table import Table

P_PIDFD, WEXITED = 3, 4
CALLS = 2000


class CProgram(ctypes.Structure):
    """The fields at the head of struct ck_program that this module reads."""

    _fields_ = [(n, ctypes.c_uint32) for n in ("size", "steps", "traces", "count", "autopsy", "autopsy_from", "relocs", "reloc_count")] + [
        ("base", ctypes.c_uint64), ("next", ctypes.c_uint32), ("failed", ctypes.c_int32),
    ]  # fmt: skip


class CChild(ctypes.Structure):
    """The fields at the head of struct ck_child."""

    _fields_ = [
        ("program", ctypes.POINTER(CProgram)), ("size", ctypes.c_size_t), ("memfd", ctypes.c_int), ("stack", ctypes.c_void_p),
        ("begin", ctypes.c_uint64), ("end", ctypes.c_uint64), ("pidfd", ctypes.c_int),
    ]  # fmt: skip


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Run the same plan through both bindings, and one call that does next to nothing."""
    # parts without a descriptor of the caller and without a handshake
    plan = plans.bare(ground, ns.Mount(), ns.Pid(), ns.Uts("lesson"), ns.Ipc(), ns.Cgroup())
    program, library = plan.program(), _library(ground)
    runs = {
        "cffi": timed(lambda: _by_cffi(program)),
        "ctypes": timed(lambda: _by_ctypes(library, program)),
        "the whole library": timed(lambda: plans.run(plan)),
    }
    note = "Both do the same: load, start, await, copy the trace, unload, wait, close. The whole library adds streams, slots and a Process."
    clocks = {"cffi": _called(extension().lib.ck_clock), "ctypes": _called(library.ck_clock)}
    return [
        Table("bindings", "A container through cffi and through ctypes", in_turn(runs, budget), base="cffi", notes=[note]),
        Table("bindings-call", "One call of ck_clock(), which reads a register", in_turn(clocks, budget), base="cffi", unit="ns"),
    ]


def _library(ground: Ground) -> Any:
    """Compile csrc/spawn.c to a plain shared library: the extension itself exports no symbols for ctypes."""
    target, numbers = ground.directory / "spawn.so", ground.directory / "ck_numbers.h"
    tool = CSRC.parent / "tools/syscall_numbers.py"
    done = subprocess.run([sys.executable, tool, numbers], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable("a list of system call numbers", probed=done.stderr.strip(), remedy="apt-get install linux-libc-dev")
    compile_c(Path(CSRC / "spawn.c"), target, "-std=gnu11", "-O2", "-shared", "-fPIC", f"-I{CSRC}", f"-I{ground.directory}")
    return _declared(ctypes.CDLL(str(target)))


def _declared(library: Any) -> Any:
    child, word = ctypes.POINTER(CChild), ctypes.c_uint64
    library.ck_load.argtypes, library.ck_load.restype = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int], child
    library.ck_start.argtypes = [child, word, ctypes.c_int]
    library.ck_await_release.argtypes = [child, ctypes.c_int]
    library.ck_unload.argtypes, library.ck_unload.restype = [child], None
    library.ck_call.argtypes, library.ck_call.restype = [ctypes.c_void_p, ctypes.c_int64, *[word] * 6], ctypes.c_int64
    library.ck_clock.argtypes, library.ck_clock.restype = [], word
    return library


def _by_cffi(program: Program) -> None:
    lib, ffi = extension().lib, extension().ffi
    child = lib.ck_load(program.code, len(program.code), -1)
    lib.ck_start(child, _flags(program), -1)
    while lib.ck_await_release(child, 200):
        pass
    failed, pidfd, size = child.program.failed, child.pidfd, ENTRY.size * len(program.child_steps)
    trace = ffi.buffer(child.program, program.traces + size)[program.traces :]
    lib.ck_unload(child)
    info, entry = ffi.new("char[128]"), ffi.new("struct ck_trace *")
    lib.ck_call(entry, number("waitid"), P_PIDFD, pidfd, int(ffi.cast("uintptr_t", info)), WEXITED, 0, 0)
    _done(failed, trace, pidfd)


def _by_ctypes(lib: Any, program: Program) -> None:
    child = lib.ck_load(program.code, len(program.code), -1)
    lib.ck_start(child, _flags(program), -1)
    while lib.ck_await_release(child, 200):
        pass
    seen = child.contents
    failed, pidfd, size = seen.program.contents.failed, seen.pidfd, ENTRY.size * len(program.child_steps)
    trace = ctypes.string_at(ctypes.addressof(seen.program.contents) + program.traces, size)
    lib.ck_unload(child)
    info, entry = ctypes.create_string_buffer(128), ctypes.create_string_buffer(ENTRY.size)
    lib.ck_call(entry, number("waitid"), P_PIDFD, pidfd, ctypes.addressof(info), WEXITED, 0, 0)
    _done(failed, trace, pidfd)


def _flags(program: Program) -> int:
    flags = program.timeline.steps[program.clone].call.args[0]
    assert isinstance(flags, int)
    return int(flags) & ~ADDED_BY_CK_START


def _done(failed: int, trace: bytes, pidfd: int) -> None:
    os.close(pidfd)
    if failed >= 0 or not trace:
        raise RuntimeError(f"step {failed} failed")


def _called(function: Callable[[], int]) -> Contender:
    """Return a contender that measures the nanoseconds of one call, from many in a row."""

    def once() -> float:
        begin = time.perf_counter_ns()
        for _ in range(CALLS):
            function()
        return (time.perf_counter_ns() - begin) / CALLS

    return lambda runs: [once() for _ in range(runs)]
