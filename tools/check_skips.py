"""Fail if a test was skipped for an unexpected reason, so that a green run has run what it should.

    python tools/check_skips.py build/junit.xml tests/expected-skips.txt

Both files must exist, and the report must hold at least one test.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree


def skips(report: Path) -> list[tuple[str, str]]:
    """Return test and reason of every skip in a JUnit report.  :raises ValueError: the report holds no test"""
    cases = list(ElementTree.parse(report).iter("testcase"))
    if not cases:
        raise ValueError(f"{report} holds no test")
    found = [(case, skipped) for case in cases for skipped in case.iter("skipped")]
    return [(f"{case.get('classname')}::{case.get('name')}", skipped.get("message", "")) for case, skipped in found]


def patterns(allowed: Path) -> list[re.Pattern[str]]:
    """Parse the regular expressions of the allow list: one a line; empty lines and lines that begin with # do not count."""
    lines = [line.strip() for line in allowed.read_text().splitlines()]
    return [re.compile(line) for line in lines if line and not line.startswith("#")]


def unexpected(report: Path, allowed: Path) -> list[str]:
    """Return one line for every skip whose reason no pattern matches from its beginning."""
    known = patterns(allowed)
    return [f"{test}: {reason}" for test, reason in skips(report) if not any(p.match(reason) for p in known)]


def main(report: str, allowed: str) -> int:
    """Print the unexpected skips.  Return 1 if there are any."""
    lines = unexpected(Path(report), Path(allowed))
    print(*(f"unexpected skip: {line}" for line in lines), f"{len(lines)} unexpected skips", sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
