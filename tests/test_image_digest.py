"""Digests are parsed strictly, and a verified reader never delivers the end of wrong bytes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerkit.image.digest import CHUNK, Digest, Verifier
from containerkit.image.errors import InvalidDigest, Mismatch

A64 = "a" * 64


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_equals_its_text(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert digest == Digest(str(digest)) == f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    assert (digest.algorithm, digest.hex) == (algorithm, hashlib.new(algorithm, data).hexdigest())
    assert pickle.loads(pickle.dumps(digest)) == digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a digest"),
        (A64, "not a digest"),
        (f"sha256:{A64[1:]}", "64 hex digits"),
        (f"sha256:{A64}a", "64 hex digits"),
        (f"sha256:{A64.upper()}", "lower case"),
        (f"sha256:{'g' * 64}", "lower case"),
        (f"SHA256:{A64}", "not a digest"),
        (f" sha256:{A64}", "not a digest"),
        (f"sha256:{A64}\n", "not a digest"),
        (f"sha256:../../{A64[6:]}", "not a digest"),
        (f"sha256:{chr(0x660) * 64}", "not a digest"),
        (f"md5:{'a' * 32}", "only sha256 and sha512"),
        (f"sha512:{A64}", "128 hex digits"),
    ],
)
def test_malformed_digests_are_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidDigest, match=words):
        Digest(text)


@settings(deadline=None)
@given(st.text(max_size=90))
def test_every_text_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidDigest):
        assert Digest(text) == text


class Dribble:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self.inner, self.step, self.given = io.BytesIO(data), step, 0

    def read(self, size: int = -1, /) -> bytes:
        data = self.inner.read(min(size, self.step))
        self.given += len(data)
        return data


def read_in(verifier: Verifier, way: str) -> bytes:
    """Read all of a stream, by one of the ways to read."""
    if way == "all":
        return verifier.read()
    if way == "buffered":
        return io.BufferedReader(verifier).read()  # type: ignore[type-var]
    one: Any = {"read1": lambda: verifier.read1(7), "pieces": lambda: verifier.read(7)}[way]
    return b"".join(iter(one, b""))


WAYS = st.sampled_from(["all", "read1", "pieces", "buffered"])


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(1, 70), WAYS, st.booleans())
def test_the_right_bytes_pass(data: bytes, step: int, way: str, sized: bool) -> None:
    verifier = Verifier(Dribble(data, step), Digest.of(data), len(data) if sized else None)
    assert read_in(verifier, way) == data
    assert verifier.verified


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=60), st.integers(1, 70), WAYS, st.booleans(), st.data())
def test_wrong_bytes_never_pass(data: bytes, step: int, way: str, sized: bool, draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, len(data) - 1))
    wrong = draw.draw(st.sampled_from([data[:place], data + b"x", data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]]))
    verifier = Verifier(Dribble(wrong, step), Digest.of(data), len(data) if sized else None)
    with pytest.raises(Mismatch):
        read_in(verifier, way)
    assert not verifier.verified
    with pytest.raises(Mismatch):
        verifier.read1()


def test_at_most_one_byte_over_the_size_is_read() -> None:
    stream = Dribble(b"x" * 1000, 1000)
    with pytest.raises(Mismatch, match="size"):
        Verifier(stream, Digest.of(b"x" * 10), 10).drain()
    assert stream.given == 11


def test_the_last_bytes_are_withheld_from_a_forgery() -> None:
    verifier = Verifier(io.BytesIO(b"abcd"), Digest.of(b"abce"), 4)
    assert verifier.read(3) == b"abc"
    with pytest.raises(Mismatch, match="digest"):
        verifier.read(1)


def test_large_reads_are_whole() -> None:
    data = bytes(3 * CHUNK + 5)
    verifier = Verifier(io.BytesIO(data), Digest.of(data), len(data))
    assert len(verifier.read(2 * CHUNK + 1)) == 2 * CHUNK + 1
    assert verifier.tell() == 2 * CHUNK + 1
    assert verifier.drain() == len(data)


def test_closing_closes_the_stream() -> None:
    stream = io.BytesIO(b"abc")
    verifier = Verifier(stream, Digest.of(b"abc"), 3)
    verifier.close()
    assert stream.closed
    with pytest.raises(ValueError, match="closed"):
        verifier.read(1)
