"""A .dockerignore excludes the same paths as docker's."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerkit.dockerfile.ignore import Ignore
from containerkit.dockerfile.patterns import BadPattern, Pattern, _walker, clean
from containerkit.errors import DockerfileError


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("abc", "abc", "ab abcd a/abc abc/d"),
        ("a*", "a ab a.b", "a/b ba"),
        ("*", "a .b", "a/b"),
        ("*/*", "a/b", "a a/b/c"),
        ("?", "a é", "/ ab"),
        ("a?c", "abc", "a/c ac"),
        ("[abc]", "a b", "d ab"),
        ("[a-c]x", "bx", "dx"),
        ("[^a]x", "bx", "ax"),
        ("[\\]a]", "] a", "\\"),
        ("[\\-]", "-", "a"),
        ("\\*", "*", "a"),
        ("a\\bc", "abc", "a\\bc"),
        ("a.b", "a.b", "axb"),
        ("a+(b)|{c}$^", "a+(b)|{c}$^", "a"),
        ("**", "a a/b a/b/c", ""),
        ("**/", "a a/b", ""),
        ("**/a", "a b/a c/b/a", "ba a/b b/ba"),
        ("**a", "a b/a ba c/ba", "ab"),
        ("**.log", "x.log a/y.log", "x.log/a"),
        ("a/**", "a/b a/b/c", "a ab"),
        ("a**", "a ab a/b ab/c", "b"),
        ("a/**/b", "a/b a/c/b a/c/d/b", "ab a/cb"),
        ("a/**/*.py", "a/x.py a/b/c/x.py", "x.py a/x.pyc"),
        ("**/*.go", "x.go a/x.go", "x.gox"),
        ("**/a/**", "a/b x/a/b/c", "a b/a"),
        ("a**/b", "a/b ab ac/b", "b a/bc"),
        ("*/b*/**/c", "a/b/c a/bb/x/y/c", "b/c a/c/c"),
        ("**/**/a", "a b/c/a", "ab"),
        ("a*b*c*d", "abcd a1b2c3d", "abc a/bcd"),
        ("**/a*/**/b*/**/c", "a/b/c x/a1/y/b2/z/c", "a/c b/a/c"),
    ],
)
def test_a_pattern_matches(pattern: str, matching: str, others: str) -> None:
    parsed = Pattern.parse(clean(pattern))
    assert [path for path in matching.split() if not parsed.matches(path)] == []
    assert [path for path in others.split() if parsed.matches(path)] == []


def test_without_deep_two_stars_are_one_star() -> None:
    assert Pattern.parse("a/**", deep=False).matches("a/b")
    assert not Pattern.parse("a/**", deep=False).matches("a/b/c")
    assert not Pattern.parse("**/b", deep=False).matches("b")


@pytest.mark.parametrize(
    ("pattern", "offset", "words"),
    [
        ("a[", 1, "not closed"), ("[]a]", 1, "needs a backslash"), ("[a-]", 3, "needs a backslash"), ("x[-a]", 2, "needs a backslash"),
        ("[b-a]", 0, "ends before it begins"), ("a\\", 1, "backslash ends"), ("[a\\", 0, "not closed"), ("[^]", 2, "needs a backslash"),
        ("a" * 5000, 0, "more than 4096"),
    ],
)  # fmt: skip
def test_the_error_of_a_malformed_pattern_has_its_position(pattern: str, offset: int, words: str) -> None:
    with pytest.raises(BadPattern, match=words) as caught:
        Pattern.parse(pattern)
    assert caught.value.offset == offset


PATTERNS = st.lists(st.sampled_from(["a", "b", "/", "*", "**", "**/", "?", "[ab]", "[^a]", "\\*"]), max_size=7).map("".join)
PATHS = st.text(alphabet="ab/*", max_size=12)


@settings(deadline=None, max_examples=500)
@given(PATTERNS, PATHS)
def test_both_ways_of_matching_agree(text: str, path: str) -> None:
    pattern = Pattern.parse(text)
    said = {"*": "[^/]*", "**/": "(?:.*/)?", "**": ".*"}
    expected = re.fullmatch("".join(said.get(token, token) for token in pattern.tokens), path, re.DOTALL) is not None
    assert pattern.matches(path) == expected == _walker(pattern.tokens)(path)
    if expected:
        assert path.startswith(pattern.literal)
        assert not pattern.is_literal or path == pattern.literal


@pytest.mark.parametrize("pattern", ["*a" * 50, "**/a" * 50, "**/*a" * 40 + "b", "*" * 500, "a*" * 100, "**/a*/" * 50])
@pytest.mark.parametrize("path", ["a" * 4000, "a/" * 2000, "/".join(["a" * 255] * 15)])
def test_no_pattern_takes_long(pattern: str, path: str) -> None:
    began = time.process_time()
    Pattern.parse(pattern).matches(path)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("given_path", "cleaned"),
    [("a", "a"), ("", "."), ("./a/", "a"), ("a//b", "a/b"), ("/a/../..", "/"), ("../../a", "../../a"), ("a/../../b", "../b"), ("/.", "/")],
)  # fmt: skip
def test_paths_are_cleaned_as_go_does(given_path: str, cleaned: str) -> None:
    assert clean(given_path) == cleaned


@pytest.mark.parametrize(
    ("text", "out", "kept"),
    [
        ("", "", "a a/b"),
        ("# comment\n\n  a  \n", "a a/b", "b # comment"),
        (" # no comment\n", "# no comment".replace(" ", "\x00"), "a"),
        ("/a/\n", "a a/b", "b/a"),
        ("a/b/../c", "a/c", "a/b"),
        (".\n./\n/\n", "", "a b/c"),
        ("./#a\n./ b\nc/ /\n", "#a b c", "a"),
        ("*\n!a\n", "b .c b/a", "a a/b"),
        ("!a\n*\n", "a b", ""),
        ("*\n!a/b\n", "a a/c", "a/b a/b/c"),
        ("a\n!a/b\na/b/c\n", "a a/d a/b/c a/b/c/e", "a/b a/b/d"),
        ("**/*.md\n!README.md\n", "a.md b/README.md b/c.md", "README.md a"),
        ("*.md\n! README.md\n", "a.md", "README.md b/c.md"),
        ("*/temp*\n", "a/temp a/tempo/b", "temp a/b/temp"),
        ("node_modules\n**/node_modules\n", "node_modules/a b/node_modules/c", "node"),
        ("../a\n", "", "a"),
        ("a\r\nb\r\n", "a b", "c"),
        ("\ufeffa\n", "a", "b"),
        ("*\n!**/*.py\n", "a a/b", "x.py a/x.py"),
        ("dir\n!dir/keep\n!dir\n", "", "dir/keep dir dir/x"),
    ],
)
def test_an_ignore_file_excludes_paths(text: str, out: str, kept: str) -> None:
    ignore = Ignore.parse(text)
    assert [path for path in out.split() if not ignore.excludes(path.replace("\x00", " "))] == []
    assert [path for path in kept.split() if ignore.excludes(path)] == []
    assert Ignore.parse(str(ignore)) == ignore


@pytest.mark.parametrize(
    ("text", "skipped", "walked"),
    [
        ("a\n", "a a/b", "b"),
        ("*\n!a/b\n", "b", "a"),
        ("*\n!**/x\n", "", "a b"),
        ("*\n!a*/x\n", "b", "a ab"),
        ("a\n!a\n", "", "a"),
    ],
)
def test_a_directory_without_kept_paths_is_skipped(text: str, skipped: str, walked: str) -> None:
    ignore = Ignore.parse(text)
    assert [path for path in skipped.split() if not ignore.skips(path)] == []
    assert [path for path in walked.split() if ignore.skips(path)] == []


RULES = st.lists(st.tuples(st.sampled_from(["", "!"]), PATTERNS).map("".join), max_size=5)
NAMES = st.lists(st.sampled_from(["a", "b", "ab", "*"]), min_size=1, max_size=4).map("/".join)


@settings(deadline=None, max_examples=500)
@given(RULES, NAMES, NAMES)
def test_a_skipped_directory_has_no_kept_path_below(lines: list[str], directory: str, below: str) -> None:
    try:
        ignore = Ignore.parse("\n".join(lines))
    except DockerfileError:
        return
    if ignore.skips(directory):
        assert ignore.excludes(directory)
        assert ignore.excludes(f"{directory}/{below}")
    assert ignore.excludes(below) == Ignore.parse("\n".join(lines)).excludes(below)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet="a*!/[]-\\# \n", max_size=40))
def test_any_bytes_are_rules_or_refused(data: bytes | str) -> None:
    try:
        ignore = Ignore.parse(data)
    except DockerfileError:
        return
    assert Ignore.parse(str(ignore)) == ignore
    ignore.excludes("a/b")


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a\n!\n", 2, 2, "after !"),
        ("a\n  [b\n", 2, 3, "not closed"),
        ("!a[", 1, 2, "not closed"),
        (b"a\n\xff", 2, 1, "not text"),
        ("a\0b", 1, 1, "not text"),
    ],
)
def test_an_error_has_the_position_of_the_fault(text: str | bytes, line: int, column: int, words: str) -> None:
    with pytest.raises(DockerfileError, match=words) as caught:
        Ignore.parse(text)
    assert (caught.value.line, caught.value.column, caught.value.name) == (line, column, ".dockerignore")


def test_excludes_are_patterns_too() -> None:
    ignore = Ignore.of(["*.md", "!a.md"])
    assert ignore.excludes("b.md")
    assert not ignore.excludes("a.md")
    with pytest.raises(DockerfileError, match="not closed"):
        Ignore.of(["["])
