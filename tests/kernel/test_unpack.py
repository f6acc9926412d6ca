"""Unpacking on the real kernel: the same tree as GNU tar's, whiteouts in both forms, what was there before, who owns it."""

from __future__ import annotations

import io
import os
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support import again
from trees import look, tar

import containerkit as ck
from containerkit import ns
from containerkit.image.errors import CannotUnpack, InvalidLayer
from containerkit.image.ids import Ids
from containerkit.image.tar import Entry
from containerkit.image.unpack.unpack import Unpacked, unpack

ROOT = os.geteuid() == 0
MINE = None if ROOT else Ids.mine()
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def put(directory: Path, *entries: tuple[Entry, bytes], **options: Any) -> Unpacked:
    return unpack(io.BytesIO(tar(*entries)), directory, **({"ids": MINE} | options))


def f(name: bytes, data: bytes = b"", **fields: Any) -> tuple[Entry, bytes]:
    return Entry(name, **fields), data


def d(name: bytes, **fields: Any) -> tuple[Entry, bytes]:
    return Entry(name, "directory", **({"mode": 0o755} | fields)), b""


# Like GNU tar ----------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize(
    "options", [["--format=gnu"], ["--format=pax", "--xattrs", "--xattrs-include=*"], ["--format=pax", "--xattrs", "-S"]], ids=" ".join
)
def test_a_real_tree_as_gnu_tar_unpacks_it(options: list[str], tmp_path: Path) -> None:
    source, ours, theirs = tmp_path / "source", tmp_path / "ours", tmp_path / "theirs"
    for directory in (source / "bin", ours, theirs):
        directory.mkdir(parents=True)
    _curiosities(source)
    subprocess.run(["cp", "-a", "/usr/lib/python3.11/json", "/etc/alternatives", "/etc/pam.d", source], check=True)
    subprocess.run(["tar", "-C", source, "--numeric-owner", *options, "-cf", tmp_path / "tar", "."], check=True)
    subprocess.run(["tar", "-C", theirs, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", tmp_path / "tar"], check=True)
    with (tmp_path / "tar").open("rb") as stream:
        unpack(stream, ours)
    assert look(ours) == look(theirs)
    assert len(look(ours)) > 100


def _curiosities(top: Path) -> None:
    """Set-user-ID, capabilities, devices, a fifo, holes, hard links, odd names, a directory nobody may write."""
    (top / "bin" / "su").write_bytes(b"x")
    os.chown(top / "bin" / "su", 3, 4)
    (top / "bin" / "su").chmod(0o6755)
    (top / "bin" / "ping").write_bytes(b"y")
    os.setxattr(top / "bin" / "ping", "security.capability", CAPABILITY)
    os.setxattr(top / "bin", "user.note", b"\0\xff")
    os.link(top / "bin" / "su", top / "hard")
    os.symlink("nowhere", top / "link")
    os.link(top / "link", top / "link2", follow_symlinks=False)
    os.mkfifo(top / "fifo", 0o600)
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "loop", stat.S_IFBLK | 0o660, os.makedev(7, 1))
    with (top / "holes").open("wb") as file:
        file.truncate(3_000_000)
        os.pwrite(file.fileno(), b"data", 1_000_000)
    with open(os.fsencode(top) + b"/\xff\xfe" + b"n" * 200, "wb"):
        pass
    (top / "locked").mkdir(mode=0o555)
    (top / "locked" / "in").write_bytes(b"z")
    (top / "sticky").mkdir()
    (top / "sticky").chmod(0o3777)
    for name in ("locked", "sticky", "link"):
        os.utime(top / name, ns=(0, 1_111_111_111_222_222_222), follow_symlinks=False)


def test_holes_stay_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with (source / "holes").open("wb") as file:
        file.truncate(50_000_000)
        os.pwrite(file.fileno(), b"data", 20_000_000)
    data = subprocess.run(["tar", "-C", source, "-S", "-cf", "-", "holes"], stdout=subprocess.PIPE, check=True).stdout
    unpack(io.BytesIO(data), target, ids=MINE)
    status = (target / "holes").stat()
    assert status.st_size == 50_000_000
    assert status.st_blocks * 512 < 1_000_000
    with (target / "holes").open("rb") as file:
        assert os.pread(file.fileno(), 6, 19_999_999) == b"\0data\0"


def test_what_it_says_about_it(tmp_path: Path) -> None:
    made = put(tmp_path, d(b"./"), f(b"a", b"12345"), f(b".wh.b"))
    assert made == Unpacked(entries=3, size=3072, content=5, removed=1, skipped=(), hiding=(b"",))
    assert len(tar(d(b"./"), f(b"a", b"12345"), f(b".wh.b"))) == made.size


# What is in the way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["file", "symlink", "fifo", "directory", "full"])
@pytest.mark.parametrize("second", ["file", "symlink", "fifo", "directory", "hardlink"])
@pytest.mark.parametrize("form", ["overlay", "plain"])
def test_the_later_entry_wins(first: str, second: str, form: str, tmp_path: Path) -> None:
    entries = {
        "file": f(b"x", b"content"), "symlink": f(b"x", kind="symlink", linkname=b"other"), "fifo": f(b"x", kind="fifo"),
        "directory": d(b"x"), "hardlink": f(b"x", kind="hardlink", linkname=b"other"),
    }  # fmt: skip
    before = [d(b"x"), f(b"x/in", b"in")] if first == "full" else [entries[first]]
    put(tmp_path, f(b"other", b"untouched"), *before, entries[second], whiteouts=form)
    assert (tmp_path / "other").read_bytes() == b"untouched"
    found = tmp_path / "x"
    kinds = {"file": stat.S_IFREG, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO, "directory": stat.S_IFDIR, "hardlink": stat.S_IFREG}
    assert stat.S_IFMT(found.lstat().st_mode) == kinds[second]
    if second == "file":
        assert found.read_bytes() == b"content"
    if second == "directory":
        assert os.listdir(found) == (["in"] if first == "full" else [])


def test_directories_in_between_are_made(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        put(tmp_path, f(b"a/b/c", b"x"))
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o755


def test_times_and_modes_of_directories_come_last(tmp_path: Path) -> None:
    put(tmp_path, d(b"a", mode=0o500, mtime=5 * 10**9), d(b"a/b", mode=0o500, mtime=6 * 10**9), f(b"a/b/c", b"x"), f(b"a/d", b"y"))
    for name, seconds in (("a", 5), ("a/b", 6)):
        status = (tmp_path / name).stat()
        assert (status.st_mtime, stat.S_IMODE(status.st_mode)) == (seconds, 0o500)


def test_many_directories_by_turns(tmp_path: Path) -> None:
    """More than are kept open."""
    entries = [f(b"d%d/sub/%d" % (n % 70, n), b"x") for n in range(300)]
    put(tmp_path, *entries)
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == 300


# Deletions -------------------------------------------------------------------------------------------------------


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def opaque(path: Path) -> bytes | None:
    return os.getxattr(path, "user.overlay.opaque") if "user.overlay.opaque" in os.listxattr(path) else None


def test_overlay_form(tmp_path: Path) -> None:
    made = put(tmp_path, d(b"a"), f(b"a/.wh.gone"), d(b"o"), f(b"o/.wh..wh..opq"), f(b"o/new", b"x"), f(b"o/.wh.new"))
    assert is_whiteout(tmp_path / "a" / "gone")
    assert (opaque(tmp_path / "a"), opaque(tmp_path / "o")) == (None, b"y")
    assert (tmp_path / "o" / "new").read_bytes() == b"x", "a whiteout speaks of the layers below"
    assert made.removed == 3


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [1, 0, 2]])
def test_a_directory_deleted_and_made_anew_is_opaque(order: list[int], tmp_path: Path) -> None:
    entries = [f(b".wh.dir"), d(b"dir"), f(b"dir/new", b"x")]
    put(tmp_path, *[entries[n] for n in order])
    assert opaque(tmp_path / "dir") == b"y"
    assert (tmp_path / "dir" / "new").read_bytes() == b"x"


