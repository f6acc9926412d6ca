"""What can be wrong with an image, drawn once.

ImageError
├── InvalidDigest     (also ValueError)    not a digest, or of an algorithm that is not trusted
├── InvalidReference  (also ValueError)    not the name of an image
├── InvalidDocument   (also ValueError)    a manifest, index or config that cannot be read
├── InvalidLayer      (also ValueError)    a layer that is no tar, or one that lies
│   └── Escape                             it reaches for something outside its directory
├── CannotUnpack     (also OSError)       the kernel refuses to make an entry of a layer; has its `name`
├── InvalidImage      (also ValueError)    its parts do not fit together; has all `mismatches`
├── Unsupported                            understood, and not done: schema 1, an unknown compression
├── LimitExceeded                          larger, deeper or longer than allowed; says which limit
├── Mismatch                               bytes that are not the ones that were promised
└── Missing           (also LookupError)   a blob, a name or a platform that is not there
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ImageError

__all__ = [
    "CannotUnpack", "Escape", "ImageError", "InvalidDigest", "InvalidDocument", "InvalidImage", "InvalidLayer", "InvalidReference",
    "LimitExceeded", "Mismatch", "Missing", "Unsupported",
]  # fmt: skip


class InvalidDigest(ImageError, ValueError):
    """Not a digest, or of an algorithm that is not trusted."""


class InvalidReference(ImageError, ValueError):
    """Not the name of an image."""


class InvalidDocument(ImageError, ValueError):
    """A manifest, an index or a config that cannot be read.  The text says where in it."""


class InvalidLayer(ImageError, ValueError):
    """A layer that is no tar, or one that lies about what is in it."""


class Escape(InvalidLayer):
    """An entry of a layer that reaches for something outside the directory it is unpacked into."""


class CannotUnpack(ImageError, OSError):
    """The kernel refuses to make an entry of a layer.

    :ivar name: the entry's
    """

    def __init__(self, errno: int, name: bytes, text: str) -> None:
        OSError.__init__(self, errno, f"cannot unpack {name[:200]!r}: {text}")
        self.name = name


class Unsupported(ImageError):
    """Understood, and not done here: an old format, an unknown compression."""


class LimitExceeded(ImageError):
    """Larger, deeper or longer than allowed.

    :param what: the thing that is too large, as a noun phrase
    :param limit: how much is allowed
    :param unit: what it is counted in
    :param setting: the argument that raises the limit, where there is one
    """

    def __init__(self, what: str, limit: int, unit: str = "bytes", *, setting: str = "") -> None:
        self.what, self.limit, self.unit, self.setting = what, limit, unit, setting
        name = setting.removeprefix("Limits.")
        lift = f" (see {setting}; --limit {name}=none lifts it)" if name != setting else f" (see {setting})" if setting else ""
        super().__init__(f"{what}: more than {limit} {unit}{lift}")


class Mismatch(ImageError):
    """Bytes that are not the ones that were promised.

    :ivar what: what was being read
    :ivar expected: a digest or a size
    :ivar found: what it was instead
    """

    def __init__(self, what: str, expected: object, found: object) -> None:
        self.what, self.expected, self.found = what, str(expected), str(found)
        super().__init__(f"{what}: expected {expected}, found {found}")


class Missing(ImageError, LookupError):
    """A blob, a name or a platform that is not there."""


class InvalidImage(ImageError, ValueError):
    """The parts of an image do not fit together.

    :ivar mismatches: everything that does not fit, one text each
    """

    def __init__(self, mismatches: Iterable[str]) -> None:
        self.mismatches = tuple(mismatches)
        super().__init__("the image does not fit together:" + "".join(f"\n  {text}" for text in self.mismatches))
