"""account(): who a text like `user:group` means in a root."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import containerkit as ck
from containerkit import merged
from containerkit.accounts import Account, account

FILES = {
    "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n# no:x:9:9::/:\nweb:x:33:34::/var/www:/bin/sh\nbad\n42:x:7:8::/odd:/\n"
    b"long:x:99999999999:1::/:/\n",
    "/etc/group": b"root:x:0:\nweb:x:34:\nstaff:x:50:web,root\nadm:x:4:web\n",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Account(0, 0, (50,), "/root")),
        ("root", Account(0, 0, (50,), "/root")),
        ("0", Account(0, 0, (50,), "/root")),
        ("web", Account(33, 34, (4, 50), "/var/www")),
        ("33", Account(33, 34, (4, 50), "/var/www")),
        ("web:staff", Account(33, 50, (), "/var/www")),
        ("web:7", Account(33, 7, (), "/var/www")),
        ("1000", Account(1000, 0, (), "/")),
        ("1000:1001", Account(1000, 1001, (), "/")),
        ("42", Account(7, 8, (), "/odd")),
        (":staff", Account(0, 50, (), "/root")),
    ],
)
def test_who_it_is(text: str, expected: Account) -> None:
    assert account(text, FILES.get) == expected


@pytest.mark.parametrize("text", ["", "0", "1000", "0:0", "1000:7"])
def test_numbers_need_no_files(text: str) -> None:
    uid, _, gid = text.partition(":")
    assert account(text, lambda path: None) == Account(int(uid or 0), int(gid or 0))


@pytest.mark.parametrize("text", ["nobody", "web:nobody", "-1", "4294967295", "1000:4294967295", "long", "²", "1000:³"])
def test_who_is_unknown_or_no_id_is_refused(text: str) -> None:
    with pytest.raises(ck.PlanError):
        account(text, FILES.get)


@given(st.text(), st.binary(), st.binary())
def test_whatever_the_files_hold_it_is_an_account_or_a_plan_error(text: str, passwd: bytes, group: bytes) -> None:
    try:
        found = account(text, {"/etc/passwd": passwd, "/etc/group": group}.get)
    except ck.PlanError:
        return
    assert 0 <= found.uid < 2**32 - 1
    assert 0 <= found.gid < 2**32 - 1


# What layers show together --------------------------------------------------------------------------------------


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    low, high = tmp_path / "low", tmp_path / "high"
    (low / "etc").mkdir(parents=True)
    (high / "etc").mkdir(parents=True)
    (low / "etc/passwd").write_text("low")
    (low / "etc/group").write_text("low")
    (high / "etc/group").write_text("high")
    (high / "to").symlink_to("/etc/passwd")
    (high / "out").symlink_to("../../../../../etc/passwd")
    (high / "circle").symlink_to("circle")
    (high / "dir").symlink_to("etc")
    return [low, high]


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/etc/passwd", b"low"), ("etc//./group", b"high"), ("/to", b"low"), ("/out", b"low"), ("/dir/group", b"high"),
        ("/etc/../etc/passwd", b"low"), ("/nothing", None), ("/etc/passwd/below", None), ("/nothing/below", None),
    ],
)  # fmt: skip
def test_the_file_that_shows(layers: list[Path], path: str, data: bytes | None) -> None:
    assert merged.read(path, layers) == data


@pytest.mark.parametrize("path", ["/circle", "/etc", "/"])
def test_what_is_no_file_is_refused(layers: list[Path], path: str) -> None:
    with pytest.raises(ck.LayerError):
        merged.read(path, layers)
