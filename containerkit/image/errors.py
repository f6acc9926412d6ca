"""The errors of images, as a tree.

ImageError
├── InvalidDigest     (also ValueError)    not a digest, or of an algorithm that is not trusted
├── InvalidReference  (also ValueError)    not the name of an image
├── InvalidDocument   (also ValueError)    a manifest, index or config that cannot be read
├── InvalidLayer      (also ValueError)    a layer that is no tar, or whose headers contradict its bytes
│   └── Escape                             an entry that reaches outside its directory
├── CannotUnpack     (also OSError)       the kernel refuses to make an entry of a layer; has its `name`
├── InvalidImage      (also ValueError)    parts that contradict each other; has all `mismatches`
├── Unsupported                            a known format that is not implemented: schema 1, an unknown compression
├── LimitExceeded                          larger, deeper or longer than allowed; says which limit
├── Mismatch                               bytes that differ from their digest or size
└── Missing           (also LookupError)   a blob, a name or a platform that does not exist
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ImageError

__all__ = [
    "CannotUnpack", "Escape", "ImageError", "InvalidDigest", "InvalidDocument", "InvalidImage", "InvalidLayer", "InvalidReference",
    "LimitExceeded", "Mismatch", "Missing", "Unsupported",
]  # fmt: skip


class InvalidDigest(ImageError, ValueError):
    """A text that is not a digest, or a digest of an algorithm that is not trusted."""


class InvalidReference(ImageError, ValueError):
    """A text that is not the name of an image."""


class InvalidDocument(ImageError, ValueError):
    """A manifest, an index or a config that cannot be read.  The message says which field is wrong."""


class InvalidLayer(ImageError, ValueError):
    """A layer that is no tar, or whose headers contradict its bytes."""


class Escape(InvalidLayer):
    """An entry of a layer that reaches outside the directory the layer is unpacked into."""


class CannotUnpack(ImageError, OSError):
    """The kernel's refusal to make an entry of a layer.

    :ivar name: the entry's name
    """

    def __init__(self, errno: int, name: bytes, text: str) -> None:
        OSError.__init__(self, errno, f"cannot unpack {name[:200]!r}: {text}")
        self.name = name


class Unsupported(ImageError):
    """A format that is known but not implemented: an old manifest, an unknown compression."""


class LimitExceeded(ImageError):
    """A value that is larger, deeper or longer than allowed.

    :param what: the thing that is too large, as a noun phrase
    :param limit: how much is allowed
    :param unit: the unit of `limit`
    :param setting: the argument that raises the limit, when one exists
    """

    def __init__(self, what: str, limit: int, unit: str = "bytes", *, setting: str = "") -> None:
        self.what, self.limit, self.unit, self.setting = what, limit, unit, setting
        name = setting.removeprefix("Limits.")
        lift = f" (see {setting}; --limit {name}=none lifts it)" if name != setting else f" (see {setting})" if setting else ""
        super().__init__(f"{what}: more than {limit} {unit}{lift}")


class Mismatch(ImageError):
    """Bytes that differ from their digest or size.

    :ivar what: the bytes that were read
    :ivar expected: the promised digest or size
    :ivar found: the digest or size that was found instead
    """

    def __init__(self, what: str, expected: object, found: object) -> None:
        self.what, self.expected, self.found = what, str(expected), str(found)
        super().__init__(f"{what}: expected {expected}, found {found}")


class Missing(ImageError, LookupError):
    """A blob, a name or a platform that does not exist."""


class InvalidImage(ImageError, ValueError):
    """An image whose parts contradict each other.

    :ivar mismatches: one text for each contradiction
    """

    def __init__(self, mismatches: Iterable[str]) -> None:
        self.mismatches = tuple(mismatches)
        super().__init__("the image does not fit together:" + "".join(f"\n  {text}" for text in self.mismatches))
