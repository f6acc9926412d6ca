"""When modules are loaded: none before it is named, and by a verb its own rooms only.

Modules are counted and named, in a Python of its own that has loaded nothing yet (``-I -S``: no site, no .pth file).
No clock is looked at; how long it takes is measured by `benchmarks/loading.py`.
"""

from __future__ import annotations

import ast
import copy
import multiprocessing
import pickle
import pydoc
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import Any

import pytest

import containerkit as ck
from containerkit.base import late
from containerkit.cli import GROUPS, MACHINE, RUN, STORED
from containerkit.state import journal

REPO = Path(__file__).resolve().parent.parent
PACKAGE = REPO / "containerkit"

#: Modules that take long, or that only some need.  None of them is loaded by an import of ours, unless a test below says so.
SLOW = {
    "asyncio", "ast", "concurrent.futures", "ctypes", "dataclasses", "difflib", "email", "hashlib", "html", "http", "importlib.metadata",
    "inspect", "json", "logging", "multiprocessing", "pickle", "platform", "psutil", "selectors", "shutil", "socket", "ssl", "subprocess",
    "tempfile", "traceback", "urllib3", "zstandard", "cffi", "_cffi_backend", "containerkit._spawn",
}  # fmt: skip


def loaded(code: str) -> set[str]:
    """The modules that a few lines load, in a new Python."""
    paths = [str(REPO), sysconfig.get_path("platlib"), sysconfig.get_path("purelib")]
    program = f"""\
import sys
sys.path += {paths!r}
before = set(sys.modules)
try:
{textwrap.indent(code, "    ")}
except SystemExit:
    pass
print("loaded:", *sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def rooms(modules: set[str]) -> set[str]:
    """The rooms that modules of ours are in; `base` and `errors` are everywhere."""
    return {name.split(".")[1] for name in modules if name.startswith("containerkit.")} - {"base", "errors", "_spawn"}


# The package -----------------------------------------------------------------------------------------------------


def test_importing_the_package_loads_nothing_of_it() -> None:
    assert {m for m in loaded("import containerkit") if m.startswith("containerkit")} == {
        "containerkit", "containerkit.base", "containerkit.base.late",
    }  # fmt: skip


def test_importing_the_package_loads_next_to_nothing_else() -> None:
    others = {m for m in loaded("import containerkit") if not m.startswith("containerkit")}
    assert len(others) <= 12, others
    assert not others & (SLOW | {"re", "enum", "typing", "functools", "contextlib", "pathlib", "threading"})


HERE = {"core", "linux"}
FIRST_USE = {
    "PlanError": set(), "Unavailable": set(), "ImageError": set(), "StepError": {"core"}, "Failed": {"core"},
    "kernel": {"linux"}, "syscalls": {"linux"}, "Step": HERE, "Phase": HERE, "Part": HERE, "Trace": HERE, "PIPE": HERE, "Process": HERE,
    "plan": HERE, "Plan": HERE, "run": HERE, "Result": HERE,
    "Capabilities": HERE | {"parts"}, "Credentials": HERE | {"parts"}, "NoNewPrivileges": HERE | {"parts"}, "Rlimits": HERE | {"parts"},
    "Seccomp": HERE | {"parts"}, "Namespace": HERE | {"parts"}, "ns": HERE | {"parts", "state"}, "mounts": HERE | {"parts", "layers"},
    "LayerFS": HERE | {"layers", "state"}, "Cgroup": HERE | {"cgroup", "state"}, "rootfs": {"rootfs", "linux", "state"},
    "sandbox": HERE | {"container", "parts", "layers", "state"}, "exec": HERE | {"container", "parts", "cgroup", "state"},
    "Digest": {"image"}, "Reference": {"image"}, "ImageConfig": {"image"}, "Image": {"image"}, "Index": {"image"}, "Layer": {"image"},
    "Store": {"store", "image", "state", "linux"}, "doctor": {"diagnose", "linux", "core"}, "leaks": {"diagnose", "linux", "state"},
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST_USE)
def test_the_first_use_of_a_name_loads_its_rooms_and_no_others(name: str) -> None:
    found = loaded(f"from containerkit import {name}")
    assert rooms(found) <= FIRST_USE[name]
    assert not found & SLOW


def test_the_coroutines_alone_load_asyncio() -> None:
    assert "asyncio" in loaded("from containerkit import arun")


def test_a_plan_is_made_and_printed_without_what_runs_it() -> None:
    found = loaded("import containerkit as ck\nstr(ck.plan(ck.ns.Uts('x'), ck.NoNewPrivileges(), run=['true']))")
    assert rooms(found) <= HERE | {"parts", "state"}
    assert not found & (SLOW - {"_cffi_backend", "containerkit._spawn"})


# The public names ------------------------------------------------------------------------------------------------


def names_for_checkers(package: Path) -> set[str]:
    """Return the imports of `if TYPE_CHECKING:` in a package."""
    blocks = [node for node in ast.parse((package / "__init__.py").read_text()).body if isinstance(node, ast.If)]
    shown = next(node for node in blocks if ast.unparse(node.test) == "TYPE_CHECKING")
    return {alias.name for node in shown.body if isinstance(node, ast.ImportFrom) for alias in node.names}


@pytest.mark.parametrize("package", ["containerkit", "containerkit.image", "containerkit.builder"])
def test_the_table_the_list_and_the_checker_name_the_same(package: str) -> None:
    module: Any = __import__(package, fromlist=("",))
    table = {name for home, names in module._NAMES.items() if home for name in names.split()}
    assert table | ({"rootfs"} & set(module.__all__)) == set(module.__all__)
    assert names_for_checkers(Path(module.__file__).parent) == set(module.__all__)
    assert all(getattr(module, name) is getattr(module, name) for name in module.__all__)


def test_every_room_can_be_named_without_an_import() -> None:
    assert set(ck._NAMES[""].split()) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert "containerkit.cgroup.stats" in loaded("import containerkit as ck\nck.cgroup.Cgroup")


def test_the_spellings_that_users_have() -> None:
    program = "from containerkit import ns, mounts, rootfs, dockerfile\nimport containerkit.core.plan\nimport containerkit as ck\n"
    program += "from containerkit import *\nassert ck.plan is plan is containerkit.core.plan.plan and ck.ns is ns\nrootfs.from_programs"
    assert loaded(program)


def test_a_name_that_is_misspelt_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'containerkit' has no attribute 'Capabilites'"):
        ck.Capabilites  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Capabilites'"):
        exec("from containerkit import Capabilites")
    assert not hasattr(ck, "__path_that_is_not_there__")
    with pytest.raises(AttributeError):
        late.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_dir_and_help_know_all_of_it() -> None:
    assert set(ck.__all__) <= set(dir(ck))
    assert "sandbox" in pydoc.render_doc(ck, renderer=pydoc.plaintext)


def test_what_is_loaded_late_crosses_and_can_be_copied() -> None:
    found = loaded("import pickle, copy, containerkit as ck\nassert pickle.loads(pickle.dumps(ck.run)) is ck.run\ncopy.copy(ck.Phase)")
    assert "containerkit.core.run" in found
    assert pickle.loads(pickle.dumps(ck.Capabilities.none())) == copy.copy(ck.Capabilities.none())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_other_processes_find_the_names_too(method: str) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(ck.Capabilities.none) == ck.Capabilities.none()


def test_threads_that_come_at_once_find_one_object() -> None:
    program = """\
