"""The verb `containerkit top`: rows, sizes, shares and trees of processes."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

import psutil
import pytest

import containerkit as ck
from containerkit.base import extras
from containerkit.cgroup import CpuStat, MemoryStat, PidsStat, Stat
from containerkit.cli import top


@pytest.mark.parametrize(
    ("number", "shown"), [(None, ""), (0, "0B"), (1023, "1023B"), (1024, "1.0K"), (64 << 20, "64M"), (3 << 29, "1.5G"), (1 << 52, "4096T")]
)
def test_sizes_are_for_people(number: int | None, shown: str) -> None:
    assert top.size(number) == shown


def sample(at: float, used: float | None) -> top.Sample:
    cpu = CpuStat(used, None, None, 0, 0, 0.25 * at, 0, 0.0)
    memory = MemoryStat(1 << 20, 2 << 20, None, {"oom_kill": 3})
    return top.Sample("web", 4, Stat(cpu, memory, None, PidsStat(4, None, 7)), "max", at)


def test_cpu_shares_are_of_the_time_between_two_samples() -> None:
    assert top.row(sample(2.0, 1.5), sample(1.0, 1.0)) == ("web", "4", "50%", "25%", "1.0M", "2.0M", "max", "7", "3")
    assert top.row(sample(2.0, 1.5), None)[2:4] == ("", "")
    assert top.row(sample(2.0, None), sample(1.0, None))[2:4] == ("", "25%")


def test_a_number_that_no_controller_counts_is_shown_empty() -> None:
    bare = top.Sample("bare", 0, Stat(None, None, None, None), "", 0.0)
    assert top.row(bare, bare) == ("bare", "0", *[""] * 7)


def test_without_rich_the_error_names_the_package() -> None:
    source = "import sys; sys.modules['rich'] = sys.modules['rich.live'] = None\n"
    source += "import argparse, containerkit as ck\nfrom containerkit.cli import top\n"
    source += "try: top._top(argparse.Namespace(delay=0, number=1))\nexcept ck.Unavailable as e: print(e.remedy)"
    expected = f"{extras.command('top')}\n"
    assert subprocess.run([sys.executable, "-c", source], capture_output=True, text=True).stdout == expected


@pytest.mark.root
def test_living_groups_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich", reason="needs rich: pip install containerkit[top]")
    with ck.Cgroup("shown", memory_max="64M"):
        assert top._top(argparse.Namespace(delay=0.01, number=2)) == 0
    said = capsys.readouterr().out
    assert "shown" in said
    assert "64M" in said
    assert "host: " in said


def test_the_processes_of_a_group_are_a_tree() -> None:
    argv = ["sh", "-c", "sleep 30 & sleep 30 & echo ready; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        children = psutil.Process(process.pid).children()
        lines = list(top.trees([*(child.pid for child in children), process.pid, 2**22 + 1]))
        for child in children:
            child.kill()
    assert lines[0].startswith(f"{process.pid} sh")
    assert sorted(lines[1:]) == sorted(line for line in lines[1:] if line.startswith("  ") and " sleep " in line)
    assert len(lines) == 3


def test_the_figures_of_the_host() -> None:
    assert re.fullmatch(r"host: \d+% of \d+ processors, [\d.]+[MGT] of [\d.]+[MGT] memory, \d+ processes", top.host())
