"""An installation by a plain ``pip install .``: the package, its two dependencies, nothing else; and the first program of README."""

from __future__ import annotations

import importlib.metadata as metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerkit.base import extras

REPO = Path(__file__).resolve().parents[2]
SOURCES = ("containerkit", "csrc", "tools", "setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def needed(name: str, seen: set[str]) -> Iterator[str]:
    """Yield a distribution and its requirements without extras."""
    if name not in seen:
        seen.add(name)
        yield name
        for line in metadata.requires(name) or []:
            if "extra" not in line.partition(";")[2]:
                yield from needed(re.match(r"[\w.-]+", line)[0], seen)  # type: ignore[index]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a new environment with only the wheel of these sources and its dependencies."""
    directory = tmp_path_factory.mktemp("install")
    for name in SOURCES:
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, directory / "src" / name)
        else:
            shutil.copy(REPO / name, directory / "src" / name)
    for built in (*(directory / "src/containerkit").glob("_spawn*.so"), directory / "src/containerkit/libexec/ck-helper"):
        built.unlink(missing_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--no-cache-dir"]
    subprocess.run([*pip, "wheel", *options, "-w", directory, directory / "src"], check=True, timeout=110)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory / "env"], check=True, timeout=60)
    (site,) = (directory / "env/lib").glob("python3*/site-packages")
    (wheel,) = directory.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", site, wheel], check=True, timeout=60)
    for name in {*needed("containerkit", set())} - {"containerkit"}:
        for file in metadata.files(name) or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), site / file)
    return directory / "env/bin/python"


def said(python: Path, *argv: str) -> str:
    """Return the output of a program in that environment; none of our own files is in reach."""
    done = subprocess.run(
        [python, "-I", *argv], capture_output=True, text=True, cwd="/", env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.root
def test_the_first_program_of_the_readme_runs(python: Path) -> None:
    program = re.search(r"```python\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    assert program
    out = said(python, "-c", program[1])
    assert "lesson\nuid=0(root)" in out
    assert out.endswith("deleted  /etc/passwd\nadded    /new\n")


def test_extras_are_missing_and_doctor_names_the_command(python: Path) -> None:
    out = said(
        python, "-c", "import containerkit as ck\nfor f in ck.doctor():\n if f.name.startswith('extra '): print(f.name, f.ok, f.remedy)"
    )
    lines = dict(re.findall(r"^extra (\w+) None (.*)$", out, re.MULTILINE))
    assert set(lines) == {extra.name for extra in extras.extras()}
    assert re.fullmatch(r"Run: pip install '.*\[registry\]'", lines["registry"])


def test_the_command_is_installed(python: Path) -> None:
    assert said(python, "-m", "containerkit", "--version").startswith("containerkit ")
