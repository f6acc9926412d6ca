"""JSON documents as images have them: read strictly, written the same way each time.

    fields = Fields(parse(data, "manifest"), "manifest")
    fields.number("schemaVersion")            typed, and an error says where: manifest.schemaVersion
    fields.rest()                             what nobody asked for, kept as it is

Two readers that understand one document differently are how images are forged, so what JSON leaves open is refused:
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

LIMIT = 4 << 20  # bytes: what registries accept
DEPTH = 64
_REQUIRED: Any = object()


def parse(data: bytes, what: str, *, limit: int = LIMIT, depth: int = DEPTH) -> dict[str, Any]:
    """The JSON object in `data`.

    :param what: how errors call it
    :param limit: how many bytes it may have
    :param depth: how deep it may be nested
    :raises InvalidDocument: not one JSON object in UTF-8, or one that can be read in two ways
    :raises LimitExceeded: too large or too deep
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
    """`value` as JSON: UTF-8, in the order given, no spaces."""
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
    """Level by level, so that a deep document needs no deep stack."""
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
    """A JSON object being read.  null counts as absent, as it does for Go.

    :param value: what should be an object
    :param where: where in the document it is, for errors
    :raises InvalidDocument: not an object; from every method: a field is missing or of another kind
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidDocument(f"{where}: expected an object, found {_name(value)}")
        self._value, self.where = value, where
        self._taken: set[str] = set()

    def take(self, name: str, kind: type, default: Any = _REQUIRED) -> Any:
        """The field `name`, which must be of `kind`."""
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
        """A whole number from 0 to 2**63 - 1."""
        found: int = self.take(name, int, default)
        if found is not default and not 0 <= found < 1 << 63:
            raise InvalidDocument(f"{self.where}.{name}: {str(found)[:40]} is out of range")
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, () when absent."""
        found = self.take(name, list, [])
        if wrong := [value for value in found if not isinstance(value, str)]:
            raise InvalidDocument(f"{self.where}.{name}: expected strings, found {_name(wrong[0])}")
        return tuple(found)

    def objects(self, name: str, default: Any = _REQUIRED) -> list[tuple[Any, str]]:
        """A list: each value with where it is."""
        return [(value, f"{self.where}.{name}[{place}]") for place, value in enumerate(self.take(name, list, default))]

    def strings(self, name: str) -> dict[str, str]:
        """An object of strings, empty when absent."""
        found = self.take(name, dict, {})
        for key, value in found.items():
            if not isinstance(value, str):
                raise InvalidDocument(f"{self.where}.{name}.{key}: expected a string, found {_name(value)}")
        return dict(found)

    def rest(self) -> dict[str, Any]:
        """The fields nobody took.  One that differs from a taken one only in case is refused: Go would take it for that.

        Go folds more than case: U+017F is an s to it, and U+212A a k.
        """
        left = {name: value for name, value in self._value.items() if name not in self._taken}
        folded = {name.casefold(): name for name in self._taken}
        for name in left:
            if name.casefold() in folded:
                raise InvalidDocument(f"{self.where}.{name}: looks like {folded[name.casefold()]!r}")
        return left
