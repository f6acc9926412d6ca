"""Dockerfiles, their variables, and .dockerignore: a parsed text is written and parses back equal; an error has a position."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

from containerkit.errors import DockerfileError

from .engine import Fuzzer, instrumented, run

with instrumented(__name__):
    from containerkit.dockerfile import Dockerfile, parse, parse_trigger
    from containerkit.dockerfile.expansion import Expansion
    from containerkit.dockerfile.ignore import Ignore
    from containerkit.dockerfile.instructions import Instruction, OnBuild

LOOKUPS: tuple[dict[str, str], ...] = ({}, {"A": "a b", "EMPTY": "", "P": "/usr/local/bin", "x": "*.[!a]?\\", "Q": "\"'`$A"})
PATHS = ("a", "a/b", "a/b/c.log", ".git", "node_modules/x/y", "d.d/e", "\u00e9", "x" * 50, "a b", "#a", "!a")
WORDS = (
    "FROM ", "ADD ", "COPY ", "RUN ", "CMD ", "ENTRYPOINT ", "ENV ", "ARG ", "LABEL ", "USER ", "WORKDIR ", "VOLUME ", "EXPOSE ", "SHELL ",
    "STOPSIGNAL ", "ONBUILD ", "HEALTHCHECK ", "MAINTAINER ", " AS ", "--from=", "--chown=", "--chmod=", "--link", "--exclude=",
    "--parents",
    "--checksum=sha256:", "--mount=type=", "bind,", "cache,", "tmpfs,", "secret,", "target=", "source=", "id=", "--network=none",
    "--platform=", "--interval=1m1.5s", "NONE", "<<EOF", "<<-'E'", "\nEOF\n", "\nE\n", '["', '"]', "\\\n", "`\n", "# escape=`\n",
    "# syntax=", "# check=skip=", "\ufeff", "\r\n", "${", "}", ":-", ":+", ":?", "##", "%%", "//", "$A", "$$", "\\$", "**", "**/", "[!",
    "[^",
    "]", "!", "scratch", "80/tcp", "1-65535", "\u00a0", "\u2028", "\0", "'", '"', "\t",
)  # fmt: skip
SEEDS = (
    'FROM node:7\nADD app.js /app.js\nENTRYPOINT ["node", "app.js"]\n',
    "# syntax=docker/dockerfile:1\n# escape=`\nARG V=1\nFROM --platform=linux/amd64 debian:${V:-12} AS build\nRUN a `\n  && b\n",
    "FROM a\nRUN <<EOF cat <<-'E'\nfirst $A\nEOF\n\tsecond\n\tE\nCOPY --chmod=755 <<x /x\nline ${A}\nx\n",
    "FROM a AS b\nFROM b\nCOPY --from=0 --chown=1:1 --link --exclude=*.md --parents a b /c/\nADD --checksum=sha256:" + "a" * 64 + " h /\n",
    "FROM a\nENV A=1 B=\"two words\" C='$A' D=\\$A\nENV E the rest of it\nLABEL x=y \"k k\"=v\nEXPOSE 80 443/udp 1-3\nVOLUME /a [\"/b\"]\n",
    "FROM a\nRUN --mount=type=cache,target=/c,id=$A --mount=type=secret,id=s,env=S --mount=type=bind,from=b,target=/d --network=none x\n",
    "FROM scratch\nHEALTHCHECK --interval=1m --retries=3 CMD [\"a\"]\nONBUILD RUN x\nONBUILD COPY a /\nSTOPSIGNAL 9\nUSER $A\n",
    "FROM a\nRUN x \\\n# a comment\n\n  y\nWORKDIR ${P#*/}/${P##*/}/${P%/*}/${P%%l*}/${P/l/m}/${P//l/m}\nCMD [not json]\nMAINTAINER me\n",
    "# comment\n*/temp*\n**/*.log\n!keep.log\n/a/../b\n[a-c]?\n\\#x\n!**/README.md\n",
    "${A:-${B:-c}} ${x:+y} ${EMPTY:?no} $1 ${} ${A \\\\ '\"' \"'\"",
)  # fmt: skip


def check(data: bytes) -> None:
    """Check the properties of any bytes."""
    of_file(data)
    of_ignore(data)
    of_expansion(data.decode(errors="replace"))


# Dockerfiles -----------------------------------------------------------------------------------------------------


def of_file(data: bytes) -> None:
    try:
        found = parse(data)
    except DockerfileError as error:
        in_its_place(error, data)
        return
    normal = str(found)
    again = parse(normal)
    assert again == found, f"{normal!r} is read as something else"
    assert str(again) == normal, f"{normal!r} is written in another way when it is read"
    assert found.stages, "nothing to build"
    for instruction in instructions(found):
        of_instruction(instruction)


def instructions(found: Dockerfile) -> Iterator[Instruction]:
    yield from found.args
    for stage in found.stages:
        yield from (stage.start, *stage.instructions)


def of_instruction(instruction: Instruction) -> None:
    assert instruction.source, "no text of its own"
    for lookup in LOOKUPS:
        try:
            one, other = instruction.expand(lookup), instruction.expand(dict(lookup))
        except DockerfileError as error:
            str(error)
            continue
        assert type(one) is type(instruction)
        assert one == other, "expanded in two ways"
        str(one)
    if isinstance(instruction, OnBuild):
        try:
            parse_trigger(str(instruction).partition(" ")[2])
        except DockerfileError as error:
            str(error)


def in_its_place(error: DockerfileError, data: bytes) -> None:
    """Check that an error points into the text."""
    lines = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n")
    assert 1 <= error.line <= len(lines), f"{error} is beyond {len(lines)} lines"
    assert 1 <= error.column <= len(lines[error.line - 1]) + 1, f"{error} is beyond its line"
    str(error)


# .dockerignore and variables -------------------------------------------------------------------------------------


def of_ignore(data: bytes) -> None:
    try:
        found = Ignore.parse(data)
    except DockerfileError as error:
        in_its_place(error, data)
        return
    again = Ignore.parse(str(found))
    assert again == found, f"{str(found)!r} is read as something else"
    for path in PATHS:
        excluded = found.excludes(path)
        assert again.excludes(path) == excluded == Ignore(found.rules).excludes(path), f"{path!r} is left out at times"
        if found.skips(path):
            assert excluded, f"{path!r} is skipped, and wanted"
            assert all(found.excludes(f"{path}/{below}") for below in PATHS), f"something below {path!r} is wanted, and it is skipped"


def of_expansion(text: str) -> None:
    for lookup in LOOKUPS:
        try:
            one = Expansion(lookup).word(text)
        except DockerfileError as error:
            str(error)
            continue
        assert one == Expansion(dict(lookup)).word(text)


# How to change them ----------------------------------------------------------------------------------------------


def seeds() -> Iterator[bytes]:
    yield from (each.encode() for each in SEEDS)


def mutate(data: bytes, chance: random.Random, raw: Callable[[bytes], bytes]) -> bytes:
    """Change lines, and words in lines."""
    lines = data.split(b"\n")
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(lines))
        words = [word for word in re.split(rb"([ ,=/:$}{]+)", lines[place]) if word]
        at = chance.randrange(len(words) + 1)
        match chance.randrange(7):
            case 0:
                lines.insert(place, chance.choice(chance.choice(SEEDS).split("\n")).encode())
            case 1 if len(lines) > 1:
                del lines[place]
            case 2:
                lines[place] = raw(lines[place])
            case 3 if words:
                words[at : at + 1] = []
                lines[place] = b"".join(words)
            case 4:
                lines[place] += chance.choice((b"\\", b"`", b" \\", b"\r", b" <<E\nx\nE"))
            case _:
                words.insert(at, chance.choice(WORDS).encode())
                lines[place] = b"".join(words)
    return b"\n".join(lines)


FUZZER = Fuzzer(check, seeds, mutate, tuple(word.encode() for word in WORDS))

if __name__ == "__main__":
    run(FUZZER)
