"""The tar reader and writer: we read what GNU tar and Python's tarfile write, and they read what we write."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerkit.image.errors import InvalidLayer, LimitExceeded
from containerkit.image.limits import Limits
from containerkit.image.tar import Entry, Reader, Writer, pax


class Dribble:
    """A stream that gives few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._inner, self._step = io.BytesIO(data), step

    def read(self, size: int = -1, /) -> bytes:
        return self._inner.read(min(size, self._step) if size >= 0 else self._step)


def written(*entries: tuple[Entry, bytes]) -> bytes:
    blocks: list[bytes] = []
    writer = Writer(lambda block: blocks.append(bytes(block)))
    for entry, data in entries:
        writer.add(entry, data if entry.kind == "file" else None)
    writer.close()
    assert writer.size == sum(map(len, blocks))
    return b"".join(blocks)


def read(data: bytes, limits: Limits | None = None, step: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    reader = Reader(Dribble(data, step), limits)
    found = [(entry, reader.read()) for entry in reader]
    reader.drain()
    assert reader.total == len(data)
    return found


names = st.binary(min_size=1, max_size=180).filter(lambda n: b"\0" not in n and not n.endswith(b"/"))
keys = st.sampled_from([b"user.a", b"security.capability", b"user.\xff"])
entries = st.builds(
    lambda name, kind, link, number, mtime, xattrs, data: (
        Entry(
            name, kind, 0o4755, number, number // 2, len(data) if kind == "file" else 0, mtime,
            link if kind in ("symlink", "hardlink") else b"", xattrs, *((1, 3) if kind in ("char", "block") else (0, 0)),
            stored=len(data) if kind == "file" else 0,
        ),
        data if kind == "file" else b"",
    ),
    names, st.sampled_from(["file", "directory", "symlink", "hardlink", "char", "block", "fifo"]), names,
    st.integers(0, (1 << 32) - 2), st.integers(-(1 << 60), 1 << 62),
    st.dictionaries(keys, st.binary(max_size=30)), st.binary(max_size=3000),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(entries, max_size=5), st.integers(1, 2000))
def test_written_entries_are_read_back(wanted: list[tuple[Entry, bytes]], step: int) -> None:
    found = read(written(*wanted), step=step)
    assert [(entry._replace(pax={}), data) for entry, data in found] == wanted


@settings(max_examples=60, deadline=None)
@given(st.lists(entries.filter(lambda e: not any(b"\xff" in k for k in e[0].xattrs)), max_size=5))
def test_tarfile_reads_what_is_written(wanted: list[tuple[Entry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(*wanted)), errorlevel=2) as archive:
        members = archive.getmembers()
        for (entry, data), member in zip(wanted, members, strict=True):
            assert os.fsencode(member.name).rstrip(b"/") == entry.name.rstrip(b"/")
            assert (member.mode, member.uid, member.gid, member.size) == (entry.mode, entry.uid, entry.gid, entry.size)
            if entry.kind == "file" and data:
                assert archive.extractfile(member).read() == data  # type: ignore[union-attr]


def test_the_same_entries_give_the_same_bytes() -> None:
    entry = Entry(b"x" * 200, size=3, mtime=1_500_000_000, xattrs={b"user.b": b"1", b"user.a": b"2"})
    other = entry._replace(xattrs={b"user.a": b"2", b"user.b": b"1"})
    assert written((entry, b"abc")) == written((other, b"abc"))


@pytest.mark.parametrize("data", [b"ab", b"abcd", io.BytesIO(b"ab"), io.BytesIO(b"abcd"), None])
def test_content_of_another_size_than_the_header_is_refused(data: bytes | io.BytesIO | None) -> None:
    with pytest.raises(InvalidLayer):
        Writer(lambda block: None).add(Entry(b"x", size=3), data)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a tree with every kind of file."""
    top = tmp_path / "tree"
    (top / "dir" / ("long" * 30)).mkdir(parents=True)
    (top / "dir" / ("long" * 30) / ("name" * 40)).write_bytes(b"deep" * 1000)
    (top / "link").symlink_to("target" * 30)
    os.link(top / "dir" / ("long" * 30) / ("name" * 40), top / "hard")
    with open(os.fsencode(top) + b"/bytes\xff\xfe", "wb") as file:
        file.write(b"not utf-8")
    with (top / "sparse").open("wb") as file:
        for at in range(40):
            file.seek(at * 200_000)
            file.write(b"piece %d" % at)
        file.truncate(9_000_000)
    os.mkfifo(top / "fifo")
    os.utime(top / "hard", ns=(1, 1_234_567_890_123_456_789))
    return top


@pytest.mark.parametrize(
    "options",
    [["--format=gnu"], ["--format=gnu", "-S"], ["--format=pax"], ["--format=pax", "-S", "--sparse-version=0.0"],
     ["--format=pax", "-S", "--sparse-version=0.1"], ["--format=pax", "-S", "--sparse-version=1.0"]],
    ids=" ".join,
)  # fmt: skip
def test_reads_what_gnu_tar_writes(options: list[str], tree: Path) -> None:
    data = subprocess.run(["tar", "-C", tree, "--numeric-owner", "-cf", "-", *options, "."], check=True, stdout=subprocess.PIPE).stdout
    kinds = set()
    reader, seen = Reader(Dribble(data, 70_000)), set()
    for entry in reader:
        path = os.fsencode(tree) + b"/" + entry.name
        status = os.lstat(path)
        assert (entry.mode, entry.uid) == (status.st_mode & 0o7777, status.st_uid)
        assert entry.mtime == (status.st_mtime_ns if "pax" in options[0] else status.st_mtime_ns // 10**9 * 10**9)
        if entry.kind == "file":
            content = bytearray(entry.size)
            for offset, length in entry.sparse if entry.sparse is not None else ((0, entry.size),):
                content[offset : offset + length] = reader.read(length)
            with open(path, "rb") as file:
                assert bytes(content) == file.read()
            kinds |= {"sparse"} if entry.sparse is not None else set()
        if entry.kind == "symlink":
            assert entry.linkname == os.readlink(path)
        seen.add(entry.name)
        kinds.add(entry.kind)
    reader.drain()
    assert kinds == {"file", "directory", "symlink", "hardlink", "fifo"} | ({"sparse"} if "-S" in options else set())
    assert len(seen) == 9


def test_old_and_base_256_numbers() -> None:
    assert pax.number(b"\x80\0\0\0\0\0\0\0\0\0\1\0", "") == 256
    assert pax.number(b"\xff" * 12, "") == -1
    assert pax.number(b"  755 \0 ", "") == 0o755
    assert pax.number(bytes(8), "") == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"1", 10**9), (b"1.5", 1_500_000_000), (b"-1.5", -1_500_000_000), (b"0.0000000019", 1), (b"-0.0000000019", -2), (b".5", 5 * 10**8)],
)
def test_times(text: bytes, value: int) -> None:
    assert pax.nanoseconds(text) == value


@given(st.integers(-(1 << 70), 1 << 70))
def test_a_time_survives_writing_and_reading(value: int) -> None:
    assert pax.nanoseconds(pax.time(value)) == value


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 1023))
def test_damage_is_reported(noise: bytes, at: int) -> None:
    """Random bytes give entries or one of our errors."""
    data = bytearray(written((Entry(b"a" * 150, size=600, mtime=5), b"x" * 600), (Entry(b"d", "directory"), b"")))
    data[at : at + len(noise)] = noise
    try:
        read(bytes(data), Limits(bytes=1 << 20))
    except (InvalidLayer, LimitExceeded):
        return


@pytest.mark.parametrize(
    ("limits", "count"),
    [(Limits(entries=3), 4), (Limits(bytes=5000), 12), (Limits(path=50), None), (Limits(pax=100), None), (Limits(xattrs=1), None)],
)
def test_limits_can_be_set(limits: Limits, count: int | None) -> None:
    long = Entry(b"n" * 150, size=0, xattrs={b"user.a": b"1", b"user.b": b"2"})
    data = written(*[(Entry(b"x", size=1), b"1")] * count) if count else written((long, b""))
    read(data)
    with pytest.raises(LimitExceeded, match=r"see Limits\."):
        read(data, limits)


def test_a_missing_end_is_accepted_and_half_a_block_is_not() -> None:
    data = written((Entry(b"x", size=3), b"abc"))
    assert [entry.name for entry, _ in read(data[:1024])] == [b"x"]
    with pytest.raises(InvalidLayer):
        read(data[:1000])
    with pytest.raises(InvalidLayer):
        read(data[:500])
