"""The fields of the classes of `frozen`, and the methods that all of these classes share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter, ge, gt, le, lt
from reprlib import recursive_repr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = [
    "FACTORY",
    "FROZEN",
    "MISSING",
    "SHARED",
    "STATE",
    "AsDataclass",
    "Field",
    "equality",
    "hashing",
    "order_methods",
    "replace_fields",
]


class Word:
    """A value that stands for another, and prints as a word."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __repr__(self) -> str:
        return self.word


MISSING = Word("<missing>")
FACTORY = Word("<factory>")  # the default that a signature shows for a field with a factory


class Field:
    """One field of a class.  Its attributes are the arguments of `field`, the field's name and its annotation."""

    __slots__ = ("compare", "default", "default_factory", "hash", "init", "kw_only", "name", "repr", "type")
    name: str
    type: Any

    def __init__(
        self, default: Any, default_factory: Any = MISSING, init: bool = True, repr: bool = True, compare: bool = True,
        hash: bool | None = None, kw_only: bool | None = None,
    ) -> None:  # fmt: skip
        self.default, self.default_factory, self.init, self.repr = default, default_factory, init, repr
        self.compare, self.hash, self.kw_only = compare, hash, kw_only

    @property
    def optional(self) -> bool:
        """Whether the field has a value where none is given."""
        return self.default is not MISSING or self.default_factory is not MISSING

    def value(self) -> Any:
        """Return the field's value where none is given."""
        return self.default if self.default_factory is MISSING else self.default_factory()


# methods that read the names of the fields from the class -------------------------------------------------------


@recursive_repr()
def _repr(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name, field in self.__fields__.items() if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def replace_fields(self: Any, /, **changes: Any) -> Any:
    """Return another object of the same class, with some fields changed.  :raises ValueError: a field that the constructor does not take"""
    for name, field in self.__fields__.items():
        if field.init:
            changes.setdefault(name, getattr(self, name))
        elif name in changes:
            raise ValueError(f"field {name} is declared with init=False, it cannot be specified with replace()")
    return type(self)(**changes)


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__fields__]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__fields__, state, strict=True):
        object.__setattr__(self, name, value)


def _is_fixed(value: Any, name: str) -> bool:
    """Whether an attribute is a field, or the object is of a class of `frozen` itself: a class below it may have others."""
    return name in value.__fields__ or "__fields__" in type(value).__dict__


def _set(self: Any, name: str, value: Any) -> None:
    if _is_fixed(self, name):
        _refuse(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _delete(self: Any, name: str) -> None:
    if _is_fixed(self, name):
        _refuse(f"cannot delete field {name!r}")
    object.__delattr__(self, name)


def _refuse(text: str) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(text)


SHARED = {"__repr__": _repr, "__replace__": replace_fields}
STATE = {"__getstate__": _get_state, "__setstate__": _set_state}  # of slots, for pickle
FROZEN = {"__setattr__": _set, "__delattr__": _delete}


# methods that know the fields -----------------------------------------------------------------------------------


def _reader(names: list[str]) -> Callable[[Any], Any]:
    """Read all of the fields at once.  The result is always a tuple: only inside a tuple does nan equal itself."""
    if len(names) > 1:
        return attrgetter(*names)
    return (lambda value: (getattr(value, names[0]),)) if names else lambda value: ()


def equality(fields: Mapping[str, Field]) -> Any:
    """``__eq__``"""
    read = _reader([name for name, field in fields.items() if field.compare])

    def __eq__(self: object, other: object) -> Any:
        if self is other:
            return True
        return read(self) == read(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def hashing(fields: Mapping[str, Field]) -> Any:
    """``__hash__``"""
    read = _reader([name for name, field in fields.items() if (field.compare if field.hash is None else field.hash)])

    def __hash__(self: object) -> int:
        return hash(read(self))

    return __hash__


def order_methods(fields: Mapping[str, Field]) -> dict[str, Any]:
    """``__lt__`` and its like."""
    read = _reader([name for name, field in fields.items() if field.compare])

    def method(compare: Callable[[Any, Any], Any]) -> Any:
        return lambda self, other: compare(read(self), read(other)) if other.__class__ is self.__class__ else NotImplemented

    return {f"__{compare.__name__}__": method(compare) for compare in (lt, le, gt, ge)}


class AsDataclass:
    """An attribute that `dataclasses` looks for in a class, made from the class's fields on demand.

    :param name: the attribute's name
    """

    def __init__(self, name: str, **options: Any) -> None:
        self.name, self.options = name, options
        self.made: Any = None

    def __get__(self, value: object, kind: Any) -> Any:
        if self.made is None:
            from dataclasses import field, make_dataclass

            fields = [(name, own.type, field(**_options(own))) for name, own in kind.__fields__.items()]
            self.made = getattr(make_dataclass(kind.__name__, fields, **self.options), self.name)
        return self.made


def _options(field: Field) -> dict[str, Any]:
    names = ("default", "default_factory", "init", "repr", "hash", "compare", "kw_only")
    return {name: getattr(field, name) for name in names if getattr(field, name) is not MISSING}
