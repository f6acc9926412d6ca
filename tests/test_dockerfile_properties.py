"""Any bytes are either a Dockerfile whose normal form parses back equal, or an error with a position, and in linear time."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from containerkit.dockerfile import Dockerfile, parse, parse_trigger
from containerkit.dockerfile.expansion import Expansion
from containerkit.dockerfile.instructions import Env, Instruction
from containerkit.errors import DockerfileError

KEYWORDS = [
    "FROM", "ADD", "COPY", "RUN", "CMD", "ENTRYPOINT", "ENV", "ARG", "LABEL", "USER", "WORKDIR", "VOLUME", "EXPOSE", "SHELL",
    "STOPSIGNAL", "ONBUILD", "HEALTHCHECK", "MAINTAINER", "HEALTHCHECK CMD", "ONBUILD RUN", "ONBUILD COPY",
]  # fmt: skip
FLAGS = r"""--from=a --from=0 --chown=a:b --chown='a~b' --chown=a"b" --chmod=755 --link --link=false --exclude=*.md --parents
    --checksum=sha256:ab --keep-git-dir --unpack=false --platform=linux/arm64 --network=none --security=insecure --interval=1m1.5s
    --mount=type=cache,target=/c,uid=7,mode=0700 --mount=target=/a,rw --mount=type=secret,id=x,env=Y --retries=3 -- --x
    --mount=type=tmpfs,target=/t,size=1g --mount=type=bind,target=$x --mount=type=bind,\"target=/a,b\"""".split()
WORDS = r"""a b/ /c x=1 y="a~b" z='c' $x ${x:-y} \$x \ ` ' " <<E <<-F <<'E' 3<<E ["a","b~c"] [ ["\u0041"] [1] [] AS s 80/tcp 1-3 SIGTERM 9
    NONE CMD # é --a = ${x } ${x#*/} ${x//a/b}
    RUN COPY""".split()
ODD = ["\u00a0", "\t", "\v", "\r", "\x1c", "\0", "\ud800"]
ENDS = ["\n", "\n", "\n", "\r\n", "\\\n", " \\\n", "`\n", "\\\n\n", "\\\n# c\n", "\nE\n", "\ntext $x\nE\n", "\n\tF\n", "", "\\ \n"]
PARTS = st.lists(st.sampled_from(WORDS + ODD), max_size=4)
LINES = st.builds(
    lambda keyword, flags, words, end: " ".join([keyword, *flags, *words]).replace("~", " ") + end,
    st.sampled_from(KEYWORDS), st.lists(st.sampled_from(FLAGS), max_size=2), PARTS, st.sampled_from(ENDS),
)  # fmt: skip
HEADS = st.sampled_from(["", "# escape=`\n", "# syntax=x\n# escape=\\\n", "ARG x=1\n", "\ufeff# check=skip=all\n", " # escape=`\n"])
FILES = st.builds(lambda head, lines: head + "FROM a AS b\n" + "".join(lines), HEADS, st.lists(LINES, min_size=1, max_size=3))


def read_or_refused(text: str | bytes) -> Dockerfile | None:
    """Return the Dockerfile, or None after an error with a position in the text."""
    refused = None
    try:
        return parse(text)
    except DockerfileError as error:
        refused = error
    lines = (text if isinstance(text, str) else text.decode(errors="surrogateescape")).removeprefix("\ufeff").split("\n")
    assert 1 <= refused.line <= len(lines)
    assert 1 <= refused.column <= len(lines[refused.line - 1]) + 1
    assert refused.source in (lines[refused.line - 1].rstrip("\r"), "")
    return None


def look_at(dockerfile: Dockerfile, lookup: dict[str, str]) -> None:
    """Read every attribute and property of what was parsed."""
    assert parse(str(dockerfile)) == dockerfile
    for stage in dockerfile.stages:
        for instruction in (stage.start, *stage.instructions):
            assert instruction.source
            try:
                expanded: Instruction = instruction.expand(lookup)
            except DockerfileError:
                continue
            assert type(expanded) is type(instruction)
            assert str(expanded)


