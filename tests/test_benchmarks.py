"""The benchmarks run, and their tables have their columns.  No number is judged here."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import containerkit as ck
from containerkit import mounts, ns

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler"),
]
REPO = Path(__file__).resolve().parent.parent
NAMES = ["steps", "kinds", "spawning", "running", "peers", "memory", "threads", "bindings", "overlays", "cgroups"]
NAMES += ["unpacking", "layering", "pulling", "building", "loading", "layer_memory"]


def run(*words: str | Path, out: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(out), *map(str, words)]
    return subprocess.run(argv, cwd=REPO, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_benchmarks_run_and_every_table_has_its_columns(name: str, tmp_path: Path) -> None:
    done = run("--no-plots", name, out=tmp_path)
    if lacking := re.search(r"not available here: (.*)", done.stderr):
        pytest.skip(f"needs {lacking[1]}")
    assert done.returncode == 0, done.stderr
    tables = json.loads((tmp_path / "results.json").read_text())
    assert tables
    for table in tables:
        assert table["rows"]
        for row in table["rows"].values():
            assert row["p10"] <= row["median"] <= row["p90"]
            assert row["runs"] >= 2
            assert (row["ratio"] is None) == (not table["base"])
        assert set(table["machine"]) == {"processor", "cores", "memory", "kernel", "python", "date"}
        assert table["title"] in done.stdout
    page = (tmp_path / "results.md").read_text()
    assert page.count("p10..p90 | ratio | runs |") == len(tables)
    assert page.count("- Machine: ") == len(tables)
    assert os.uname().nodename not in page


def test_a_plot_for_each_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install containerkit[bench]")
    done = run("bindings", out=tmp_path)
    assert done.returncode == 0, done.stderr
    for table in json.loads((tmp_path / "results.json").read_text()):
        assert "<svg" in (tmp_path / f"{table['name']}.svg").read_text()
        assert f"({table['name']}.svg)" in (tmp_path / "results.md").read_text()


def test_without_matplotlib_tables_are_written_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not here')\n")
    argv = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(tmp_path / "out"), "bindings"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(argv, cwd=REPO, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "[bench]'" in done.stderr
    assert (tmp_path / "out/results.md").exists()


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ck.Plan], Any]:
    """Return the C program for a plan."""
    monkeypatch.syspath_prepend(REPO)
    made, ground = importlib.import_module("benchmarks.floor"), importlib.import_module("benchmarks.ground")
    return lambda plan: made.floor(ground.Ground(tmp_path), plan, "tested")


def test_the_floor_says_which_step_failed_in_the_turn_where_it_failed(floor: Any) -> None:
    with floor(ck.plan(run=["/dev/null"])) as turn, pytest.raises(ck.ContainerKitError, match=r"step \d+ failed: Permission denied"):
        turn(1)


def test_the_floor_opens_in_every_turn_what_the_parent_opens(floor: Any) -> None:
    plan = ck.plan(ns.Mount(), mounts.Masked(["/etc/passwd"]), mounts.Masked(["/etc/group"]), run=["/bin/true"], hide_executable=False)
    with floor(plan) as turn:
        assert [len(turn(count)) for count in (1, 3)] == [1, 3]


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    assert run("nonsense", out=tmp_path).returncode == 2
