"""The rooms of the package: each imports only the rooms before it in the table of `tools/rooms.py`."""

from __future__ import annotations

import graphlib
import subprocess
import sys
from pathlib import Path

import pytest
import rooms

REPO = Path(__file__).resolve().parent.parent
DEPENDENCIES = frozenset({"cffi", "psutil"})


def order(package: Path) -> list[str]:
    """The rooms, each after all that it imports at once.  Raises graphlib.CycleError where there is no such order."""
    graph: dict[str, set[str]] = {}
    for each in rooms.imports_of(package):
        importer, imported = rooms.room_of(each.importer), rooms.room_of(each.imported)
        if imported != importer and not each.imported.endswith("!") and not each.lazy and not each.typing:
            graph.setdefault(importer, set()).add(imported)
    return list(graphlib.TopologicalSorter(graph).static_order())


def test_every_room_imports_only_the_rooms_before_it() -> None:
    assert rooms.faults(rooms.PACKAGE, DEPENDENCIES) == []


def test_every_room_of_the_table_is_there() -> None:
    there = {rooms.room_of(module) for module in rooms.modules_of(rooms.PACKAGE)}
    assert there == {*rooms.ROOMS, *rooms.FACE}


def test_no_room_imports_itself_by_a_detour() -> None:
    assert order(rooms.PACKAGE).index("errors") < order(rooms.PACKAGE).index("cli")


def test_contributing_shows_the_table_of_the_code() -> None:
    assert rooms.table(rooms.PACKAGE) in (REPO / "CONTRIBUTING.md").read_text()


def test_the_book_shows_the_table_of_the_code() -> None:
    assert rooms.table(rooms.PACKAGE) in (REPO / "docs/rooms.md").read_text()


def test_the_package_names_every_room() -> None:
    text = (rooms.PACKAGE / "__init__.py").read_text()
    assert [line for line in rooms.summary().splitlines() if line not in text] == []


def test_the_picture_has_no_arrow_up() -> None:
    drawn = rooms.svg(rooms.PACKAGE)
    assert "#7aa" in drawn
    assert "#c00" not in drawn


def test_the_picture_shows_an_arrow_up_where_there_is_one(tmp_path: Path) -> None:
    assert "#c00" in rooms.svg(make_package(tmp_path, {"core/step.py": "from ..parts import ns"}))


def test_the_door_leads_to_what_is_there() -> None:
    from containerkit.base import door

    assert all(callable(door.behind(verb)) for verb in door.VERBS)


def make_package(root: Path, files: dict[str, str]) -> Path:
    """A package of the given files, with an empty `__init__.py` in each directory."""
    package = root / "containerkit"
    usual = {"errors.py": "", "core/step.py": "", "parts/ns.py": "", "parts/mounts.py": "", "container/sandbox.py": "", "base/door.py": ""}
    for name, text in (usual | files).items():
        target = package / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for directory in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (directory / "__init__.py").touch()
    return package


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("core/step.py", "from ..parts import ns", "core.step imports parts.ns: parts comes after core in the table"),
        ("core/step.py", "from ..parts.ns import User", "core.step imports parts.ns: parts comes after core in the table"),
        ("core/step.py", "import containerkit.parts.ns", "core.step imports parts.ns: parts comes after core in the table"),
        ("core/step.py", "from containerkit.parts import ns", "core.step imports parts.ns: parts comes after core in the table"),
        ("parts/ns.py", "def f():\n    from ..container.sandbox import x",
         "parts.ns imports container.sandbox: container comes after parts in the table"),
        ("parts/ns.py", "from .. import Plan", "parts.ns imports __init__: __init__ comes after parts in the table"),
        ("parts/ns.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..cli import main",
         "parts.ns imports cli: cli comes after parts in the table"),
        ("container/sandbox.py", "from ..cli import main", "container.sandbox imports cli: cli comes after container in the table"),
        ("image/layer.py", "from ..parts.ns import User", "image.layer imports parts.ns: image knows no steps"),
        ("store/store.py", "from ..image import _disk", "store.store imports image._disk, which is private to image"),
        ("parts/ns.py", "import numpy", "parts.ns needs numpy, which is an extra: import it in a function and raise Unavailable"),
        ("cellar.py", "", "cellar is not a room of the table"),
        ("attic/box.py", "", "attic is not a room of the table"),
    ],
)  # fmt: skip
def test_a_forbidden_import_is_found(tmp_path: Path, name: str, text: str, fault: str) -> None:
    package = make_package(tmp_path, {"cli/__init__.py": "", "image/__init__.py": "", "image/_disk.py": "", name: text})
    assert rooms.faults(package, DEPENDENCIES) == [fault]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("parts/ns.py", "import os, psutil\nfrom ..errors import PlanError"),
        ("parts/ns.py", "from . import mounts\nfrom ..core.step import Step"),
        (
            "image/image.py",
            "from typing import TYPE_CHECKING\nfrom ..base.door import behind\nif TYPE_CHECKING:\n    from ..cli import main",
        ),
        ("cli/__init__.py", "import containerkit as ck\nfrom .. import run"),
        ("image/image.py", "from ._disk import x"),
        ("image/tar/reading.py", "from .._disk import x"),
        ("parts/ns.py", "def f():\n    import matplotlib"),
        ("parts/ns.py", "from .. import _spawn"),
    ],
)
def test_an_allowed_import_is_no_fault(tmp_path: Path, name: str, text: str) -> None:
    package = make_package(tmp_path, {"cli/__init__.py": "", "image/_disk.py": "", name: text})
    assert rooms.faults(package, DEPENDENCIES) == []


def test_a_cycle_is_found(tmp_path: Path) -> None:
    package = make_package(tmp_path, {"core/step.py": "from ..parts import ns", "parts/ns.py": "from ..core import step"})
    with pytest.raises(graphlib.CycleError):
        order(package)


def test_what_takes_long_to_load_is_loaded_when_it_is_used() -> None:
    late = {"asyncio", "email", "importlib.metadata", "logging", "pickle", "psutil", "urllib3", "zstandard"}
    program = "import sys; before = set(sys.modules); import containerkit; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=True)
    assert not late & set(done.stdout.split())


def test_the_checkers_see_every_file() -> None:
    ruff = Path(sys.executable).with_name("ruff")
    shown = subprocess.run([ruff, "check", "--show-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout.splitlines()
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=REPO, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {str(REPO / name) for name in tracked if (REPO / name).is_file()} <= set(shown)
