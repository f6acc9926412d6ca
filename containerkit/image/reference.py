"""A reference: where an image is, and which one it is.

    Reference.parse("nginx")                        docker.io/library/nginx:latest
    Reference.parse("127.0.0.1:5000/lesson:1")      a registry needs a dot, a port, or the name localhost
    str(reference), reference.familiar              in full, and as short as it can be said

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
LONGEST = 255  # characters of a repository
MOST = 1024  # of anything


@frozen
class Reference:
    """Where an image is, and which one it is.

    :param registry: "docker.io", "127.0.0.1:5000"
    :param repository: "library/nginx"
    :param tag: "latest" where there is no digest either
    :param digest: of the manifest or index; it counts, whatever the tag says
    :raises InvalidReference: one of them is not of distribution's grammar
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
        """As people write it, completed in docker's way; a reference is what its text says.

        :raises InvalidReference: not a reference; the text says what is wrong with it
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
        """Without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """As short as it can be said, and still be read as the same: ``nginx:latest``."""
        tail = str(self).removeprefix(self.name)
        for prefix in (f"{DEFAULT_REGISTRY}/{OFFICIAL}/", f"{DEFAULT_REGISTRY}/"):
            short = self.name.removeprefix(prefix)
            if short != self.name and _means(short + tail, self):
                return short + tail
        return str(self)

    def with_tag(self, tag: str) -> Reference:
        """The same repository with another tag, and no digest."""
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest | str) -> Reference:
        """The same repository, and exactly these bytes."""
        return replace(self, tag="", digest=Digest(digest))

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _check(grammar: re.Pattern[str], text: str, what: str) -> None:
    if len(text) > MOST:  # the grammar goes back and forth
        raise InvalidReference(f"{what} {text[:40]}... is longer than {MOST} characters")
    if not grammar.fullmatch(text):
        raise InvalidReference(f"{text[:300]!r} is not {what}")


def _is_registry(word: str) -> bool:
    """How docker tells a registry from the first part of a repository."""
    return "." in word or ":" in word or word == "localhost" or word != word.lower()


def _split_digest(text: str) -> tuple[str, Digest | None]:
    name, at, digest = text.partition("@")
    try:
        return name, Digest(digest) if at else None
    except InvalidDigest as error:
        raise InvalidReference(f"{text[:300]!r}: {error}") from None


def _split_tag(name: str, text: str) -> tuple[str, str]:
    """A colon after the last slash begins a tag; one before it begins a port."""
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
