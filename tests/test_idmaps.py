"""Which ids root's containers get."""

from __future__ import annotations

from pathlib import Path

import pytest

import containerkit as ck
from containerkit.linux.ids import FREE, own_range


def etc(directory: Path, **files: str) -> str:
    for name, text in files.items():
        (directory / name).write_text(text)
    return str(directory)


def test_without_an_entry_a_free_range(tmp_path: Path) -> None:
    assert own_range("uid", etc(tmp_path, passwd="root:x:0:0::/:/bin/sh\n")) == ((0, FREE[0], FREE[1] - FREE[0]),)
    assert own_range("gid", str(tmp_path / "nowhere")) == ((0, FREE[0], FREE[1] - FREE[0]),)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("root:100000:65536\n", ((0, 100000, 65536),)),
        ("root:100000:65536\ncontainerkit:500000:70000\n", ((0, 500000, 70000),)),
        ("containerkit:500000:10\nroot:1:1\ncontainerkit:9000:5\n", ((0, 500000, 10), (10, 9000, 5))),
        ("# root:1:1\nroot:x:y\n:::\nroot\nroot:7000:0\nroot:8000:9\n", ((0, 8000, 9),)),
    ],
)
def test_what_the_files_give(text: str, found: object, tmp_path: Path) -> None:
    assert own_range("uid", etc(tmp_path, subuid=text)) == found
    assert own_range("gid", etc(tmp_path, subgid=text)) == found


def test_root_itself_is_never_among_them(tmp_path: Path) -> None:
    with pytest.raises(ck.PlanError, match="root's"):
        own_range("uid", etc(tmp_path, subuid="root:0:65536\n"))


def test_what_others_have_is_left_out(tmp_path: Path) -> None:
    first, end = FREE
    place = etc(tmp_path, passwd=f"a:x:{first + 10}:0::/:\nb:x:1000:1::/:\n", subuid=f"a:{first + 100_000}:65536\nb:{end - 5}:100\n")
    assert own_range("uid", place) == ((0, first + 165_536, end - 5 - first - 165_536),)


def test_no_room(tmp_path: Path) -> None:
    place = etc(tmp_path, subgid=f"a:{FREE[0]}:{FREE[1] - FREE[0] - 10}\n")
    with pytest.raises(ck.Unavailable, match=r"containerkit in (.|\n)*User\.same"):
        own_range("gid", place)
