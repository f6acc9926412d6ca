"""The extras, as the metadata has them, and the command that brings one."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from containerkit.base import extras
from containerkit.diagnose.doctor import doctor

REPO = Path(__file__).resolve().parent.parent


def declared() -> dict[str, list[str]]:
    found: dict[str, list[str]] = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return found


def test_doctor_lists_every_extra_of_pyproject() -> None:
    assert {extra.name for extra in extras.extras()} == declared().keys() - {"all"}
    assert {f.name for f in doctor() if f.name.startswith("extra ")} == {f"extra {name}" for name in declared() if name != "all"}


def test_all_is_all_of_them() -> None:
    assert declared()["all"] == [f"containerkit[{','.join(name for name in declared() if name != 'all')}]"]


def test_from_a_checkout_the_command_names_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(REPO)
    assert extras.command("registry") == "pip install '.[registry]'"
    monkeypatch.chdir(tmp_path)
    assert extras.command("registry", newer=True) == f"pip install -U '{REPO}[registry]'"


def test_the_command_can_be_typed_as_it_is() -> None:
    """pip reads its argument as we mean it; nothing is installed."""
    argv = f"{sys.executable} -m {extras.command('registry')} --dry-run --no-index --no-deps --no-build-isolation -q"
    done = subprocess.run(["sh", "-c", argv], capture_output=True, text=True, cwd=REPO, timeout=100)
    assert done.returncode == 0, done.stderr


def test_installed_from_a_directory_the_command_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources = tmp_path / "my sources"
    sources.mkdir()
    (sources / "pyproject.toml").write_text("")

    class Installed:
        def read_text(self, name: str) -> str:
            return json.dumps({"url": sources.as_uri(), "dir_info": {}}) if name == "direct_url.json" else ""

    monkeypatch.setattr(extras, "CHECKOUT", tmp_path / "site-packages")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed())
    assert extras.command("zstd") == f"pip install '{sources}[zstd]'"


def test_installed_from_elsewhere_the_command_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extras, "CHECKOUT", tmp_path)
    monkeypatch.setattr(extras, "_installed_from", lambda: None)
    assert extras.command("zstd") == "pip install 'containerkit[zstd]'"


def test_a_copy_that_was_never_installed_has_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "PACKAGE", "containerkit-that-is-not-there")
    assert extras.extras() == ()
    assert doctor()["extras"].ok is None
