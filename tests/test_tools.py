"""The scripts in tools/ that the build and CI trust: the table of system call numbers, and the checks on skips and sentences."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import check_skips
import pytest
import sentences
import syscall_numbers

COMPILERS = [name for name in ("cc", "aarch64-linux-gnu-gcc") if shutil.which(name)]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_compiler_agrees_with_every_number(compiler: str) -> None:
    table = syscall_numbers.numbers([compiler])
    checks = (f'#ifdef __NR_{name}\n_Static_assert(__NR_{name} == {number}, "{name}");\n#endif' for name, number in table.items())
    source = "\n".join(["#include <sys/syscall.h>", *checks])
    subprocess.run([compiler, "-fsyntax-only", "-x", "c", "-"], input=source, text=True, check=True)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_call_of_the_headers_is_missing(compiler: str) -> None:
    source = "#include <sys/syscall.h>\n"
    text = subprocess.run([compiler, "-dM", "-E", "-x", "c", "-"], input=source, capture_output=True, text=True, check=True).stdout
    named = set(re.findall(r"__NR_(\w+)", text)) - syscall_numbers.NOT_CALLS
    assert named <= syscall_numbers.numbers([compiler]).keys()


def test_calls_that_old_headers_lack_are_in_the_table() -> None:
    table = syscall_numbers.numbers(["cc"])
    assert [table[name] for name in ("clone3", "mount_setattr", "cachestat", "statmount", "mseal", "file_setattr")] == [
        435, 442, 451, 457, 462, 469,
    ]  # fmt: skip


def test_the_table_is_sorted_and_not_rewritten_without_a_change(tmp_path: Path) -> None:
    target = tmp_path / "build/ck_numbers.h"
    syscall_numbers.write(target)
    lines = target.read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r'\{"\w+", \d+\},', line)] == []
    names = [line.split('"')[1] for line in lines]
    assert names == sorted(names)
    os.utime(target, ns=(1, 1))
    syscall_numbers.write(target)
    assert target.stat().st_mtime_ns == 1
    assert [path.name for path in target.parent.iterdir()] == ["ck_numbers.h"]


TESTS = """
import pytest
def test_runs(): pass
@pytest.mark.skip(reason="no crun here")
def test_is_skipped(): pass
"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Return the report of a real run of pytest with one test passed and one skipped."""
    (tmp_path / "test_sample.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=junit.xml", "test_sample.py"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    return tmp_path / "junit.xml"


@pytest.mark.parametrize(
    ("allowed", "code"),
    [("", 1), ("# no crun here\n", 1), ("crun\n", 1), ("no crun\n", 0), ("nothing\n\nno (crun|runc)\n", 0)],
)
def test_a_skip_must_be_expected(tmp_path: Path, report: Path, allowed: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "allowed.txt").write_text(allowed)
    assert check_skips.main(str(report), str(tmp_path / "allowed.txt")) == code
    named = "unexpected skip: test_sample::test_is_skipped: no crun here" in capsys.readouterr().out
    assert named == bool(code)


def test_a_report_without_tests_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text("<testsuites><testsuite/></testsuites>")
    with pytest.raises(ValueError, match="holds no test"):
        check_skips.skips(tmp_path / "junit.xml")


# Sentences --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "fault"),
    [
        ("function", "What a group used.", "'What'"),
        ("comment", "Whoever comes first makes it.", "'Whoever'"),
        ("module", "Groups of processes.  Who asks gets a view.", "'Who'"),
        ("function", "Closes our copy.", "'Closes'"),
        ("function", "Makes a group.", "'Makes'"),
        ("function", "Close our copy, so that the child's exit reads as end-of-file.", ""),
        ("function", "Bytes of the body, or None.", ""),
        ("class", "Runs functions in threads.", ""),
        ("attribute", "Bytes on disk.", ""),
        ("function", "Pass the signal on.", ""),
        ("function", "Return the answer to `What is this?`.", ""),
        ("comment", "a list of what the kernel refuses", ""),
    ],
)
def test_a_clear_fault_of_a_sentence_is_found(kind: str, text: str, fault: str) -> None:
    found = sentences.clear_fault(sentences.Text("a.py", 1, kind, text))
    assert fault in found
    assert bool(found) == bool(fault)


def test_docstrings_and_comments_are_found_with_their_lines() -> None:
    source = '"""One."""\n\n\ndef f():\n    """Two."""\n    return 1  # three\n\n\n# four\n# five\nA = "# none"\n"""Six."""\n'
    found = {(each.line, each.kind, each.text) for part in (sentences.docstrings, sentences.comments) for each in part("a.py", source)}
    assert found == {
        (1, "module", "One."), (5, "function", "Two."), (6, "comment", "three"), (9, "comment", "four five"), (12, "attribute", "Six."),
    }  # fmt: skip
    assert [(each.line, each.text) for each in sentences.comments_of_c("a.c", "int a;\n/*\n * b\n * c\n */\n")] == [(2, "b\nc")]


def test_the_same_seed_draws_the_same_sentences() -> None:
    assert sentences.draw(20, 7) == sentences.draw(20, 7) != sentences.draw(20, 8)


def test_revised_files_have_no_clear_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert sentences.main([]) == 0, capsys.readouterr().out
