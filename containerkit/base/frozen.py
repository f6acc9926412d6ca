"""Values: classes whose objects do not change, and a mapping that does not.

    @frozen
    class Size:
        width: int
        height: int = 0

This is what ``@dataclass(frozen=True, slots=True)`` gives, for a tenth of its time at import.  `dataclasses` writes the text of up to
ten methods for every class, and Python compiles it at every start: 0.7 ms a class.  Here all classes share their methods, which
read the names of the fields from the class.  Constructors differ in the names of their arguments, so there is one for each number
of fields, compiled into the .pyc file, and a class gets a copy whose arguments have the names of the class's fields.
The functions of `dataclasses` work with such a class: what they look for in it is made when they look.

:see: https://docs.python.org/3/library/dataclasses.html, https://docs.python.org/3/reference/datamodel.html#codeobject.replace
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MemberDescriptorType

from ._constructors import constructor
from ._values import FROZEN, MISSING, SHARED, STATE, AsDataclass, Field, equality, hashing, order_methods, replace_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    K = TypeVar("K")
    V = TypeVar("V")

__all__ = ["Field", "FrozenDict", "field", "fields", "frozen", "record", "replace"]


def field(*, default: Any = MISSING, default_factory: Any = MISSING, **options: Any) -> Any:
    """Return a field with options: `init`, `repr`, `compare`, `hash` and `kw_only`, as `dataclasses.field` has them."""
    return Field(default, default_factory, **options)


if TYPE_CHECKING:
    from dataclasses import fields, replace
else:
    K = V = object
    replace = replace_fields

    def fields(kind):
        """Return the fields of a class, or of an object of it, in their order."""
        return tuple(kind.__fields__.values())

    def dataclass_transform(**options):
        return lambda function: function


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(kind: Any = None, /, **options: Any) -> Any:
    """Make a class of values: objects that cannot be changed, are equal when their fields are, and can be hashed.

    The options are those of `dataclasses.dataclass`: `init`, `repr`, `eq`, `order`, `kw_only`, `slots` (True unless given).
    """
    return _value_class(kind, **options) if kind else lambda kind: _value_class(kind, **options)


@dataclass_transform(field_specifiers=(field,))
def record(kind: Any = None, /, **options: Any) -> Any:
    """Make a class of objects with fields that can be changed.  The options are those of `frozen`."""
    return _value_class(kind, changes=True, **options) if kind else lambda kind: _value_class(kind, changes=True, **options)


def _value_class(
    kind: type, *, init: bool = True, repr: bool = True, eq: bool = True, order: bool = False, kw_only: bool = False,
    slots: bool = True, changes: bool = False,
) -> type:  # fmt: skip
    own, found = _own_fields(kind, kw_only), dict[str, Field]()
    for base in kind.__mro__[:0:-1]:
        found |= base.__dict__.get("__fields__", {})
    found |= own
    body = _methods(found, repr, eq, order, changes) | _body(kind)
    body |= {"__fields__": found} | ({} if changes else FROZEN)
    body |= {name: AsDataclass(name, frozen=not changes, eq=eq, order=order) for name in ("__dataclass_fields__", "__dataclass_params__")}
    made = _recreated(kind, body, own) if slots else _filled(kind, body, own)
    if init and "__init__" not in kind.__dict__:
        made.__init__ = constructor(made, found)  # type: ignore[misc]
    return made


def _methods(fields: dict[str, Field], repr: bool, eq: bool, order: bool, changes: bool) -> dict[str, Any]:
    made: dict[str, Any] = {name: method for name, method in SHARED.items() if repr or name != "__repr__"}
    made["__match_args__"] = tuple(field.name for field in fields.values() if field.init and not field.kw_only)
    if eq:
        made |= {"__eq__": equality(fields), "__hash__": None if changes else hashing(fields)}
    return made | (order_methods(fields) if order else {})


def _body(kind: type) -> dict[str, Any]:
    """Return the attributes of the class statement, without the __hash__ of None that Python adds to a class that defines only __eq__."""
    body = dict(kind.__dict__)
    if "__eq__" in body and body.get("__hash__") is None:
        body.pop("__hash__", None)
    return body


def _own_fields(kind: type, kw_only: bool) -> dict[str, Field]:
    """:raises TypeError, ValueError: as `dataclasses` has them: a default that can be changed would be shared"""
    found = {}
    for name, annotation in kind.__annotations__.items():
        if isinstance(annotation, str) and annotation.removeprefix("typing.").startswith("ClassVar"):
            continue
        default = kind.__dict__.get(name, MISSING)
        made = default if type(default) is Field else Field(MISSING if type(default) is MemberDescriptorType else default)
        if made.default.__class__.__hash__ is None:
            raise ValueError(f"mutable default {type(made.default)} for field {name} is not allowed: use default_factory")
        made.name, made.type, made.kw_only = name, annotation, kw_only if made.kw_only is None else made.kw_only
        found[name] = made
    return found


def _recreated(kind: type, body: dict[str, Any], own: dict[str, Field]) -> type:
    """Return the class once more, with slots, which have to be there when a class is made."""
    for name in (*own, "__dict__", "__weakref__"):
        body.pop(name, None)
    inherited = {name for base in kind.__mro__[1:] for name in own if type(base.__dict__.get(name)) is MemberDescriptorType}
    body["__slots__"] = tuple(name for name in own if name not in inherited)
    made = type(kind)(kind.__name__, kind.__bases__, STATE | body)
    made.__qualname__ = kind.__qualname__
    return made


def _filled(kind: type, body: dict[str, Any], own: dict[str, Field]) -> type:
    """Return the class itself, where its objects may have further attributes."""
    for name, value in body.items():
        if name not in ("__dict__", "__weakref__") and kind.__dict__.get(name, MISSING) is not value:
            setattr(kind, name, value)
    for made in own.values():
        if made.default is not MISSING:
            setattr(kind, made.name, made.default)
        elif made.name in kind.__dict__:
            delattr(kind, made.name)
    return kind


class FrozenDict(Mapping[K, V]):
    """A copy of a mapping, for reading only.

    :param items: what is in it
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __or__(self, other: Mapping[K, V]) -> dict[K, V]:
        return self._items | dict(other)

    def __ror__(self, other: Mapping[K, V]) -> dict[K, V]:
        return dict(other) | self._items

    def __hash__(self) -> int:
        """Return the hash of the items.  :raises TypeError: an item has none"""
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (self._items,)