def test_a_directory_that_is_only_gone_through_is_opaque_too(tmp_path: Path) -> None:
    put(tmp_path, f(b".wh.dir"), f(b"dir/new", b"x"))
    assert opaque(tmp_path / "dir") == b"y"


def test_plain_form(tmp_path: Path) -> None:
    older = [d(b"keep"), f(b"keep/old", b"1"), d(b"dir"), f(b"dir/old", b"2"), d(b"dir/sub"), f(b"dir/sub/old", b"3"), f(b"gone", b"4")]
    put(tmp_path, *older, whiteouts="plain")
    newer = [f(b".wh.gone"), d(b"dir"), d(b"dir/sub"), f(b"dir/sub/new", b"5"), f(b"dir/.wh..wh..opq"), f(b"new", b"6"), f(b".wh.new")]
    put(tmp_path, *newer, f(b"nowhere/.wh.x"), whiteouts="plain")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "dir", "dir/sub", "dir/sub/new", "keep", "keep/old", "new", "nowhere",
    ]  # fmt: skip


@pytest.mark.skipif(not ROOT, reason="needs root to mount")
def test_the_overlay_shows_what_the_plain_tree_has(tmp_path: Path, rootdir: Path) -> None:
    """Three layers with everything in them: laid over each other by the kernel, and unpacked onto each other."""
    layers = [
        [d(b"d"), f(b"d/a", b"1"), f(b"d/b", b"1"), d(b"e"), f(b"e/x", b"1"), f(b"swap", b"1"), d(b"back"), f(b"back/old", b"1")],
        [d(b"d"), f(b"d/.wh.a"), f(b".wh.e"), d(b"e"), f(b"e/y", b"2"), f(b".wh.swap"), d(b"swap"), f(b"swap/in", b"2"), f(b".wh.back")],
        [d(b"d"), f(b"d/.wh..wh..opq"), f(b"d/c", b"3"), d(b"back"), f(b"back/new", b"3")],
    ]
    plain, lowers = tmp_path / "plain", []
    plain.mkdir()
    for number, layer in enumerate(layers):
        lowers.append(tmp_path / str(number))
        lowers[-1].mkdir()
        put(lowers[-1], *layer)
        put(plain, *layer, whiteouts="plain")
    with ck.LayerFS(*lowers, readonly=True).mounted() as shown:
        assert {k: v[5] for k, v in look(shown).items()} == {k: v[5] for k, v in look(plain).items()}
        assert sorted(look(plain)) == [".", "back", "back/new", "d", "d/c", "e", "e/y", "swap", "swap/in"]


