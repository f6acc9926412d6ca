"""The scripts of the book: which there are, which page shows which, and running one.

Needs nothing but the standard library, so that the tests can use it too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent
CAP_SYS_ADMIN = 21
SHOWN = re.compile(r"^(?:`{3,}|:{3,}) *\{ck-run\} +(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    """The output of a script (both streams, in order), its exit code, below 0 for a signal, and its plot.svg or ""."""

    output: str
    exit_code: int
    plot: str = ""


def all_scripts(docs: Path = DOCS) -> list[Path]:
    """Return every script of the book, sorted by name."""
    return sorted((docs / "scripts").glob("*.py"))


def shown_scripts(docs: Path = DOCS) -> dict[Path, list[Path]]:
    """Return the pages that show a script, by the script; the script need not exist."""
    shown: dict[Path, list[Path]] = {}
    for page in sorted(docs.glob("**/*.md")):
        for name in SHOWN.findall(page.read_text()):
            shown.setdefault((page.parent / name).resolve(), []).append(page)
    return shown


def must_fail(script: Path) -> bool:
    """Return whether the script shows a failure, which a name that ends in _fails.py says."""
    return script.stem.endswith("_fails")


def run(script: Path, *, timeout: float = 60) -> Ran:
    """Run `script` with this Python in an empty directory.

    :param timeout: seconds; raises subprocess.TimeoutExpired after that
    """
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    with tempfile.TemporaryDirectory(prefix="book-") as empty:
        done = subprocess.run(
            [sys.executable, str(script.resolve())],
            cwd=empty,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        plot = Path(empty, "plot.svg")
        drawn = plot.read_text() if plot.exists() else ""
    return Ran(done.stdout.decode(errors="replace"), done.returncode, drawn)


def as_expected(script: Path, ran: Ran) -> bool:
    """Return whether the script ended as its name says.  An end by a signal is always wrong."""
    return ran.exit_code > 0 if must_fail(script) else ran.exit_code == 0


def privileged() -> bool:
    """Return whether this process has CAP_SYS_ADMIN, which nearly every script of the book needs."""
    status = Path("/proc/self/status").read_text()
    effective = re.search(r"^CapEff:\s*(\w+)$", status, re.MULTILINE)
    return effective is not None and bool(int(effective[1], 16) >> CAP_SYS_ADMIN & 1)
