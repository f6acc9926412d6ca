"""The promises of the book and the README about their scripts, and the scripts run by an ordinary user."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import scripts

import containerkit as ck
from containerkit.linux.syscalls import Bytes, Call

REPO = Path(__file__).resolve().parent.parent
README = REPO / "README.md"


def block(language: str) -> str:
    """Return the first block of a language in the README."""
    found = re.search(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    return found[1]


def without_numbers(text: str) -> str:
    """Remove pids, and the number of a plan's calls, which depends on the kernel."""
    return re.sub(r" *\d+", "N", text).strip()


def test_the_example_in_the_readme_is_a_script_of_the_book() -> None:
    assert block("python") == (scripts.DOCS / "scripts/readme.py").read_text()


def test_the_example_prints_what_the_readme_says() -> None:
    ran = scripts.run(scripts.DOCS / "scripts/readme.py")
    assert ran.exit_code == 0, ran.output
    assert without_numbers(ran.output) == without_numbers(block("text"))


def test_the_readme_names_files_that_are_there() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (REPO / link).exists()] == []


@pytest.mark.root
@pytest.mark.parametrize("script", scripts.all_scripts(), ids=lambda script: script.stem)
def test_script_runs_for_an_ordinary_user(script: Path, as_user) -> None:  # type: ignore[no-untyped-def]
    done = as_user.run(sys.executable, script)
    assert scripts.as_expected(script, scripts.Ran(done.stdout + done.stderr, done.returncode)), done.stdout + done.stderr


def test_a_part_may_wait_in_a_plan_that_dies_with_its_parent() -> None:
    """The ppoll of the chapters' Wait was once mistaken for the check on the caller."""
    wait = Call("ppoll", (None, 0, Bytes(bytes(16), "0s"), None, 0))
    plain = ck.plan(run=["true"], die_with_parent=True)
    made = ck.plan(Waiting(wait), run=["true"], die_with_parent=True)
    assert [str(step) for step in plain.child_steps if step.call.name == "ppoll"] == ["ppoll([5: POLLIN], 1, 0s, NULL, 0)"]
    assert next(str(step) for step in made.child_steps if step.call.name == "ppoll") == str(wait)


@dataclass(frozen=True)
class Waiting:
    call: Call

    def steps(self) -> Iterable[ck.Step]:
        yield ck.Step.child(ck.Phase.INSIDE, self.call, why="wait a moment")
