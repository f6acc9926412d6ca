"""JSON documents of images: strict reading, and writing that gives the same bytes each time.

    fields = Fields(parse(data, "manifest"), "manifest")
    fields.number("schemaVersion")            typed, and an error names the field: manifest.schemaVersion
    fields.rest()                             the fields that were not asked for, unchanged

An image can be forged when two readers understand one document differently.  So everything that JSON leaves open is refused:
duplicate keys, keys that differ only in case, NaN, bytes that are not UTF-8, half a surrogate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from .errors import InvalidDocument, LimitExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["DEPTH", "LIMIT", "Fields", "dump", "parse"]

LIMIT = 4 << 20  # bytes, as much as registries accept
DEPTH = 64
_REQUIRED: Any = object()


def parse(data: bytes, what: str, *, limit: int = LIMIT, depth: int = DEPTH) -> dict[str, Any]:
    """Parse the JSON object in `data`.

    :param what: the document's name in errors
    :param limit: the most bytes it may have
    :param depth: the most levels it may be nested
    :raises InvalidDocument: `data` is not one JSON object in UTF-8, or can be read in two ways
    :raises LimitExceeded: `data` is too large or nested too deep
    """
    import json

    if len(data) > limit:
        raise LimitExceeded(what, limit)
    try:
        value = json.loads(bytes(data).decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise LimitExceeded(what, depth, "levels") from None
    except ValueError as error:
        raise InvalidDocument(f"{what}: {error}") from None
    if not isinstance(value, dict):
        raise InvalidDocument(f"{what}: expected a JSON object, found {_name(value)}")
    _check(value, what, depth)
    return value


def dump(value: Any, *, indent: int | None = None) -> bytes:
    """Return `value` as JSON: UTF-8, keys in their order, no spaces unless `indent` is given."""
    import json

    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=separators, indent=indent).encode()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name[:200]!r} is there twice")
        found[name] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"the number {text[:60]} is out of range")
    return number


def _check(value: Any, what: str, depth: int) -> None:
    """Check the depth and the strings level by level, so that a deep document needs no deep stack."""
    level = [value]
    for _ in range(depth):
        level = list(_below(level, what))
        if not level:
            return
    raise LimitExceeded(what, depth, "levels")


def _below(level: list[Any], what: str) -> Iterator[Any]:
    for value in level:
        if isinstance(value, dict):
            yield from value
            yield from value.values()
        elif isinstance(value, list):
            yield from value
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InvalidDocument(f"{what}: half a surrogate in a string") from None


def _name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a fraction"}
    return names.get(type(value), "null")


class Fields:
    """A JSON object that is being read.  null counts as absent, as in Go.

    :param value: the object
    :param where: the object's path in its document, for errors
    :raises InvalidDocument: `value` is no object; from every method: a field is missing or of another type
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidDocument(f"{where}: expected an object, found {_name(value)}")
        self._value, self.where = value, where
        self._taken: set[str] = set()

    def take(self, name: str, kind: type, default: Any = _REQUIRED) -> Any:
        """Return the field `name`, which must be of type `kind`.

        :param default: returned when the field is absent; without a default the field is required
        """
        self._taken.add(name)
        value = self._value.get(name)
        if value is None:
            if default is _REQUIRED:
                raise InvalidDocument(f"{self.where}.{name}: missing")
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InvalidDocument(f"{self.where}.{name}: expected {_name(kind())}, found {_name(value)}")
        return value

    def text(self, name: str, default: str = _REQUIRED) -> str:
        found: str = self.take(name, str, default)
        return found

    def number(self, name: str, default: int = _REQUIRED) -> int:
        """Return a whole number from 0 to 2**63 - 1."""
        found: int = self.take(name, int, default)
        if found is not default and not 0 <= found < 1 << 63:
            raise InvalidDocument(f"{self.where}.{name}: {str(found)[:40]} is out of range")
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings, () when absent."""
        found = self.take(name, list, [])
        if wrong := [value for value in found if not isinstance(value, str)]:
            raise InvalidDocument(f"{self.where}.{name}: expected strings, found {_name(wrong[0])}")
        return tuple(found)

    def objects(self, name: str, default: Any = _REQUIRED) -> list[tuple[Any, str]]:
        """Return the values of a list, each with its path in the document."""
        return [(value, f"{self.where}.{name}[{place}]") for place, value in enumerate(self.take(name, list, default))]

    def strings(self, name: str) -> dict[str, str]:
        """Return an object of strings, empty when absent."""
        found = self.take(name, dict, {})
        for key, value in found.items():
            if not isinstance(value, str):
                raise InvalidDocument(f"{self.where}.{name}.{key}: expected a string, found {_name(value)}")
        return dict(found)

    def rest(self) -> dict[str, Any]:
        """Return the fields that no other method took.

        A field that differs from a taken one only in case is refused, because Go would read it as the taken one.  Go folds more than
        case: it reads U+017F as s, and U+212A as k.
        """
        left = {name: value for name, value in self._value.items() if name not in self._taken}
        folded = {name.casefold(): name for name in self._taken}
        for name in left:
            if name.casefold() in folded:
                raise InvalidDocument(f"{self.where}.{name}: looks like {folded[name.casefold()]!r}")
        return left
