"""Platforms: their spellings, and the images that run on each."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerkit.image.errors import InvalidDocument
from containerkit.image.platform import Platform

WORDS = st.from_regex(r"\A[a-z0-9][a-z0-9_.-]{0,6}\Z")
PLATFORMS = st.builds(
    Platform,
    st.sampled_from(["linux", "windows"]),
    st.sampled_from(["amd64", "arm64", "arm", "riscv64"]),
    st.sampled_from(["", "v1", "v2", "v3", "v6", "v7", "v8", "odd"]),
)


@settings(deadline=None)
@given(st.builds(Platform, WORDS, WORDS, st.just("") | WORDS, st.just("") | WORDS, st.lists(WORDS, max_size=2).map(tuple)))
def test_platforms_survive_json(platform: Platform) -> None:
    assert Platform.from_json(platform.to_json()) == platform


@settings(deadline=None)
@given(PLATFORMS)
def test_text_and_back(platform: Platform) -> None:
    assert Platform.parse(str(platform)) == platform


@settings(deadline=None)
@given(PLATFORMS, st.lists(PLATFORMS | st.none(), max_size=6))
def test_the_best_is_one_that_runs_and_none_is_better(wanted: Platform, offered: list[Platform | None]) -> None:
    assert wanted.rank(wanted) == wanted.rank(wanted.normal) == 0
    best = wanted.best(offered)
    ranks = [wanted.rank(platform) if platform else None for platform in offered]
    assert (best is None) == all(rank is None for rank in ranks)
    if best is not None:
        assert ranks[best] == min(rank for rank in ranks if rank is not None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/arm64/v8", Platform("linux", "arm64", "v8")),
        ("arm64", Platform("linux", "arm64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("Linux/X86_64", Platform("linux", "amd64")),
        ("armhf", Platform("linux", "arm", "v7")),
        ("linux/i686", Platform("linux", "386")),
        ("windows", Platform("windows", Platform.here().architecture)),
    ],
)
def test_spellings(text: str, expected: Platform) -> None:
    assert Platform.parse(text) == expected


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux/a/b/c", "linux/a b", "linux/\n", "linux/é"])
def test_malformed_platforms_are_refused(text: str) -> None:
    with pytest.raises(InvalidDocument, match="platform"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "runs"),
    [
        ("arm64", "arm64/v8", True),
        ("arm64/v8", "arm64", True),
        ("arm64/v8", "arm64/v9", False),
        ("arm/v7", "arm/v6", True),
        ("arm/v6", "arm/v7", False),
        ("arm", "arm/v7", True),
        ("amd64", "amd64/v2", False),
        ("amd64/v3", "amd64/v2", True),
        ("amd64/v3", "amd64", True),
        ("amd64", "arm64", False),
        ("amd64", "windows/amd64", False),
    ],
)
def test_the_rank_of_platforms(wanted: str, offered: str, runs: bool) -> None:
    assert Platform.parse(wanted).match(Platform.parse(offered)) is runs


def test_the_newest_that_runs_is_taken() -> None:
    offered = [Platform.parse(text) for text in ("amd64", "amd64/v4", "amd64/v2", "arm64")]
    assert Platform.parse("amd64/v3").best([None, *offered]) == 3


def test_here_is_the_platform_of_uname() -> None:
    assert Platform.here().match(Platform.parse(os.uname().machine))
