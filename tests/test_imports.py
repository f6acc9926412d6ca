"""Imports go one way: core, primitives, images, whole containers, the command line.  Primitives never meet."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "containerkit"

CORE = {"errors", "syscalls", "step", "timeline", "program", "plan", "stdio", "trace", "process", "scratch", "_spawn"}
CORE |= {"actor", "autopsy", "changes", "frame", "inputs", "kernel", "run", "spawn", "vfs", "merged", "accounts", "_idmaps", "memory"}
CORE |= {"checks", "extras", "frozen", "log", "pickling"}
CORE |= {"procfs", "guardian", "inherited"}
CORE |= {"targets", "nodes", "beneath", "kept"}
WHOLE = {"rootfs", "sandbox", "doctor", "leaks"}
IMAGE = {"image", "registry", "dockerfile", "build"}
WITHOUT_STEPS = {"image", "registry", "dockerfile"}  # what they make is bytes and directories
COMMAND = {"cli", "__main__"}
DEPENDENCIES = {"cffi", "psutil"}
ROOT = "__init__"
CORE |= {"conversation", "coroutines", "loops", "makers", "owners", "terminals"}
WHOLE |= {"inside"}

RANKS = ["core", "private", "primitive", "image", "whole", "root", "command"]


def rank(unit: str) -> str:
    """The layer of a module.  One that is not named above is a primitive, or private to the package if it begins with _."""
    named = {"core": CORE, "image": IMAGE, "whole": WHOLE, "command": COMMAND, "root": {ROOT}}
    return next((layer for layer, units in named.items() if unit in units), "private" if unit.startswith("_") else "primitive")


def allowed(importer: str, imported: str) -> bool:
    """Whether one module of the package may import another."""
    above, below = RANKS.index(rank(importer)), RANKS.index(rank(imported))
    if importer in WITHOUT_STEPS and rank(imported) == "primitive":
        return False
    return importer == imported or below < above or (below == above and rank(importer) != "primitive")


def is_type_checking(node: ast.AST) -> bool:
    """Whether `node` is `if TYPE_CHECKING:`, whose body never runs."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def imports(node: ast.AST, *, lazy: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import that can run, and whether it is lazy: inside a function, or tried."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, lazy
        elif is_type_checking(child):
            for other in child.orelse:  # type: ignore[attr-defined]
                yield from imports(ast.Module([other], []), lazy=lazy)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try)
            yield from imports(child, lazy=lazy or inside)


