"""account(): the meaning of a text like `user:group` in a root."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import containerkit as ck
from containerkit.layers import merged
from containerkit.layers.accounts import Account, account

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
        ("42", Account(42, 0, (), "/")),
        ("+33", Account(33, 34, (4, 50), "/var/www")),
        ("0033", Account(33, 34, (4, 50), "/var/www")),
        (":staff", Account(0, 50, (), "/root")),
    ],
)
def test_the_account_of_each_user(text: str, expected: Account) -> None:
    assert account(text, FILES.get) == expected


@pytest.mark.parametrize("text", ["", "0", "1000", "0:0", "1000:7"])
def test_numbers_need_no_files(text: str) -> None:
    uid, _, gid = text.partition(":")
    assert account(text, lambda path: None) == Account(int(uid or 0), int(gid or 0))


@pytest.mark.parametrize("text", ["nobody", "web:nobody", "-1", "web:staff:more", "4294967295", "1000:4294967295", "long", "²", "1000:³"])
def test_unknown_names_and_bad_ids_are_refused(text: str) -> None:
    with pytest.raises(ck.PlanError):
        account(text, FILES.get)


@pytest.mark.parametrize("text", ["root", "root:root", "0:root", "root:0", ":root", "root:"])
def test_root_needs_no_line(text: str) -> None:
    assert account(text, lambda path: None) == Account(0, 0, (), "/")
    assert account(text, {"/etc/passwd": b"app:x:1:1::/:\n", "/etc/group": b"app:x:1:\n"}.get) == Account(0, 0, (), "/")


def test_a_line_for_root_decides() -> None:
    files = {"/etc/passwd": b"toor:x:0:3::/toor:\n", "/etc/group": b"root:x:12:\nwheel:x:9:toor\n"}
    assert account("", files.get) == Account(0, 3, (9,), "/toor")
    assert account("0", files.get) == Account(0, 3, (9,), "/toor")
    assert account("0:root", files.get).gid == 12


ODD_GROUPS = [
    b"odd:x::app", b"odd:x:-1:app", b"odd:x:0x10:app", b"odd:x:99999999999:app", b"odd:x:4294967295:app", b"odd:x: 5 5:app", b"odd",
    b"odd:x", b"+:::", b"+app::5:app", b"-odd:x:5:app", b"# odd:x:5:app", b"", b"\r", b"   ", b":x:5:other", b"odd:x:5app:app",
    b"odd:x:" + b"9" * 100_000 + b":app",
]  # fmt: skip


@pytest.mark.parametrize("line", ODD_GROUPS, ids=lambda line: repr(line[:30]))
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_that_libc_skips_is_skipped(line: bytes, end: bytes) -> None:
    """glibc's files-grp.c and files-pwd.c skip a line that their parser refuses."""
    group = end.join([b"first:x:7:app", line, b"last:x:8:other,app"]) + end
    passwd = end.join([b"root:x:0:0::/root:/bin/sh", line, b"app:x:1000:1001::/home/app:/bin/sh"]) + end
    assert account("app", {"/etc/passwd": passwd, "/etc/group": group}.get) == Account(1000, 1001, (7, 8), "/home/app")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"app:x:5:6", Account(5, 6, (), "/")),  # the fields behind the ids may be missing
        (b"app:x:5:6:::", Account(5, 6, (), "/")),
        (b"app:x:5:6::/h:/bin/sh:more:fields", Account(5, 6, (), "/h")),
        (b"app:x:+5:006::/h:", Account(5, 6, (), "/h")),
        (b"app:x:bad:6::/bad:\napp:x:5:6::/h:", Account(5, 6, (), "/h")),
        (b"app:x:5:6::/h:\napp:x:7:8::/second:", Account(5, 6, (), "/h")),
    ],
)
def test_a_line_that_libc_takes(line: bytes, expected: Account) -> None:
    assert account("app", {"/etc/passwd": line}.get) == expected


def test_a_group_without_a_list_of_members_is_one() -> None:
    assert account("0:staff", {"/etc/group": b"staff:x:50"}.get).gid == 50


def test_a_number_is_an_id_also_where_a_name_is_spelt_like_it() -> None:
    files = {"/etc/passwd": b"1000:x:0:0::/root:\n", "/etc/group": b"1000:x:0:\n"}
    assert account("1000:1000", files.get) == Account(1000, 1000, (), "/")


@given(st.text(), st.binary(), st.binary())
def test_random_files_give_an_account_or_a_plan_error(text: str, passwd: bytes, group: bytes) -> None:
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
def test_read_returns_the_topmost_file(layers: list[Path], path: str, data: bytes | None) -> None:
    assert merged.read(path, layers) == data


@pytest.mark.parametrize("path", ["/circle", "/etc", "/"])
def test_reading_a_directory_or_a_fifo_is_refused(layers: list[Path], path: str) -> None:
    with pytest.raises(ck.LayerError):
        merged.read(path, layers)
