"""Run all fuzzers at once.  Print how many inputs each tried, and the bytes of each input that failed.

python -m fuzz SECONDS [NAME ...]
"""

from __future__ import annotations

import argparse
import base64
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import NAMES

MEMORY = 1024  # MiB for one fuzzer
LONGEST = 20  # seconds for one input
GRACE = 60  # seconds that a fuzzer gets to end after its time is over
SHOWN = 25  # lines of the output of a fuzzer that found a failure
STATUS = re.compile(r"^#(\d+)\t\w+ +cov: (\d+) ft: \d+ corp: (\d+)/", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one fuzzer.

    :ivar code: its exit code; 0 if no input failed
    :ivar said: all that it printed
    :ivar finds: the inputs that failed
    """

    name: str
    code: int
    said: str
    finds: tuple[bytes, ...]

    @property
    def found(self) -> bool:
        return bool(self.code or self.finds)

    def __str__(self) -> str:
        status = STATUS.findall(self.said)
        runs, edges, inputs = status[-1] if status else ("0", "0", "0")
        line = f"{self.name:24} {int(runs):>9} executions  {int(edges):>6} edges  {int(inputs):>5} inputs kept"
        if not self.found:
            return line
        text = "\n".join(line for line in self.said.splitlines() if not line.startswith(("#", "INFO:")))
        last = textwrap.indent("\n".join(text.splitlines()[-SHOWN:]), "  ")
        shown = "".join(
            f"\n  base64 -d <<< {base64.b64encode(each).decode()} > found && python -m {self.name} found" for each in self.finds
        )
        return f"{line}  FOUND SOMETHING, exit code {self.code}\n{last}{shown}"


def fuzz(modules: Iterable[str], seconds: int) -> list[Outcome]:
    """Run fuzzers side by side, each in a process of its own, with a limit on time and memory."""
    with tempfile.TemporaryDirectory(prefix="ck-fuzz-") as scratch:
        started = [(name, start(name, seconds, Path(scratch))) for name in modules]
        return [outcome(name, process, seconds, Path(scratch)) for name, process in started]


def start(name: str, seconds: int, scratch: Path) -> subprocess.Popen[bytes]:
    finds = scratch / name
    finds.mkdir()
    limits = [f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}", f"-timeout={LONGEST}", f"-artifact_prefix={finds}/"]
    with open(scratch / f"{name}.log", "wb") as log:
        return subprocess.Popen([sys.executable, "-m", name, *limits], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def outcome(name: str, process: subprocess.Popen[bytes], seconds: int, scratch: Path) -> Outcome:
    try:
        code = process.wait(seconds + GRACE)
    except subprocess.TimeoutExpired:
        process.terminate()
        code = process.wait()
    said = (scratch / f"{name}.log").read_text(errors="replace")
    return Outcome(name, code, said, tuple(path.read_bytes() for path in sorted((scratch / name).iterdir())))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the fuzzers of the command line.  Return 1 if an input failed."""
    parser = argparse.ArgumentParser(prog="fuzz", description="runs the fuzzers side by side")
    parser.add_argument("seconds", type=int)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(NAMES), help=f"of {', '.join(NAMES)}; all unless given")
    given = parser.parse_args(argv)
    outcomes = fuzz([name if "." in name else f"{__package__}.{name}" for name in given.names], given.seconds)
    print(*outcomes, sep="\n")
    return int(any(each.found for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
