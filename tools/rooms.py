"""The rooms of the package, in order, and the imports between them, read from the code.

    python tools/rooms.py          the table: each room, what a line in it does, and which rooms it imports
    python tools/rooms.py --svg    the same as a picture: an import is an arrow down, and an arrow up is red

A room imports only the rooms before it.  `tests/test_imports.py` holds that; CONTRIBUTING.md and the book show this table.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "containerkit"

ROOMS = {
    "errors": "says what can go wrong",
    "base": "serves every room: checked arguments, frozen values, extras, the log",
    "linux": "asks the kernel",
    "state": "owns something on disk",
    "core": "turns parts into a process",
    "layers": "lays directories over each other",
    "parts": "is what a plan is made of",
    "cgroup": "limits",
    "rootfs": "makes a root from this machine's programs",
    "image": "is a value or its bytes",
    "store": "is shared by many processes",
    "dockerfile": "reads a language",
    "registry": "talks to a registry",
    "container": "is one container's life",
    "builder": "makes an image",
    "diagnose": "looks at this machine, and at what was left behind",
    "cli": "is typed by a person",
}
FACE = ("__init__", "__main__")  # the package itself: the public names, loaded when they are first named
COMPILED = "_spawn"  # the C extension, which imports nothing
WITHOUT_STEPS = (
    "image",
    "store",
    "dockerfile",
    "registry",
)  # these rooms make bytes and directories: they import no plan, no part, no group
STEPS = ("core", "parts", "cgroup")
DOOR = "base.door"  # names the verbs on a value that later rooms implement; see its docstring


@dataclass(frozen=True, order=True)
class Import:
    """One import: `importer` and `imported` are modules below the package ("core.plan"), or "NAME!" from outside of the package.

    :ivar lazy: the import stands in a function or in a `try`
    :ivar typing: only a type checker reads the import
    """

    importer: str
    imported: str
    lazy: bool = False
    typing: bool = False


def room_of(module: str) -> str:
    """Return the room of a module; a module of the package's own directory is a room of its own."""
    return module.split(".")[0] or "__init__"