def absolute(node: ast.Import | ast.ImportFrom, path: Path, package: Path) -> Iterator[str]:
    """The full names that an import may load; `from x import y` gives x.y too, which may be a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    parents = [package.name, *path.relative_to(package).parent.parts]
    base = parents[: len(parents) - node.level + 1] if node.level else []
    module = ".".join([*base, *filter(None, [node.module])])
    yield from (f"{module}.{alias.name}" for alias in node.names)


def unit_of(name: str, package: Path) -> str:
    """The first part of a full name below the package that is a module; the package itself where there is none."""
    first = name.split(".")[1] if "." in name else ""
    is_module = first == "_spawn" or (package / f"{first}.py").exists() or (package / first / "__init__.py").exists()
    return first if first and is_module else ROOT


def edges(package: Path) -> Iterator[tuple[str, str, bool]]:
    """Importing unit, what it imports (a unit of the package, or `NAME!` from outside), and whether lazily."""
    for path in sorted(package.rglob("*.py")):
        unit = path.relative_to(package).with_suffix("").parts[0]
        for node, lazy in imports(ast.parse(path.read_text())):
            for name in absolute(node, path, package):
                inside = name.split(".")[0] == package.name
                yield unit, unit_of(name, package) if inside else f"{name.split('.')[0]}!", lazy


def faults(package: Path) -> list[str]:
    """What breaks the rule, one line each."""
    found = set()
    for importer, imported, lazy in edges(package):
        outside = imported.removesuffix("!")
        if imported == outside and not allowed(importer, imported):
            found.add(f"{importer} ({rank(importer)}) imports {imported} ({rank(imported)})")
        elif imported != outside and not lazy and outside not in sys.stdlib_module_names | DEPENDENCIES:
            found.add(f"{importer} needs {outside}, which is an extra: import it in a function and raise Unavailable")
    return sorted(found)


def order(package: Path) -> list[str]:
    """The modules of the package, each after all that it imports.  Raises graphlib.CycleError where there is no such order."""
    graph: dict[str, set[str]] = {}
    for importer, imported, lazy in edges(package):
        if imported != importer and not imported.endswith("!") and not lazy:
            graph.setdefault(importer, set()).add(imported)
    return list(graphlib.TopologicalSorter(graph).static_order())


def test_imports_go_one_way() -> None:
    assert faults(PACKAGE) == []


def test_no_module_imports_itself_by_a_detour() -> None:
    units = order(PACKAGE)
    assert units.index("errors") < units.index(ROOT)


def make_package(root: Path, files: dict[str, str]) -> Path:
    """A package of the given files, and an empty `__init__.py`."""
    package = root / "containerkit"
    for name, text in ({"__init__.py": "", "errors.py": "", "ns.py": "", "mounts.py": "", "sandbox.py": ""} | files).items():
        target = package / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return package


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("ns.py", "from .mounts import Bind", "ns (primitive) imports mounts (primitive)"),
        ("ns.py", "from . import mounts", "ns (primitive) imports mounts (primitive)"),
        ("ns.py", "import containerkit.mounts", "ns (primitive) imports mounts (primitive)"),
        ("ns.py", "from containerkit import mounts", "ns (primitive) imports mounts (primitive)"),
        ("ns.py", "def f():\n    from .sandbox import sandbox", "ns (primitive) imports sandbox (whole)"),
        ("step.py", "from .ns import User", "step (core) imports ns (primitive)"),
        ("sandbox.py", "from . import Plan", "sandbox (whole) imports __init__ (root)"),
        ("sandbox.py", "from .cli import main", "sandbox (whole) imports cli (command)"),
        ("net/link.py", "from ..mounts import Bind", "net (primitive) imports mounts (primitive)"),
        ("image/layer.py", "from ..ns import User", "image (image) imports ns (primitive)"),
        ("ns.py", "from .image import layer", "ns (primitive) imports image (image)"),
        ("ns.py", "import numpy", "ns needs numpy, which is an extra: import it in a function and raise Unavailable"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, name: str, text: str, fault: str) -> None:
    package = make_package(tmp_path, {"cli/__init__.py": "", "net/__init__.py": "", "image/__init__.py": "", name: text})
    assert faults(package) == [fault]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ns.py", "import os, psutil\nfrom .errors import PlanError"),
        ("ns.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .mounts import Bind"),
        ("net/link.py", "from .. import errors\nfrom . import address\nfrom .address import Address"),
        ("sandbox.py", "from . import leaks, mounts, ns"),
        ("cli/__init__.py", "import containerkit as ck\nfrom .. import run"),
        ("build/run.py", "from ..ns import User\nfrom ..image import layer"),
        ("rootfs.py", "def f():\n    import matplotlib"),
    ],
)
def test_an_allowed_import_is_no_fault(tmp_path: Path, name: str, text: str) -> None:
    package = make_package(tmp_path, {"leaks.py": "", "net/__init__.py": "", "net/address.py": "", "image/__init__.py": "", name: text})
    assert faults(package) == []


def test_a_cycle_is_found(tmp_path: Path) -> None:
    package = make_package(tmp_path, {"step.py": "from . import plan", "plan.py": "from .step import Step"})
    with pytest.raises(graphlib.CycleError):
        order(package)


def test_what_takes_long_to_load_is_loaded_when_it_is_used() -> None:
    late = {"asyncio", "email", "importlib.metadata", "logging", "pickle", "psutil", "urllib3", "zstandard"}
    program = "import sys; before = set(sys.modules); import containerkit; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert not late & set(done.stdout.split())
