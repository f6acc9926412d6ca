"""The compiled extension, and the numbers of system calls on this machine.

The numbers come from the kernel headers that the extension was built with, so Python and C agree on them.
"""

from __future__ import annotations

import os
from functools import cache

from ..errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@cache
def extension() -> Any:
    """Return the compiled extension.  Raise Unavailable where it is missing: printing plans works without it."""
    try:
        from .. import _spawn  # type: ignore[attr-defined]
    except ImportError as error:
        raise Unavailable(
            "the compiled extension containerkit._spawn",
            probed=f"import on {os.uname().machine}: {error}",
            remedy="install a wheel for this machine, or build it: a C compiler and `pip install .`",
        ) from error
    return _spawn


@cache
def number(name: str) -> int:
    """Return the number of a system call on this machine."""
    found = int(extension().lib.ck_number(name.encode()))
    if found < 0:
        raise Unavailable(f"the system call {name}", probed="the kernel headers the extension was built with")
    return found


def call(name: str, *arguments: int | bytes | bytearray) -> int:
    """Make a system call from this thread, which is not the child of a plan.

    :param name: as in its man page
    :param arguments: numbers, or buffers that the kernel reads (text ends with a zero byte) or writes
    :return: its result
    :raises OSError: its error number
    """
    ffi, lib = extension().ffi, extension().lib
    buffers = [value if isinstance(value, int) else ffi.from_buffer(value) for value in arguments]
    values = [value if isinstance(value, int) else int(ffi.cast("uintptr_t", value)) for value in buffers]
    result = int(lib.ck_call(ffi.new("struct ck_trace *"), number(name), *values, *[0] * (6 - len(values))))
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result
