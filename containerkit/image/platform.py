"""A platform: the operating system and the processor that an image is made for.

    Platform.parse("linux/arm64/v8")      Platform.here()
    wanted.best(offered)                  the index of the best match

:see: https://github.com/opencontainers/image-spec/blob/main/image-index.md
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from ..base import late
from ..base.frozen import frozen
from .documents import Fields
from .errors import InvalidDocument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Platform"]

_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm/v7", "armel": "arm/v6", "i386": "386", "i486": "386",
    "i586": "386", "i686": "386", "armv5l": "arm/v5", "armv6l": "arm/v6", "armv7l": "arm/v7", "armv8l": "arm/v7", "loongarch64": "loong64",
}  # fmt: skip
_SYSTEMS = {"macos": "darwin"}
_DEFAULTS = {"arm64": "v8", "arm": "v7", "amd64": "v1"}  # the variant that an absent variant stands for
_WORD = late.pattern(r"[A-Za-z0-9_.-]+", re.ASCII)


@frozen
class Platform:
    """An operating system and a processor, in Go's names.

    :param os: "linux"
    :param architecture: "amd64", "arm64"
    :param variant: of the processor, "v8"; "" for the usual one
    :param os_version: of Windows images
    :param os_features: of Windows images
    :raises InvalidDocument: a name is empty, or has other characters than letters, digits and ``_.-``
    """

    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("os", self.os), ("architecture", self.architecture), ("variant", self.variant or "-")):
            if not _WORD.fullmatch(value):
                raise InvalidDocument(f"platform: {name} {value!r} is not a word")

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Parse ``linux/arm64/v8``, ``arm64/v8``, ``linux/arm64`` or ``arm64``.  Names from uname are accepted too: x86_64, aarch64.

        :raises InvalidDocument: `text` has another form
        """
        words = text.strip().lower().split("/")
        if len(words) == 1:
            known = words[0] in ("linux", "windows", "darwin", "freebsd", *_SYSTEMS)
            words = [words[0], cls.here().architecture] if known else ["linux", words[0]]
        elif words[0] in _DEFAULTS:
            words = ["linux", *words]
        if len(words) > 3 or not all(words):
            raise InvalidDocument(f"not a platform: {text!r} (expected os/architecture or os/architecture/variant)")
        system, architecture, *variant = words
        name, _, implied = _ARCHITECTURES.get(architecture, architecture).partition("/")
        return cls(_SYSTEMS.get(system, system), name, variant[0] if variant else implied)

    @classmethod
    def here(cls) -> Platform:
        """Return this machine's platform."""
        return cls.parse(f"linux/{os.uname().machine}")

    @classmethod
    def from_json(cls, value: Any, where: str = "platform") -> Platform:
        """Read the platform object of a descriptor, or the top of a config.  Other fields are ignored.

        :raises InvalidDocument: a field is missing, or of another type
        """
        fields = Fields(value, where)
        return cls(
            fields.text("os"), fields.text("architecture"), fields.text("variant", ""), fields.text("os.version", ""),
            tuple(fields.texts("os.features")),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the platform object of a descriptor, without empty fields."""
        found: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        optional: Mapping[str, Any] = {"os.version": self.os_version, "os.features": list(self.os_features), "variant": self.variant}
        return found | {name: value for name, value in optional.items() if value}

    @property
    def normal(self) -> Platform:
        """The platform without a variant that is the usual one anyway: arm64/v8 becomes arm64."""
        variant = "" if self.variant == _DEFAULTS.get(self.architecture) else self.variant
        return Platform(self.os, self.architecture, variant, self.os_version, self.os_features)

    def rank(self, offered: Platform) -> int | None:
        """Return how well an image for `offered` runs on this platform: 0 is best, None means that it does not run.

        A processor runs programs made for the same or an older variant of it, never for a newer one or another processor.
        """
        if (self.os, self.architecture) != (offered.os, offered.architecture):
            return None
        if self.os_version and offered.os_version and self.os_version != offered.os_version:
            return None
        mine, theirs = self._level(), offered._level()
        if mine is None or theirs is None:
            return 0 if self.normal.variant == offered.normal.variant else None
        return mine - theirs if theirs <= mine else None

    def match(self, offered: Platform) -> bool:
        """Return whether an image for `offered` runs on this platform."""
        return self.rank(offered) is not None

    def best(self, offered: Iterable[Platform | None]) -> int | None:
        """Return the index of the best platform among those `offered`, None when none runs.  The first of equals wins."""
        ranks = [(self.rank(platform), place) for place, platform in enumerate(offered) if platform]
        fitting = [(rank, place) for rank, place in ranks if rank is not None]
        return min(fitting)[1] if fitting else None

    def _level(self) -> int | None:
        match = re.fullmatch(r"v(\d{1,3})", self.variant or _DEFAULTS.get(self.architecture, ""), re.ASCII)
        return int(match[1]) if match else None

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))