def modules_of(package: Path) -> dict[str, Path]:
    """Return every module below the package by its dotted name; the package itself is "__init__"."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


def imports_of(package: Path) -> list[Import]:
    """Return every import in the package, also lazy ones and those for type checkers."""
    modules = modules_of(package)
    known = modules.keys() | {COMPILED}
    found = set()
    for module, path in modules.items():
        for node, lazy, typing in _statements(ast.parse(path.read_text())):
            found |= {Import(module, name, lazy, typing) for name in _named(node, path, package, known)}
    return sorted(found)


def faults(package: Path, allowed_outside: frozenset[str]) -> list[str]:
    """List the imports that break a rule of the house, one line each.

    :param allowed_outside: the top-level modules from elsewhere that may be imported when a module is loaded
    """
    every = imports_of(package)
    through_door = {each.importer for each in every if each.imported == DOOR}
    found = {f"{room} is not a room of the table" for room in map(room_of, modules_of(package)) if room not in (*ROOMS, *FACE)}
    for each in every:
        found.update(filter(None, (_upward(each, through_door), _private(each), _steps(each), _outside(each, allowed_outside))))
    return sorted(found)


def rows(package: Path) -> Iterator[tuple[str, str, str]]:
    """Yield each room, the meaning of a line in it, and the rooms that it imports when its code runs."""
    every = imports_of(package)
    for room, does in ROOMS.items():
        seen = {room_of(each.imported) for each in every if room_of(each.importer) == room and not each.typing}
        yield room, does, " ".join(other for other in ROOMS if other in seen - {room})


def table(package: Path) -> str:
    """Return the table in Markdown, as CONTRIBUTING.md and the book show it."""
    lines = ["| room | a line in it ... | it imports |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| `{room}` | {does} | {below or '-'} |" for room, does, below in rows(package))])


def summary() -> str:
    """Return each room and the meaning of a line in it, as the docstring of the package shows them."""
    return "\n".join(f"    {room:<11} {does}" for room, does in ROOMS.items())


def _statements(node: ast.AST, *, lazy: bool = False, typing: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, lazy, typing
        elif isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from _statements(ast.Module(child.body, []), lazy=lazy, typing=True)
            yield from _statements(ast.Module(child.orelse, []), lazy=lazy, typing=typing)
        else:
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try)
            yield from _statements(child, lazy=lazy or later, typing=typing)


def _named(node: ast.Import | ast.ImportFrom, path: Path, package: Path, known: set[str]) -> Iterator[str]:
    """Yield the modules that one statement names; `from x import y` names x.y if that is a module, else x."""
    if isinstance(node, ast.Import):
        names = [(alias.name, "") for alias in node.names]
    else:
        parents = [package.name, *path.relative_to(package).parent.parts]
        base = parents[: len(parents) - node.level + 1] if node.level else []
        module = ".".join([*base, *filter(None, [node.module])])
        names = [(module, alias.name) for alias in node.names]
    for module, name in names:
        top, _, below = module.partition(".")
        if top != package.name:
            yield f"{top}!"
        else:
            full = ".".join(filter(None, [below, name]))
            yield full if full in known else below or "__init__"


def _upward(each: Import, through_door: set[str]) -> str | None:
    importer, imported = room_of(each.importer), room_of(each.imported)
    order = [*ROOMS, *FACE]
    if importer == imported or imported.endswith("!") or imported == COMPILED or importer not in order or imported not in order:
        return None
    if importer in ("cli", "__main__") and imported in ("__init__", "cli"):
        return None  # the command line uses the library by its public names, as every user does
    if order.index(imported) < order.index(importer) or (each.typing and each.importer in through_door):
        return None
    return f"{each.importer} imports {each.imported}: {imported} comes after {importer} in the table"


def _private(each: Import) -> str | None:
    parent, _, name = each.imported.rpartition(".")
    own = f"{each.importer}.".startswith(f"{parent}.") if parent else True
    return None if own or not name.startswith("_") else f"{each.importer} imports {each.imported}, which is private to {parent}"


def _steps(each: Import) -> str | None:
    if room_of(each.importer) not in WITHOUT_STEPS or room_of(each.imported) not in STEPS:
        return None
    return f"{each.importer} imports {each.imported}: {room_of(each.importer)} knows no steps"


def _outside(each: Import, allowed: frozenset[str]) -> str | None:
    name = each.imported.removesuffix("!")
    if name == each.imported or each.lazy or each.typing or name in sys.stdlib_module_names | allowed:
        return None
    return f"{each.importer} needs {name}, which is an extra: import it in a function and raise Unavailable"


def svg(package: Path) -> str:
    """Draw the rooms from top to bottom, and an arc for each import between two: to the right if it goes down, left and red if up."""
    order, every = list(ROOMS), imports_of(package)
    pairs = {(room_of(each.importer), room_of(each.imported)) for each in every if not each.typing}
    height = 26 * len(order) + 20
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 {height}" font-family="sans-serif" font-size="13">']
    for importer, imported in sorted(pairs):
        if importer in order and imported in order and importer != imported:
            lines.append(_arc(order.index(importer), order.index(imported)))
    for place, room in enumerate(order):
        lines.append(f'<text x="240" y="{26 * place + 24}" text-anchor="middle">{room}</text>')
    return "\n".join([*lines, "</svg>"])


def _arc(importer: int, imported: int) -> str:
    start, end, bow = 26 * importer + 20, 26 * imported + 20, 12 * abs(importer - imported) + 20
    side, color = (1, "#7aa") if imported < importer else (-1, "#c00")
    x = 240 + side * 45
    return f'<path d="M{x} {start} C{x + side * bow} {start} {x + side * bow} {end} {x} {end}" fill="none" stroke="{color}"/>'


if __name__ == "__main__":
    print(svg(PACKAGE) if "--svg" in sys.argv[1:] else table(PACKAGE))
