"""The machine a table was measured on: the facts that make numbers comparable, without its name."""

from __future__ import annotations

import datetime
import os
import platform
from functools import cache
from pathlib import Path


@cache
def describe() -> dict[str, str]:
    """Return processor, cores, memory, kernel, Python, date."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"Linux {_plain(platform.release())}",
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def line() -> str:
    """Return the facts in one line."""
    known = describe()
    return f"{known['processor']}, {known['cores']} cores, {known['memory']}, {known['kernel']}, Python {known['python']}, {known['date']}"


def _processor() -> str:
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return (names[0] if names else "unknown processor") + f" ({platform.machine()})"


def _plain(release: str) -> str:
    """Return the version without a vendor's suffix."""
    return release.partition("-")[0]


def huge_pages() -> str:
    """Return the setting of transparent huge pages, which decides how much a fork of a large process copies."""
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    text = path.read_text() if path.exists() else "[never]"
    return text.partition("[")[2].partition("]")[0]
