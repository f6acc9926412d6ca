"""The fuzzers themselves: their properties hold of the seeds, can fail, and a failing input is shown."""

from __future__ import annotations

import importlib
import os
import random
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from containerkit.base import extras
from containerkit.image import reference as references
from containerkit.image.documents import dump, parse
from containerkit.image.manifest import Manifest
from fuzz import NAMES, engine
from fuzz import manifest as of_manifest
from fuzz import reference as of_reference
from fuzz import tar as of_tar
from fuzz.__main__ import fuzz, main

FUZZERS = pytest.mark.parametrize("module", [importlib.import_module(f"fuzz.{name}") for name in NAMES], ids=NAMES)
FINDS = """
from fuzz.engine import Fuzzer, run
def check(data):
    {body}
if __name__ == "__main__":
    run(Fuzzer(check, lambda: [b"xb"], lambda data, chance, raw: raw(data), (b"ab",)))
"""


@FUZZERS
def test_all_seeds_hold(module: ModuleType) -> None:
    seeds = list(module.FUZZER.seeds())
    assert len(seeds) == len(set(seeds)) > 5
    for seed in seeds:
        assert len(seed) <= engine.MOST
        module.FUZZER.check(seed)


@FUZZERS
def test_changed_seeds_hold(module: ModuleType) -> None:
    """A deterministic run without libFuzzer: a broken fuzzer is found before a minute is spent on it."""
    chance = random.Random(4)

    def raw(data: bytes) -> bytes:
        place = chance.randrange(len(data) + 1)
        return data[:place] + bytes([chance.randrange(256)]) + data[place + chance.randrange(2) :]

    inputs = list(module.FUZZER.seeds())
    changed = set[bytes]()
    for _ in range(150):
        changed.add(data := module.FUZZER.mutate(chance.choice(inputs), chance, raw)[: engine.MOST])
        module.FUZZER.check(data)
    assert len(changed) > 100


@FUZZERS
def test_a_dictionary_has_libfuzzer_s_form(module: ModuleType, tmp_path: Path) -> None:
    (dictionary, corpus) = engine.begin(module.FUZZER, tmp_path)
    lines = Path(dictionary.removeprefix("-dict=")).read_text().splitlines()
    assert [bytes.fromhex(line.strip('"').replace("\\x", "")) for line in lines] == [word for word in module.FUZZER.words if word]
    assert len(list(Path(corpus).iterdir())) == len(set(module.FUZZER.seeds()))


# They can fail --------------------------------------------------------------------------------------------------


def test_an_escape_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def escapes(stream: Any, directory: Path, **_: Any) -> None:
        (directory.parent / "outside" / "canary").write_text("the attacker's")
        raise of_tar.ImageError

    monkeypatch.setattr(of_tar, "unpack", escapes)
    with pytest.raises(AssertionError, match="beside the directory"):
        of_tar.check(b"")


def test_an_open_descriptor_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(of_tar, "opened", lambda data, path: kept.append(os.open("/dev/null", os.O_RDONLY)))
    with pytest.raises(AssertionError, match="descriptor"):
        of_tar.check(of_tar.tar())
    os.close(kept.pop())


def test_a_tree_that_changes_when_written_back_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    unpack = of_tar.unpack

    def forgetful(stream: Any, directory: Path, **options: Any) -> None:
        unpack(stream, directory, **options)
        if "again" in directory.name:
            (directory / "a" / "f").chmod(0o600)

    monkeypatch.setattr(of_tar, "unpack", forgetful)
    with pytest.raises(AssertionError, match="another tree"):
        of_tar.check(of_tar.tar(*of_tar.ENTRIES))


def test_an_error_of_another_kind_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise KeyError

    monkeypatch.setattr(of_tar, "unpack", refuses)
    with pytest.raises(KeyError):
        of_tar.check(b"")


def test_a_manifest_that_loses_its_bytes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(data: bytes, media_type: str = "") -> Manifest:
        return Manifest.parse(dump(parse(data, "manifest")), media_type)

    monkeypatch.setattr(of_manifest, "Manifest", type("Loses", (Manifest,), {"parse": staticmethod(again), "__slots__": ()}))
    with pytest.raises(AssertionError, match="bytes are not kept"):
        of_manifest.check(next(iter(of_manifest.seeds())))


def test_a_reference_that_changes_when_parsed_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references.Reference, "__str__", lambda self: f"{self.name}:other")
    with pytest.raises(AssertionError):
        of_reference.check(b"nginx:1")


# Running them ---------------------------------------------------------------------------------------------------


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("atheris", reason="needs atheris: pip install containerkit[fuzz]")
    repository = str(Path(__file__).resolve().parent.parent)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{repository}")

    def plant(body: str) -> str:
        (tmp_path / "planted.py").write_text(FINDS.format(body=body))
        return "planted"

    return plant


def test_a_failing_input_is_shown_as_base64(planted: Any) -> None:
    (found,) = fuzz([planted("assert not data.startswith(b'ab'), 'it begins with ab'")], 20)
    assert found.code == 77
    assert found.found
    assert found.finds[0].startswith(b"ab")
    assert "it begins with ab" in str(found)
    assert "base64 -d <<< YW" in str(found)


def test_a_run_without_failures_reports_its_count(planted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    planted("len(data) > 3 and data[0] == 1 and data[1] == 2")
    assert main(["1", "fuzz.reference"]) == 0
    assert int(capsys.readouterr().out.split()[1]) > 100


def test_a_fuzzer_that_hangs_is_killed(planted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fuzz import __main__ as runner

    monkeypatch.setattr(runner, "GRACE", 1)
    monkeypatch.setattr(runner, "LONGEST", 100)
    (found,) = fuzz([planted("while True: pass")], 1)
    assert found.code == 137
    assert found.found


def test_without_atheris_the_error_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "atheris", None)
    with pytest.raises(engine.Unavailable, match=re.escape(extras.command("fuzz"))):
        engine.run(of_tar.FUZZER)
