"""Quotes, escapes and variables put together at random: buildah and we make the same of them, or both refuse.

Left out is where docker's parser goes on from the one buildah has: ``$`` before a special parameter, two escapes at the end of a
line, a name that is empty.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from dockerfiles import BASE, base_image, settings
from peertools import Containers, at_a_time, in_memory

from containerkit.builder import build
from containerkit.errors import DockerfileError
from containerkit.store.store import Store

pytestmark = [pytest.mark.peer, pytest.mark.root, pytest.mark.timeout(300)]

LINES, SEED = 120, 20261123
BEGINNINGS = [
    "LABEL l=",
    "ENV v=",
    "LABEL ",
    "ENV ",
    "ENV v ",
    "CMD ",
    "CMD [",
    'ENTRYPOINT ["a", ',
    "USER u",
    "VOLUME ",
    "WORKDIR /w",
    "ARG z=",
]
PIECES = [
    "a", "b ", " ", "\t", '"', "'", "\\", '\\"', "\\'", "\\\\", "\\ ", "\\n", "\\$x", "$x", "${x}", "${x", "$x-y", "$x$x", "$", "${e:-d}",
    "${u:-d}", "${u:+p}", "${x:+p q}", "${u:-${x}}", '"${u:-"i"}"', '"q q"', "'s $x'", "=", "k=", "#", "{", "}", "[", '"]', "é", "`",
    "*", ",", "<", "$(x)", "\\\n", "\\\n  # a comment\n ",
]  # fmt: skip
LEFT_OUT = re.compile(r"""\$[@*#?$!0-9-] | \\\\[ \t]*$ | ^[ ]= | [ ]=""", re.VERBOSE | re.MULTILINE)


def lines() -> list[str]:
    """Always the same."""
    choose, found = random.Random(SEED), list[str]()
    while len(found) < LINES:
        beginning = choose.choice(BEGINNINGS)
        line = beginning + "".join(choose.choice(PIECES) for _ in range(choose.randint(1, 9)))
        if not LEFT_OUT.search(line):
            found.append(line + ('\nLABEL l="$z"' if beginning.startswith("ARG") else ""))
    return found


def test_words_are_understood_as_buildah_does() -> None:
    with in_memory("words") as place:
        base, store = base_image(place / "tree"), Store(place / "store")
        store.put(base, BASE)

        def theirs(buildah: Containers, line: str) -> dict[str, Any] | None:
            context = buildah.directory / "context"
            write(context, line)
            try:
                buildah.buildah("bud", "-q", "--format=docker", "--identity-label=false", "--pull=never", "-t", "localhost/it", context)
            except AssertionError:
                return None
            return settings(buildah.config_of("localhost/it:latest"))

        wanted = at_a_time(6, place, base, f"{BASE}:latest", theirs, lines())
        found = [ours(place / "context", line, store) for line in lines()]
    assert {line: mine for line, mine, other in zip(lines(), found, wanted, strict=True) if mine != other} == {}
    assert LINES / 4 < wanted.count(None) < LINES * 3 / 4


def ours(context: Path, line: str, store: Store) -> dict[str, Any] | None:
    write(context, line)
    try:
        return settings(json.loads(build(context, store=store).config_data))
    except DockerfileError:
        return None


def write(context: Path, line: str) -> None:
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(f"FROM {BASE}\nENV x=val e=\n{line}\n")
