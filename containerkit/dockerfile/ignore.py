"""The rules of a .dockerignore: the paths of a directory that are not part of the build.

    ignore = Ignore.parse(text)
    ignore.excludes("a/b.log")              a path below the directory, with slashes
    ignore.skips("node_modules")            whether the directory and every path below it are excluded

The last line that matches counts.  A line that matches a directory matches every path below it.

:see: https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

from collections.abc import Iterable

from ..base.frozen import field, frozen
from ..errors import DockerfileError
from ._lines import decoded
from ._spaces import SPACES
from .patterns import LONGEST, BadPattern, Pattern, clean

__all__ = ["Ignore", "Rule"]

REMEMBERED = 10_000  # directories
ROUNDS = 16  # rounds of cleaning for one pattern: only an attacker's "./ ./ ./ " needs more


@frozen
class Rule:
    """One line.

    :param keeps: whether the line begins with ``!``: a matching path is included after all
    """

    pattern: Pattern
    keeps: bool = False

    def __str__(self) -> str:
        return ("!" if self.keeps else "/" * self.pattern.text.startswith(("#", "!", "\ufeff"))) + self.pattern.text


@frozen
class Ignore:
    """The rules that exclude paths.

    :param rules: in order
    """

    rules: tuple[Rule, ...] = ()
    _seen: dict[str, tuple[bool, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str | bytes, *, name: str = ".dockerignore") -> Ignore:
        """Parse the text of a file.

        :raises DockerfileError: a line is no pattern
        """
        rules = []
        for number, line in enumerate(decoded(text, name).split("\n"), 1):
            if not line.startswith("#") and (bare := line.strip(SPACES)):
                rule = _rule(bare, name, number, line)
                rules.extend([rule] if rule else [])
        return cls(tuple(rules))

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Ignore:
        """Parse patterns as of --exclude.

        :raises DockerfileError: a pattern is malformed
        """
        rules = (_rule(bare, "--exclude", 1, pattern) for pattern in patterns if (bare := pattern.strip(SPACES)))
        return cls(tuple(rule for rule in rules if rule))

    def excludes(self, path: str) -> bool:
        """Whether `path`, relative and with slashes, is excluded."""
        return self._decide(self._matched(path))

    def skips(self, directory: str) -> bool:
        """Whether `directory` and every possible path below it are excluded, so that a walk need not enter it."""
        if not self.excludes(directory):
            return False
        below = f"{directory.strip('/')}/"
        return not any(rule.keeps and _may_match_below(rule.pattern, below) for rule in self.rules)

    def _decide(self, matched: tuple[bool, ...]) -> bool:
        last = max((index for index, match in enumerate(matched) if match), default=None)
        return last is not None and not self.rules[last].keeps

    def _matched(self, path: str) -> tuple[bool, ...]:
        """Return, for each rule, whether it matches `path` or a directory above.  A rule that would change nothing counts as no match."""
        names = path.strip("/").split("/")
        matched = (False,) * len(self.rules)
        for depth in range(1, len(names) + 1):
            part = "/".join(names[:depth])
            known = self._seen.get(part)
            matched = known if known is not None else self._below(matched, part)
            if known is None and depth < len(names):
                self._remember(part, matched)
        return matched

    def _below(self, above: tuple[bool, ...], path: str) -> tuple[bool, ...]:
        out, found = False, []
        for rule, match_above in zip(self.rules, above, strict=True):
            match = match_above or (rule.keeps == out and rule.pattern.matches(path))
            out = not rule.keeps if match else out
            found.append(match)
        return tuple(found)

    def _remember(self, directory: str, matched: tuple[bool, ...]) -> None:
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        self._seen[directory] = matched

    def __str__(self) -> str:
        return "".join(f"{rule}\n" for rule in self.rules)


def _rule(text: str, name: str, number: int, line: str) -> Rule | None:
    """Return the rule of a line; None for ``.``, which docker ignores."""
    keeps = text.startswith("!")
    bare = text[keeps:].strip(SPACES)
    column = line.find(bare) + 1 if bare else len(line.rstrip(SPACES)) + 1
    shown = line.rstrip("\r")
    if not bare:
        raise DockerfileError("a pattern was expected after !", name=name, line=number, column=column, source=shown)
    if len(bare) > LONGEST:
        raise DockerfileError(f"a pattern has more than {LONGEST} characters", name=name, line=number, column=column, source=shown[:80])
    path = _cleaned(bare)
    if path in ("", "."):
        return None
    if "\0" in path or not _is_text(path):
        raise DockerfileError("not text: UTF-8 without NUL was expected", name=name, line=number, column=column, source=shown)
    try:
        return Rule(Pattern.parse(path), keeps)
    except BadPattern as error:
        raise DockerfileError(f"{path[:80]!r}: {error}", name=name, line=number, column=column, source=shown) from None


def _cleaned(path: str) -> str:
    """Clean a path as `clean` does, without the leading slash, until nothing changes."""
    for _ in range(ROUNDS):
        before, path = path, clean(path).removeprefix("/").strip(SPACES)
        if path in ("", before):
            break
    return path


def _is_text(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _may_match_below(pattern: Pattern, below: str) -> bool:
    """Whether a path below a directory, whose name ends in a slash, can match."""
    begins = pattern.literal
    return begins.startswith(below) or (not pattern.is_literal and below.startswith(begins))
