"""Build `containerkit._spawn` from spawn.c: cffi's API mode, one build for every Python from 3.11.

The declarations that Python sees stand in spawn.h between two marker lines, so that there is one copy of them.
"""

from __future__ import annotations

import runpy
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "/* cffi: begin */", "/* cffi: end */"


def declarations(header: Path) -> str:
    """Return the lines of `header` between the two markers.  :raises ValueError: a marker is missing"""
    lines = [line.strip() for line in header.read_text().splitlines()]
    return "\n".join(lines[lines.index(BEGIN) + 1 : lines.index(END)])


def make_ffi() -> FFI:
    """Write build/ck_numbers.h, then describe the extension."""
    runpy.run_path(str(ROOT / "tools/syscall_numbers.py"))["write"](ROOT / "build/ck_numbers.h")
    ffi = FFI()
    ffi.cdef(declarations(ROOT / "csrc/spawn.h"))
    ffi.set_source(
        "containerkit._spawn",
        '#include "spawn.h"',
        sources=["csrc/spawn.c"],
        depends=["csrc/spawn.h", "build/ck_numbers.h"],
        include_dirs=["csrc", "build"],
        define_macros=[("Py_LIMITED_API", "0x030b0000")],
        py_limited_api=True,
        extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
    )
    return ffi


ffibuilder = make_ffi()