def test_an_overlay_layer_wants_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(CannotUnpack, match="empty"):
        put(tmp_path, f(b"y"))


# Whose files -----------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_ids_are_shifted(tmp_path: Path) -> None:
    put(tmp_path, f(b"a/f", uid=5, gid=6), d(b"d", uid=1), f(b"l", kind="symlink", linkname=b"x", gid=9), ids=Ids.shifted(100_000))
    owners = {str(p.relative_to(tmp_path)): (p.lstat().st_uid, p.lstat().st_gid) for p in tmp_path.rglob("*")}
    assert owners == {"a": (100_000, 100_000), "a/f": (100_005, 100_006), "d": (100_001, 100_000), "l": (100_000, 100_009)}


@pytest.mark.root
def test_ranges_of_ids(tmp_path: Path) -> None:
    ids = Ids(uids=((0, 1000, 1), (1, 100_000, 65536)), gids=((0, 0, 10),))
    put(tmp_path, f(b"root"), f(b"other", uid=5, gid=5), ids=ids)
    assert ((tmp_path / "root").stat().st_uid, (tmp_path / "other").stat().st_uid) == (1000, 100_004)
    assert ids.inside(100_004, 5) == (5, 5)
    with pytest.raises(InvalidLayer, match="user 70000 is not mapped"):
        put(tmp_path / "..", f(b"x", uid=70_000), ids=ids, whiteouts="plain")


@pytest.mark.root
@pytest.mark.parametrize("whiteouts", ["overlay", "plain"])
@pytest.mark.parametrize(("owner", "mode"), [((0, 0), 0o755), ((0, 50), 0o2755), ((7, 0), 0o755), ((0, 0), 0o2755)])
def test_files_have_the_layers_owners_under_any_owner_of_the_directory(
    tmp_path: Path, whiteouts: str, owner: tuple[int, int], mode: int
) -> None:
    """A directory may give its group to what is made in it."""
    top = tmp_path / "top"
    top.mkdir()
    os.chown(top, *owner)
    top.chmod(mode)
    owners = {b"d": (5, 6), b"d/roots": (0, 0), b"d/e": (0, 0), b"d/e/own": (0, 6), b"link": (0, 0), b"fifo": (0, 0), b"file": (0, 0)}
    kinds = {b"d": "directory", b"d/e": "directory", b"link": "symlink", b"fifo": "fifo"}
    entries = [
        (Entry(name, kinds.get(name, "file"), mode=0o2755, uid=uid, gid=gid, linkname=b"x" if name == b"link" else b""), b"")
        for name, (uid, gid) in owners.items()
    ]
    put(top, *entries, whiteouts=whiteouts)
    found = {name: os.lstat(os.path.join(os.fsencode(top), name)) for name in owners}
    assert {name: (status.st_uid, status.st_gid) for name, status in found.items()} == owners


