"""Layers made by an attacker: nothing gets out of the directory, every one ends with an error that says what it is, none hangs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from evil import SMALL, Evil, corpus, directory, file, hardlink, stream, symlink, tar
from support import again

from containerkit.image.compression.compression import Decompressed
from containerkit.image.compression.pipes import ReadAhead
from containerkit.image.errors import ImageError
from containerkit.image.ids import Ids
from containerkit.image.unpack.unpack import unpack

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(20)]
OUTSIDE = b"/tmp/ck-evil-outside"  # only the names of the tests come from it
NAMES = [evil.name for evil in corpus(OUTSIDE)]


def seen(directory: Path) -> list[tuple[Any, ...]]:
    """Everything below a directory that an attacker could change."""
    found = []
    for path in [directory, *sorted(directory.rglob("*"))]:
        s = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found.append((path, s.st_mode, s.st_uid, s.st_gid, s.st_nlink, s.st_mtime_ns, s.st_rdev, content, tuple(os.listxattr(path))))
    return found


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A part of the host beside the directory."""
    made = tmp_path / "outside"
    (made / "sub").mkdir(parents=True)
    (made / "canary").write_text("the host's")
    (made / "sub" / "canary").write_text("the host's too")
    return made


def attack(evil: Evil, target: Path, whiteouts: Literal["overlay", "plain"]) -> None:
    with ReadAhead(Decompressed(stream(evil), limits=SMALL)) as ahead:
        unpack(ahead, target, whiteouts=whiteouts, limits=SMALL, skip={"devices"}, ids=None if os.geteuid() == 0 else Ids.mine())


def test_there_are_enough_of_them() -> None:
    assert len(NAMES) == len(set(NAMES)) > 100


@pytest.mark.parametrize("whiteouts", ["overlay", "plain"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_gets_out(name: str, whiteouts: Literal["overlay", "plain"], tmp_path: Path, outside: Path) -> None:
    evil = next(evil for evil in corpus(os.fsencode(outside)) if evil.name == name)
    target, cwd = tmp_path / "target", tmp_path / "cwd"
    target.mkdir()
    cwd.mkdir()
    before = seen(outside), seen(cwd), sorted(os.listdir(tmp_path)), sorted(os.listdir(os.sep)), os.getcwd()
    fds = len(os.listdir("/proc/self/fd"))
    expected = evil.expected(whiteouts)
    if expected is None:
        attack(evil, target, whiteouts)
    else:
        with pytest.raises(ImageError) as caught:
            attack(evil, target, whiteouts)
        assert isinstance(caught.value, expected), repr(caught.value)
    assert (seen(outside), seen(cwd), sorted(os.listdir(tmp_path)), sorted(os.listdir(os.sep)), os.getcwd()) == before
    assert len(os.listdir("/proc/self/fd")) == fds


@pytest.mark.parametrize("name", ["escape", "escape/deeper/than/that", "etc"])
def test_a_target_full_of_links_is_no_way_out(name: str, tmp_path: Path, outside: Path) -> None:
    """A plain tree may hold links of an older layer: they lead to places inside."""
    target = tmp_path / "target"
    target.mkdir()
    (target / name.split("/")[0]).symlink_to(outside)
    before = seen(outside)
    for part in (file(f"{name}/x".encode()), hardlink(b"h", f"{name}/canary".encode()), file(f"{name}/.wh.canary".encode(), b"")):
        try:
            attack(Evil("", tar(part), None), target, "plain")
        except ImageError:
            continue
    assert seen(outside) == before


def test_links_that_stay_inside_are_followed(tmp_path: Path) -> None:
    data = tar(directory(b"usr/"), directory(b"usr/lib/"), symlink(b"lib", b"/usr/../../usr/lib"), file(b"lib/x", b"inside"))
    attack(Evil("", data, None), tmp_path, "overlay")
    assert (tmp_path / "usr" / "lib" / "x").read_bytes() == b"inside"


@pytest.mark.timeout(60)
@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, "tests/hostile/test_evil_layers.py", "-k", "(through or climbing or late or plain) and not ordinary_user")
