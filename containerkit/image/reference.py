"""A reference: the name of an image: registry, repository, tag and digest.

    Reference.parse("nginx")                        docker.io/library/nginx:latest
    Reference.parse("127.0.0.1:5000/lesson:1")      a registry needs a dot, a port, or the name localhost
    str(reference), reference.familiar              the full name, and the shortest one

:see: https://github.com/distribution/reference
"""

from __future__ import annotations

import re

from ..base import checks, late
from ..base.frozen import frozen, replace
from ..errors import WrongType
from .digest import Digest
from .errors import InvalidDigest, InvalidReference

__all__ = ["Reference"]

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = late.pattern(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII)
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = late.pattern(rf"{_PART}(?:/{_PART})*", re.ASCII)
_TAG = late.pattern(r"\w[\w.-]{0,127}", re.ASCII)
_IDENTIFIER = late.pattern(r"[a-f0-9]{64}", re.ASCII)

DEFAULT_REGISTRY, OLD_REGISTRY, OFFICIAL = "docker.io", "index.docker.io", "library"
DEFAULT_TAG = "latest"
LONGEST = 255  # characters of a repository's name
MOST = 1024  # characters of any part, checked before a regular expression sees it


@frozen
class Reference:
    """The name of an image: registry, repository, tag and digest.

    :param registry: "docker.io", "127.0.0.1:5000"
    :param repository: "library/nginx"
    :param tag: "latest" when neither a tag nor a digest is given
    :param digest: of the manifest or index; when given, it decides which image is meant, and the tag does not count
    :raises InvalidReference: a part does not follow distribution's grammar
    """

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    def __post_init__(self) -> None:
        self._normalise()
        _check(_REGISTRY, self.registry, "a registry")
        if not _is_registry(self.registry):
            raise InvalidReference(f"{self.registry!r} is not a registry: one has a dot or a port, or is localhost")
        _check(_REPOSITORY, self.repository, "a repository")
        if len(self.repository) > LONGEST:
            raise InvalidReference(f"the repository {self.repository[:40]}... is longer than {LONGEST} characters")
        if self.tag:
            _check(_TAG, self.tag, "a tag")

    def _normalise(self) -> None:
        if self.registry == OLD_REGISTRY:
            object.__setattr__(self, "registry", DEFAULT_REGISTRY)
        if self.registry == DEFAULT_REGISTRY and "/" not in self.repository:
            object.__setattr__(self, "repository", f"{OFFICIAL}/{self.repository}")
        if self.digest is not None:
            object.__setattr__(self, "digest", Digest(self.digest))
        elif not self.tag:
            object.__setattr__(self, "tag", DEFAULT_TAG)

    @classmethod
    def parse(cls, text: str | Reference) -> Reference:
        """Parse a reference as people write it, and complete it as docker does.

        :param text: "nginx", "127.0.0.1:5000/app:1"; a `Reference` is parsed from its own text
        :raises InvalidReference: `text` is not a reference; the message says what is wrong with it
        :raises WrongType: `text` is neither a string nor a reference
        """
        if isinstance(text, Reference):
            text = str(text)
        if not isinstance(text, str):
            raise WrongType(f'an image\'s name is text, as "debian:12", not {checks.said(text)}')
        name, digest = _split_digest(text)
        name, tag = _split_tag(name, text)
        if _IDENTIFIER.fullmatch(name):
            raise InvalidReference(f"{name[:12]}... is the id of an image, not a name")
        registry, repository = _split_registry(name)
        if repository != repository.lower():
            raise InvalidReference(f"{text[:300]!r}: a repository is in lower case: {repository.lower()[:255]!r}")
        return cls(registry, repository, tag, digest)

    @property
    def name(self) -> str:
        """The registry and the repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """The shortest text that `parse` reads as the same reference: ``nginx:latest``."""
        tail = str(self).removeprefix(self.name)
        for prefix in (f"{DEFAULT_REGISTRY}/{OFFICIAL}/", f"{DEFAULT_REGISTRY}/"):
            short = self.name.removeprefix(prefix)
            if short != self.name and _means(short + tail, self):
                return short + tail
        return str(self)

    def with_tag(self, tag: str) -> Reference:
        """Return the same repository with another tag, and without a digest."""
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest | str) -> Reference:
        """Return the same repository with this digest, and without a tag."""
        return replace(self, tag="", digest=Digest(digest))

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _check(grammar: re.Pattern[str], text: str, what: str) -> None:
    if len(text) > MOST:  # the grammar backtracks: a longer text would cost much time
        raise InvalidReference(f"{what} {text[:40]}... is longer than {MOST} characters")
    if not grammar.fullmatch(text):
        raise InvalidReference(f"{text[:300]!r} is not {what}")


def _is_registry(word: str) -> bool:
    """Return whether docker reads the first part of a name as a registry rather than as part of the repository."""
    return "." in word or ":" in word or word == "localhost" or word != word.lower()


def _split_digest(text: str) -> tuple[str, Digest | None]:
    name, at, digest = text.partition("@")
    try:
        return name, Digest(digest) if at else None
    except InvalidDigest as error:
        raise InvalidReference(f"{text[:300]!r}: {error}") from None


def _split_tag(name: str, text: str) -> tuple[str, str]:
    """Split a tag off a name: a colon after the last slash begins a tag, an earlier one begins a port."""
    start = name.rfind("/") + 1
    last, colon, tag = name[start:].partition(":")
    if colon and not tag:
        raise InvalidReference(f"{text[:300]!r} ends in a colon: a tag is missing")
    return name[:start] + last, tag


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    return (first, rest) if slash and _is_registry(first) else (DEFAULT_REGISTRY, name)


def _means(text: str, reference: Reference) -> bool:
    try:
        return Reference.parse(text) == reference
    except InvalidReference:
        return False