@pytest.mark.root
def test_a_directory_of_an_older_layer_gives_its_group_to_nothing(tmp_path: Path) -> None:
    put(tmp_path, d(b"old", mode=0o2755, gid=50), whiteouts="plain")
    names = {b"old/file": "file", b"old/link": "symlink", b"old/below": "directory", b"old/below/file": "file"}
    put(
        tmp_path,
        *((Entry(name, kind, linkname=b"x" if kind == "symlink" else b""), b"") for name, kind in names.items()),
        whiteouts="plain",
    )
    found = {name: os.lstat(os.path.join(os.fsencode(tmp_path), name)) for name in names}
    assert {name: (status.st_uid, status.st_gid) for name, status in found.items()} == dict.fromkeys(names, (0, 0))


def test_setuid_and_capabilities_survive_the_owner(tmp_path: Path) -> None:
    attributes = {b"security.capability": CAPABILITY} if ROOT else {b"user.x": b"1"}
    put(tmp_path, f(b"su", b"x", mode=0o6755, uid=3 if ROOT else 0), f(b"ping", b"y", mode=0o755, uid=5 if ROOT else 0, xattrs=attributes))
    assert stat.S_IMODE((tmp_path / "su").stat().st_mode) == 0o6755
    name, value = next(iter(attributes.items()))
    assert os.getxattr(tmp_path / "ping", name) == value


@pytest.mark.unprivileged
def test_devices_and_capabilities_are_refused_or_recorded(tmp_path: Path) -> None:
    entries = [
        f(b"null", kind="char", major=1, minor=3), f(b"disk", kind="block", major=8), f(b"fifo", kind="fifo"),
        f(b"ping", b"y", xattrs={b"security.capability": CAPABILITY}), f(b"own", uid=7),
    ]  # fmt: skip
    for number, hint in ((0, "skip={'devices'}"), (3, "skip={'xattrs'}")):
        with pytest.raises(CannotUnpack, match=hint) as caught:
            put(tmp_path, entries[number], ids=Ids.mine(), whiteouts="plain")
        assert caught.value.name == entries[number][0].name
    with pytest.raises(CannotUnpack, match=r"ids=Ids\.mine"):
        put(tmp_path, entries[4], ids=Ids(), whiteouts="plain")
    made = put(tmp_path, *entries, ids=Ids.mine(), skip={"devices", "xattrs"}, whiteouts="plain")
    assert [(s.name, s.what, s.detail) for s in made.skipped] == [
        (b"null", "devices", "char 1:3"), (b"disk", "devices", "block 8:0"), (b"ping", "xattrs", "security.capability"),
    ]  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fifo", "own", "ping"]


@pytest.mark.unprivileged
def test_a_directory_that_denies_its_owner_takes_the_next_layer(tmp_path: Path) -> None:
    put(tmp_path, d(b"d", mode=0o555, mtime=10**9), f(b"d/old", b"1"), whiteouts="plain", ids=Ids.mine())
    put(tmp_path, f(b"d/new", b"2"), f(b"d/.wh.old"), whiteouts="plain", ids=Ids.mine())
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o555
    assert os.listdir(tmp_path / "d") == ["new"]


@pytest.mark.root
def test_in_a_user_namespace_with_ids_of_its_own() -> None:
    """Root of a user namespace: owners, set-user-ID and whiteouts as root has them, capabilities too, devices not."""
    data = tar(f(b"su", b"x", mode=0o4755, uid=7), f(b".wh.gone"), f(b"ping", xattrs={b"security.capability": CAPABILITY}))
    with tempfile.TemporaryDirectory() as directory:  # pytest's own are closed to other users
        _in_a_user_namespace(Path(directory), data)


def _in_a_user_namespace(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "tar").write_bytes(data)
    (tmp_path / "target").mkdir()
    for path in (tmp_path / "target", tmp_path):
        os.chown(path, 100_000, 100_000)
    script = "import sys; from containerkit.image.unpack.unpack import unpack; unpack(open(sys.argv[1], 'rb'), sys.argv[2])"
    argv = [sys.executable, "-c", script, str(tmp_path / "tar"), str(tmp_path / "target")]
    user = ns.User(uids=[(0, 100_000, 65536)], gids=[(0, 100_000, 65536)])
    result = ck.run(argv, user, env=dict(os.environ), timeout=30)
    assert result.exit_code == 0, result.stderr.decode()
    status = (tmp_path / "target" / "su").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (100_007, 0o4755)
    assert is_whiteout(tmp_path / "target" / "gone")
    assert "security.capability" in os.listxattr(tmp_path / "target" / "ping")


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, "tests/kernel/test_unpack.py")
