"""The book: every script runs and is shown, and the extensions that check this work themselves."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import scripts

from containerkit.diagnose.leaks import leaks

EXTENSIONS = scripts.DOCS / "_ext"

CONF = f"""
import sys
sys.path[:0] = [{str(EXTENSIONS)!r}, "."]
project = "sample"
extensions = ["myst_parser", "sphinx.ext.autodoc", "runs", "shown"]
exclude_patterns = ["scripts"]
shown_package = "sample"
"""
API = "# Sample\n\n```{eval-rst}\n.. automodule:: sample\n   :members:\n\n.. automodule:: sample.shown\n   :members:\n```\n"
ROOT_MODULE = '"The package."\nfrom . import shown\nfrom .shown import f\n__all__ = ["f", "shown"]\n'
MODULE = '__all__ = ["f"]\ndef f() -> None:\n    "Does nothing."\n'


@pytest.mark.root
@pytest.mark.parametrize("script", scripts.all_scripts(), ids=lambda script: script.stem)
def test_script_ends_as_its_name_says_and_leaves_nothing(script: Path) -> None:
    if not scripts.privileged():
        pytest.skip("needs CAP_SYS_ADMIN")
    with leaks():
        ran = scripts.run(script)
    assert scripts.as_expected(script, ran), f"exit code {ran.exit_code}\n{ran.output}"


def test_there_are_scripts() -> None:
    assert scripts.all_scripts()


def test_every_script_is_shown_and_every_shown_script_is_there() -> None:
    assert sorted(scripts.shown_scripts()) == scripts.all_scripts()


def imported(script: Path) -> set[str]:
    """Return the packages that a script imports itself."""
    nodes = list(ast.walk(ast.parse(script.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in names}


def test_the_docs_extra_brings_what_the_scripts_import() -> None:
    project = tomllib.loads((scripts.DOCS.parent / "pyproject.toml").read_text())["project"]
    brought = {re.split(r"[<>=]", wanted)[0] for wanted in [*project["dependencies"], *project["optional-dependencies"]["docs"]]}
    ours = {"containerkit", *(script.stem for script in scripts.all_scripts())}
    wanted = set[str]().union(*map(imported, scripts.all_scripts())) - sys.stdlib_module_names - ours
    assert wanted
    assert wanted <= brought


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Make a small book with a package of its own that it documents completely."""
    files = {"conf.py": CONF, "index.md": API, "sample/__init__.py": ROOT_MODULE, "sample/shown.py": MODULE}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "scripts").mkdir()
    return tmp_path


def build(book: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build the book with warnings as errors."""
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", "-b", "text", str(book), str(book / "out")]
    return subprocess.run(command, cwd=book, env={"PATH": "/usr/bin:/bin"} | environment, capture_output=True, text=True, check=False)


def show(book: Path, name: str, text: str) -> None:
    """Add a script to the book and to its page."""
    (book / "scripts" / name).write_text(text)
    (book / "index.md").write_text(f"{API}\n```{{ck-run}} scripts/{name}\n```\n")


def test_a_book_that_documents_everything_builds(book: Path) -> None:
    built = build(book)
    assert (built.returncode, built.stderr) == (0, "")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "sample/shown.py",
            '__all__ = ["f", "g"]\ndef f() -> None:\n    "F."\ndef g() -> None: ...\n',
            "public object sample.shown.g is in no",
        ),
        ("sample/shown.py", '__all__ = ["f", "g"]\ndef f() -> None:\n    "F."\n', "names g, which does not exist"),
        ("sample/more.py", "__all__: list[str] = []\n", "public module sample.more is in no"),
        ("sample/shown.py", 'def f() -> None:\n    "F."\ndef g() -> None: ...\n', "public object sample.shown.g is in no"),
        ("sample/__init__.py", ROOT_MODULE + "x = 1\n__all__ += ['x']\n", "public object sample.x is in no"),
    ],
)
def test_an_undocumented_object_fails_the_build(book: Path, file: str, text: str, said: str) -> None:
    (book / file).write_text(text)
    built = build(book)
    assert built.returncode != 0
    assert said in built.stderr


def test_a_page_shows_the_script_and_what_it_really_prints(book: Path) -> None:
    show(book, "sum.py", "print(1000 + 234)\n")
    assert build(book).returncode == 0
    page = (book / "out/index.txt").read_text()
    assert "print(1000 + 234)" in page
    assert "1234" in page


def test_a_script_that_ends_another_way_fails_the_build(book: Path) -> None:
    if not scripts.privileged():
        pytest.skip("needs CAP_SYS_ADMIN")
    show(book, "broken.py", "raise SystemExit(3)\n")
    built = build(book)
    assert built.returncode != 0
    assert "broken.py ended with 3" in built.stderr


def test_a_script_that_should_fail_must_fail(book: Path) -> None:
    if not scripts.privileged():
        pytest.skip("needs CAP_SYS_ADMIN")
    show(book, "it_fails.py", "raise SystemExit('as told')\n")
    assert build(book).returncode == 0
    assert "as told" in (book / "out/index.txt").read_text()
    show(book, "it_fails.py", "pass\n")
    assert "it_fails.py ended with 0" in build(book).stderr


def test_nothing_is_run_when_told_so(book: Path) -> None:
    show(book, "mark.py", f"open({str(book / 'was-run')!r}, 'w')\n")
    assert build(book, CK_DOCS_RUN="0").returncode == 0
    assert not (book / "was-run").exists()
    assert "without running this script" in (book / "out/index.txt").read_text()


def test_a_plot_is_shown_below_what_was_printed_and_goes_when_none_is_drawn(book: Path) -> None:
    show(book, "draws.py", "open('plot.svg', 'w').write('<svg/>')\n")
    page = book / "index.md"
    page.write_text(page.read_text().replace("draws.py\n", "draws.py\n:alt: a nice curve\n"))
    assert build(book).stderr == ""
    assert "[image: a nice curve]" in (book / "out/index.txt").read_text()
    (book / "scripts/draws.py").write_text("pass\n")
    assert build(book).stderr == ""
    assert "image" not in (book / "out/index.txt").read_text()


def test_a_script_that_wants_v2_runs_where_there_is_nothing_else(book: Path) -> None:
    """The script runs in a virtual machine, unless this machine is pure v2, or cannot have one."""
    show(book, "mode.py", "print(1000 + 234)\n")
    page = book / "index.md"
    page.write_text(page.read_text().replace("mode.py\n", 'mode.py\n:v2: "6.12"\n'))
    assert build(book).stderr == ""
    assert "1234" in (book / "out/index.txt").read_text()


def test_a_page_cannot_show_a_script_that_is_not_there(book: Path) -> None:
    show(book, "gone.py", "")
    (book / "scripts/gone.py").unlink()
    assert "no such script: scripts/gone.py" in build(book).stderr


def test_a_docstring_may_be_written_plainly(book: Path) -> None:
    text = (
        '"Words.\\n\\n    a  -->  b\\n"\n__all__ = ["f"]\ndef f() -> None:\n    "Does nothing.  :raises OSError: never  :see: mount(2)"\n'
    )
    (book / "sample/shown.py").write_text(text)
    conf = book / "conf.py"
    conf.write_text(conf.read_text().replace('"runs"', '"plain", "runs"'))
    assert build(book).stderr == ""
    page = (book / "out/index.txt").read_text()
    assert "a  -->  b" in page
    assert "Raises:" in page
    assert "See:" in page
