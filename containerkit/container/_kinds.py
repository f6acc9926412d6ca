"""How values are written to a JSON document, and read back with the name of the field in every error."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ..base.frozen import frozen
from ..errors import PlanError
from . import _fields
from .errors import SpecError, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMES = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    type(None): "null",
}


@frozen
class Kind:
    """One kind of value: how to write it, and how to read it.

    :ivar write: a function from the value to JSON's form
    :ivar read: a function back, with the name of the field for errors
    """

    write: Callable[[Any], Any]
    read: Callable[[Any, str], Any]


def wrong(where: str, wanted: str, value: Any) -> SpecError:
    """Return the error for a value of another kind."""
    return SpecError(where, f"expected {wanted}, found {NAMES.get(type(value), type(value).__name__)}")


def want(value: Any, where: str, *kinds: type) -> Any:
    """Return the value, if it is of one of these types.  :raises SpecError: it is not"""
    if type(value) not in kinds:
        raise wrong(where, " or ".join(dict.fromkeys(NAMES[kind] for kind in kinds)), value)
    return value


def plain(*kinds: type) -> Kind:
    """Return a value that is in JSON what it is in Python."""
    return Kind(lambda value: value, lambda value, where: want(value, where, *kinds))


def _write_word(word: str) -> Any:
    try:
        word.encode()
    except UnicodeEncodeError:
        import base64

        return {"base64": base64.b64encode(os.fsencode(word)).decode()}
    return word


def _read_word(value: Any, where: str) -> str:
    if isinstance(value, Mapping):
        if set(value) != {"base64"}:
            raise SpecError(where, 'expected text, or {"base64": "..."} for bytes that are not UTF-8')
        import base64

        try:
            return os.fsdecode(base64.b64decode(want(value["base64"], f"{where}.base64", str), validate=True))
        except ValueError as error:
            raise SpecError(f"{where}.base64", str(error)) from None
    found: str = want(value, where, str)
    return found


def or_null(kind: Kind) -> Kind:
    """Return the kind of a value that may also be None."""
    return Kind(
        lambda value: None if value is None else kind.write(value), lambda value, where: None if value is None else kind.read(value, where)
    )


def list_of(kind: Kind, made: Callable[[list[Any]], Any] = tuple, order: Callable[[Any], Any] = list) -> Kind:
    """Return a list of one kind of value.

    :param made: a function that makes the field's value of the list
    :param order: a function that returns the items in the order in which they are written
    """

    def read(value: Any, where: str) -> Any:
        return made([kind.read(item, f"{where}[{index}]") for index, item in enumerate(want(value, where, list, tuple))])

    return Kind(lambda value: [kind.write(item) for item in order(value)], read)


def object_of(cls: type, needed: str = "", /, **kinds: Kind) -> Kind:
    """Return an object of a class, by the names of its fields.

    :param needed: the fields that have no default
    """

    def write(value: Any) -> Any:
        return {name: kind.write(getattr(value, name)) for name, kind in kinds.items()}

    def read(value: Any, where: str) -> Any:
        found = given(value, where, kinds)
        for name in needed.split():
            if name not in found:
                raise SpecError(f"{where}.{name}", "missing")
        try:
            return cls(**found)
        except (PlanError, UnicodeError) as error:
            raise refused(where, error) from None

    return Kind(write, read)


def given(value: Any, where: str, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Return the fields that are there, read."""
    if not isinstance(value, Mapping):
        raise wrong(where, "an object", value)
    before = f"{where}." if where else ""
    for name in value:
        if name not in kinds:
            error = _fields.unknown(str(name), kinds)
            raise refused(where, error) if where else error
    return {name: kinds[name].read(item, f"{before}{name}") for name, item in value.items()}


def one_of(**kinds: tuple[type, Kind]) -> Kind:
    """Return the kind of objects that name their class in "type"."""
    names = {cls: name for name, (cls, _) in kinds.items()}

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise wrong(where, "an object", value)
        name = want(value.get("type"), f"{where}.type", str)
        if name not in kinds:
            raise SpecError(f"{where}.type", f"expected {', '.join(kinds)}, found {name!r}")
        return kinds[name][1].read({key: item for key, item in value.items() if key != "type"}, where)

    return Kind(lambda value: {"type": names[type(value)], **kinds[names[type(value)]][1].write(value)}, read)


WORD = Kind(_write_word, _read_word)
