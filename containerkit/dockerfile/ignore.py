"""What of a directory is not part of the build: .dockerignore.

    ignore = Ignore.parse(text)
    ignore.excludes("a/b.log")              a path below the directory, with slashes
    ignore.skips("node_modules")            nothing below that directory can be wanted

The last line that matches counts.  One that matches a directory matches all that is below it.

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
ROUNDS = 16  # of cleaning one pattern: more would be for one who writes "./ ./ ./ " to keep us busy


@frozen
class Rule:
    """One line.

    :param keeps: whether it begins with ``!``: what matches is wanted after all
    """

    pattern: Pattern
    keeps: bool = False

    def __str__(self) -> str:
        return ("!" if self.keeps else "/" * self.pattern.text.startswith(("#", "!", "\ufeff"))) + self.pattern.text


@frozen
class Ignore:
    """Which paths are left out.

    :param rules: in order
    """

    rules: tuple[Rule, ...] = ()
    _seen: dict[str, tuple[bool, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str | bytes, *, name: str = ".dockerignore") -> Ignore:
        """Of a file's text.

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
        """Of patterns as --exclude has them.

        :raises DockerfileError: one is no pattern
        """
        rules = (_rule(bare, "--exclude", 1, pattern) for pattern in patterns if (bare := pattern.strip(SPACES)))
        return cls(tuple(rule for rule in rules if rule))

    def excludes(self, path: str) -> bool:
        """Whether `path`, relative and with slashes, is left out."""
        return self._decide(self._matched(path))

    def skips(self, directory: str) -> bool:
        """Whether `directory` and all that is, or could be, below it is left out: nobody need look into it."""
        if not self.excludes(directory):
            return False
        below = f"{directory.strip('/')}/"
        return not any(rule.keeps and _may_match_below(rule.pattern, below) for rule in self.rules)

    def _decide(self, matched: tuple[bool, ...]) -> bool:
        last = max((index for index, match in enumerate(matched) if match), default=None)
        return last is not None and not self.rules[last].keeps

    def _matched(self, path: str) -> tuple[bool, ...]:
        """Which rules match `path` or a directory above it.  One that would change nothing counts as one that does not."""
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
    """The rule of a line; None for ``.``, which docker passes over."""
    keeps = text.startswith("!")
    bare = text[keeps:].strip(SPACES)
    column = line.find(bare) + 1 if bare else len(line.rstrip(SPACES)) + 1
    shown = line.rstrip("\r")
    if not bare:
        raise DockerfileError("a pattern was expected after !", name=name, line=number, column=column, source=shown)
    if len(bare) > LONGEST:
        raise DockerfileError(f"a pattern of more than {LONGEST} characters", name=name, line=number, column=column, source=shown[:80])
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
    """As `clean`, from the directory on; what that uncovers at the ends is cleaned again."""
    for _ in range(ROUNDS):
        before, path = path, clean(path).removeprefix("/").strip(SPACES)
        if path in ("", before):
            break
    return path


def _is_text(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _may_match_below(pattern: Pattern, below: str) -> bool:
    """Whether something below a directory, whose name ends in a slash, can match."""
    begins = pattern.literal
    return begins.startswith(below) or (not pattern.is_literal and below.startswith(begins))