import threading, containerkit as ck
names = [name for name in ck.__all__ if name not in ("arun", "AsyncProcess")]
found, gate = [], threading.Barrier(8)
def look(shift):
    gate.wait()
    for name in names[shift:] + names[:shift]:
        found.append((name, id(getattr(ck, name))))
threads = [threading.Thread(target=look, args=(i * 6,)) for i in range(8)]
[t.start() for t in threads], [t.join() for t in threads]
assert len(found) == 8 * len(names) and len(set(found)) == len(names), sorted(set(found))
"""
    assert loaded(program)


# The command -----------------------------------------------------------------------------------------------------

CONTAINER = HERE | {"cli", "container", "parts", "layers", "state"}
IMAGES = {"cli", "image", "store", "state", "linux"}
VERBS = {
    **dict.fromkeys(RUN, CONTAINER),
    **dict.fromkeys(STORED, IMAGES),
    **dict.fromkeys(("save", "load", "import", "export", "diff"), IMAGES | {"layers"}),
    **dict.fromkeys(("pull", "push", "login", "logout"), IMAGES | {"registry"}),
    **dict.fromkeys(("gc", "fsck"), IMAGES | {"rootfs"}),
    "build": IMAGES | {"builder", "dockerfile", "layers"},
    "doctor": {"cli", "diagnose", "linux", "core"},
    "demo": {"cli", "diagnose", "linux", "core"},
    "top": HERE | {"cli", "cgroup", "state", "image"},
}
MAY = {"top": {"psutil", "subprocess", "socket", "selectors"}}  # psutil loads the others


def command(line: str) -> set[str]:
    return loaded(f"from containerkit.cli import main\nmain({line.split()!r})")


@pytest.mark.parametrize("line", ["--help", "--version", *(f"{group} --help" for group in GROUPS)])
def test_help_loads_no_verb(line: str) -> None:
    found = command(line)
    assert {m for m in found if m.startswith("containerkit.cli.")} == {f"containerkit.cli.{m}" for m in ("human", "parser", "streams")}
    assert rooms(found) == {"cli"}


def test_every_verb_is_in_the_table() -> None:
    assert VERBS.keys() == {*RUN, *STORED, *MACHINE}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_loads_its_own_rooms(verb: str) -> None:
    found = command(f"{verb} --help")
    assert rooms(found) <= VERBS[verb]
    if not VERBS[verb] & {"registry"}:  # urllib3 loads half of the standard library
        assert not found & SLOW - MAY.get(verb, set()) - {"shutil"}, "argparse asks shutil how wide a terminal is, where it prints help"


@pytest.mark.parametrize(
    "pair", [("images", "containerkit.cli.registry"), ("run", "containerkit.cli.images"), ("tag", "containerkit.cli.build")]
)
def test_a_verb_does_not_load_another(pair: tuple[str, str]) -> None:
    verb, other = pair
    assert other not in command(f"{verb} --help")


def test_an_empty_store_is_listed_without_what_changes_one(tmp_path: Path) -> None:
    found = command(f"--store {tmp_path}/store images")
    assert rooms(found) <= IMAGES
    assert not found & ({*SLOW, "typing"} - {"hashlib", "json"})
    assert not {m for m in found if m.startswith(("containerkit.image.tar", "containerkit.image.compression"))}


def test_journals_of_living_owners_alone_load_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "containerkit.journals"
    monkeypatch.setattr(journal, "directory", lambda: str(place))
    entry = journal.Journal().about_to("tree", str(tmp_path / "tree"))
    ask = f"from containerkit.state import journal\njournal.directory = lambda: {str(place)!r}\njournal.sweep_if_any()"
    assert "containerkit.state.sweeping" not in loaded(ask)
    entry._journal.record.let_go()  # type: ignore[union-attr]
    assert "containerkit.state.sweeping" in loaded(ask)


@pytest.mark.root
def test_a_program_is_run_with_what_runs_it() -> None:
    root = str(ck.rootfs.from_programs(["true"]))
    found = loaded(f"from containerkit.cli import main\nassert main(['run', '--rootfs', {root!r}, '--', 'true']) == 0")
    assert rooms(found) <= CONTAINER
    assert "containerkit._spawn" in found
    assert not found & ({*SLOW, "typing", "pathlib", "urllib.parse", "locale"} - {"containerkit._spawn", "_cffi_backend", "cffi"})