@settings(deadline=None, max_examples=300)
@given(FILES, st.sampled_from([{}, {"x": "a b"}, {"x": "/c/"}, {"x": ""}]))
@example("FROM a\nRUN a\\ \\", {})
@example("FROM a\nRUN -- --b\n", {})
@example('FROM a\nCOPY ["<<E", "\\n"]\n', {})
def test_the_normal_form_reads_back_the_same(text: str, lookup: dict[str, str]) -> None:
    dockerfile = read_or_refused(text)
    if dockerfile is not None:
        look_at(dockerfile, lookup)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: ("FROM a\nRUN " + text).encode(errors="surrogatepass")))
def test_any_bytes_are_a_dockerfile_or_refused(data: bytes) -> None:
    dockerfile = read_or_refused(data)
    if dockerfile is not None:
        look_at(dockerfile, {})


@settings(deadline=None, max_examples=200)
@given(PARTS.map(" ".join))
def test_any_trigger_is_an_instruction_or_refused(text: str) -> None:
    try:
        made = parse_trigger("RUN " + text)
    except DockerfileError:
        return
    assert parse_trigger(str(made)) == made


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="ab${}:-+?#%/*\\'\" `", max_size=30), st.sampled_from("\\`"))
def test_any_word_is_expanded_or_refused(text: str, escape: str) -> None:
    expansion = Expansion({"a": "bab/a", "b": ""}, escape)
    try:
        word = expansion.word(text)
    except DockerfileError:
        return
    assert "".join("".join(expansion.words(text)).split()) == "".join(word.split())


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN " + "\\\n" * 120_000 + "x",
        "FROM a\nRUN " + "a \\\n# c\n" * 20_000,
        "FROM a\n" + "RUN <<E\nE\n" * 10_000,
        "FROM a\nRUN " + "<<E " * 20_000,
        "FROM a\nENV a=" + "${a:-" * 100_000,
        "FROM a\nENV a=" + '"' * 500_001,
        "FROM a\nENV " + "a=b " * 20_000,
        "FROM a\nCOPY " + "[" * 500_000,
        "FROM a\nCOPY [" + '"a",' * 60_000,
        "FROM a\nCOPY " + "a " * 60_000,
        "FROM a\n" + "FROM a AS b\n" * 20_000,
        "#" + " " * 900_000 + "x=",
        "\n" * 1_000_000,
        "FROM a\nRUN " + "--mount=type=cache,target=/x " * 10_000 + "x",
        "FROM a\nRUN --mount=" + '""' * 200_000 + " x",
        "FROM a\nEXPOSE " + "".join(f"{port}-65535 " for port in range(60_000)),
    ],
)
def test_parsing_takes_time_in_proportion_to_the_text(text: str) -> None:
    began = time.process_time()
    read_or_refused(text)
    assert time.process_time() - began < 15


@pytest.mark.parametrize("pattern", ["*a" * 100, "?" * 256, "a*" * 100 + "b", "*" * 200, "a" * 200 + "*b"])
@pytest.mark.parametrize("form", ["${x#%s}", "${x##%s}", "${x%%%s}", "${x%%%%%s}", "${x/%s/c}", "${x//%s/c}"])
def test_no_pattern_takes_long(form: str, pattern: str) -> None:
    began = time.process_time()
    Expansion({"x": "a" * 100_000}).word(form % pattern)
    assert time.process_time() - began < 3


def test_a_variable_of_variables_does_not_grow_without_end() -> None:
    line = parse("FROM a\nENV a=" + "$a" * 10 + "\n").stages[0].instructions[0]
    assert isinstance(line, Env)
    assert line.expand({"a": "x" * 100_000}).pairs[0].value == "x" * 1_000_000
    with pytest.raises(DockerfileError, match="more than 1048576 characters"):
        line.expand({"a": "x" * 110_000})
    with pytest.raises(DockerfileError, match="more than 1048576 characters"):
        Expansion({"a": "x" * 10_000, "b": "y" * 10_000}).word("${a//x/$b}")


def test_a_file_larger_than_a_mebibyte_is_refused() -> None:
    with pytest.raises(DockerfileError, match="larger than 1048576 bytes"):
        parse(b"#" * ((1 << 20) + 1))
