"""The compiled extension, and the numbers of system calls on this machine.

The numbers come from the kernel headers that the extension was built with, so Python and C agree on them.
"""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

from ..errors import Unavailable


@cache
def extension() -> Any:
    """The compiled extension.  Raises Unavailable where it is missing, as it may be for who only prints plans."""
    try:
        from .. import _spawn  # type: ignore[attr-defined]
    except ImportError as error:
        raise Unavailable(
            "the compiled extension containerkit._spawn",
            probed=f"import on {platform.machine()}: {error}",
            remedy="install a wheel for this machine, or build it: a C compiler and `pip install .`",
        ) from error
    return _spawn


@cache
def number(name: str) -> int:
    """The number of a system call on this machine."""
    found = int(extension().lib.ck_number(name.encode()))
    if found < 0:
        raise Unavailable(f"the system call {name}", probed="the kernel headers the extension was built with")
    return found
