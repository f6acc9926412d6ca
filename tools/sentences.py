"""Check the sentences of docstrings and comments against the rules of CONTRIBUTING.md, and draw some for a reader to judge.

    python tools/sentences.py                      list the clear faults; exit with 1 if there are any
    python tools/sentences.py --likely             also list likely faults, which a reader has to judge
    python tools/sentences.py --draw 20 --seed 7   print 20 docstrings and comments drawn at random

The clear faults are exact: `make style` fails on them.
"""

from __future__ import annotations

import argparse
import ast
import io
import random
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("containerkit", "csrc", "fuzz", "tools", "benchmarks")

#: A sentence that begins with such a word is a riddle: the reader has to find the noun that it stands for.
RIDDLE = re.compile(r"(?:^|(?<=[.:;!?]  )|(?<=[.!?] ))(What|Who|Whom|Whose|Whoever|Whatever|Whomever|Whichever)\b(?![^.]*\?)")
#: Words that stand for a thing or a person without naming it.
VAGUE = re.compile(
    r"\b(whoever|whomever|whatever|who asks|who may|for who|by who|to who|of who|somebody|anybody|everybody)\b", re.IGNORECASE
)
#: A docstring of one line whose pronoun has no noun.
PRONOUN = re.compile(
    r"^(It|Its|They|Their|One (?:that|of|in|which|without)|That|Those|Same|As|Of|By|In|Into|With|Without|For|Where|When|Also|Not)\b"
)
#: Verbs that end in "s" in the imperative too.
IMPERATIVE = frozenset("Pass Process Address Access Guess Press Focus Bypass Discuss Compress Decompress Dismiss Suppress Canvas".split())
#: A function's docstring in the third person: "Closes ..." has no subject.
THIRD_PERSON = re.compile(r"^([A-Z][a-z]+(?:[^aeious]|[aeiou])s)\b (?!are\b|is\b|of\b|that\b|in\b|from\b|and\b|as\b|for\b)")
#: Nouns in the plural that begin a docstring as the subject of a phrase: "Bytes on disk", "Milliseconds left".
NOUNS = frozenset(
    "Bytes Seconds Milliseconds Rows Columns Files Names Steps Layers Blobs Tokens Events Limits Mounts Options Flags Words Lines".split()
)


class Text(NamedTuple):
    """One docstring or comment.

    :ivar kind: "function", "class", "module", "attribute" or "comment"
    """

    path: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {' '.join(self.text.split())}"


def docstrings(path: str, source: str) -> Iterator[Text]:
    """Yield the docstrings of a Python file, those of attributes included."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for number, statement in enumerate(body if isinstance(body, list) else ()):
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str):
                kinds = {ast.Module: "module", ast.ClassDef: "class", ast.FunctionDef: "function", ast.AsyncFunctionDef: "function"}
                kind = "attribute" if number else kinds.get(type(node), "attribute")
                if kind == "function" and _is_property(node):
                    kind = "attribute"
                yield Text(path, statement.lineno, kind, statement.value.value)


def _is_property(node: ast.AST) -> bool:
    decorators = [ast.unparse(each) for each in getattr(node, "decorator_list", ())]
    return any(each.endswith(("property", "setter")) for each in decorators)


def comments(path: str, source: str) -> Iterator[Text]:
    """Yield the comments of a Python file; comments on consecutive lines are one."""
    begun, last, words = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        row, text = token.start[0], token.string.lstrip("#: ")
        joined = row == last + 1 and token.line.lstrip().startswith("#")
        if words and not joined:
            yield Text(path, begun, "comment", " ".join(words))
            words = []
        begun, last, words = begun if words else row, row, [*words, text]
    if words:
        yield Text(path, begun, "comment", " ".join(words))


def comments_of_c(path: str, source: str) -> Iterator[Text]:
    """Yield the comments of a C file."""
    for found in re.finditer(r"/\*(.*?)\*/", source, re.DOTALL):
        text = re.sub(r"^\s*\* ?", "", found[1], flags=re.MULTILINE).strip()
        yield Text(path, source.count("\n", 0, found.start()) + 1, "comment", text)


def texts(paths: list[str]) -> Iterator[Text]:
    """Yield every docstring and comment of files, given by their paths below the repository."""
    for path in paths:
        source = (ROOT / path).read_text()
        if path.endswith((".c", ".h")):
            yield from comments_of_c(path, source)
        elif path.endswith(".py"):
            yield from docstrings(path, source)
            yield from comments(path, source)


def files() -> list[str]:
    """List the tracked files of the rooms."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.splitlines() if path.endswith((".py", ".c", ".h")) and (ROOT / path).exists()]


def clear_fault(each: Text) -> str:
    """Return the rule that a text certainly breaks, or ""."""
    prose = re.sub(r"``.*?``|`.*?`|\".*?\"|'.*?'", "X", each.text)
    if found := RIDDLE.search(" ".join(prose.split("\n"))):
        return f"a sentence begins with {found[1]!r}: name the thing"
    if each.kind == "function" and is_third_person(each.text):
        return f"the docstring of a function begins with {each.text.split()[0]!r}: use the imperative"
    return ""


def is_third_person(text: str) -> bool:
    """Whether a docstring begins with a verb in the third person, as "Closes", and not with a noun in the plural."""
    found = THIRD_PERSON.match(text)
    return bool(found) and found[1] not in NOUNS | IMPERATIVE and not found[1].endswith("ss")


def likely_fault(each: Text) -> str:
    """Return the rule that a text may break, or ""."""
    if found := VAGUE.search(each.text):
        return f"{found[1]!r} names nobody"
    if each.kind != "comment" and (found := PRONOUN.match(each.text)):
        return f"begins with {found[1]!r}: is there a subject?"
    return ""


def draw(count: int, seed: int) -> list[Text]:
    """Draw docstrings and comments of at least four words at random."""
    known = [each for each in texts(files()) if len(each.text.split()) >= 4 and "SPDX" not in each.text]
    return random.Random(seed).sample(known, min(count, len(known)))


def main(argv: list[str] | None = None) -> int:
    """Run the command line.  Return 1 if a file has a clear fault."""
    parser = argparse.ArgumentParser(description="Check docstrings and comments, or draw some for a reader.")
    parser.add_argument("--likely", action="store_true", help="also list likely faults; they do not count as errors")
    parser.add_argument("--draw", type=int, metavar="N", help="print N docstrings and comments drawn at random")
    parser.add_argument("--seed", type=int, default=0, metavar="NUMBER", help="the seed of the draw; 0 unless given")
    options = parser.parse_args(argv)
    if options.draw:
        print("\n\n".join(map(str, draw(options.draw, options.seed))))
        return 0
    found = list(texts(files()))
    faults = [f"{each}\n    {fault}" for each in found if (fault := clear_fault(each))]
    likely = [f"{each}\n    perhaps: {fault}" for each in found if options.likely and (fault := likely_fault(each))]
    print("".join(f"{line}\n" for line in [*faults, *likely]), end="")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
