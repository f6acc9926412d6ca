"""The constructors of the classes of `frozen`: one for every number of fields, of which a class gets a copy with its own names.

:see: https://docs.python.org/3/reference/datamodel.html#codeobject.replace
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import CellType, CodeType, FunctionType, MemberDescriptorType

from ._values import FACTORY, MISSING, Field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["constructor"]

LETTERS = "ABCDEFGHI"


def _written(A: Any, B: Any, C: Any, D: Any, E: Any, F: Any, G: Any, H: Any, I: Any) -> tuple[Any, ...]:  # noqa: E741
    """Return a constructor of nine fields.  Each letter is the `__set__` of a slot: it writes a field, and returns None."""
    return (
        lambda self: A(self),
        lambda self, a: A(self, a),
        lambda self, a, b: A(self, a) or B(self, b),
        lambda self, a, b, c: A(self, a) or B(self, b) or C(self, c),
        lambda self, a, b, c, d: A(self, a) or B(self, b) or C(self, c) or D(self, d),
        lambda self, a, b, c, d, e: A(self, a) or B(self, b) or C(self, c) or D(self, d) or E(self, e),
        lambda self, a, b, c, d, e, f: A(self, a) or B(self, b) or C(self, c) or D(self, d) or E(self, e) or F(self, f),
        lambda self, a, b, c, d, e, f, g: (
            A(self, a) or B(self, b) or C(self, c) or D(self, d) or E(self, e) or F(self, f) or G(self, g)
        ),
        lambda self, a, b, c, d, e, f, g, h: (
            A(self, a) or B(self, b) or C(self, c) or D(self, d) or E(self, e) or F(self, f) or G(self, g) or H(self, h)
        ),
        lambda self, a, b, c, d, e, f, g, h, i: (
            A(self, a) or B(self, b) or C(self, c) or D(self, d) or E(self, e) or F(self, f) or G(self, g) or H(self, h) or I(self, i)
        ),
    )  # fmt: skip


_CODES: tuple[CodeType, ...] = tuple(function.__code__ for function in _written(*len(LETTERS) * (None,)))


def _code(count: int) -> tuple[CodeType, list[str]]:
    """Return a constructor for so many fields, and the names of what it writes them with.  One for more than nine is compiled here."""
    if count < len(_CODES):
        return _CODES[count], list(LETTERS)
    writers = [f"w{i}" for i in range(count)]
    arguments, body = ", ".join(f"a{i}" for i in range(count)), " or ".join(f"w{i}(self, a{i})" for i in range(count))
    made: Any = eval(f"lambda {', '.join(writers)}: lambda self, {arguments}: {body}")
    return made(*writers).__code__, writers


def constructor(kind: type, fields: Mapping[str, Field]) -> Any:
    """``__init__`` of a class that has its slots.  :raises TypeError: a field without a value follows one that has one"""
    free = [field for field in fields.values() if field.init and not field.kw_only]
    named = [field for field in fields.values() if field.init and field.kw_only]
    optional = [field.optional for field in free]
    if optional != sorted(optional):
        raise TypeError(f"a field of {kind.__qualname__} without a default follows one with a default")
    code, letters = _code(len(free) + len(named))
    names = [field.name for field in (*free, *named)]
    title = f"{kind.__qualname__}.__init__"
    code = code.replace(co_varnames=("self", *names), co_argcount=1 + len(free), co_kwonlyargcount=len(named),
                        co_name="__init__", co_qualname=title)  # fmt: skip
    writers = dict(zip(letters, _writers(kind, fields, (*free, *named)), strict=False))
    closure = tuple(CellType(writers[letter]) for letter in code.co_freevars)
    made = FunctionType(code, vars(sys.modules[kind.__module__]), "__init__", tuple(map(_default, filter(_is_optional, free))), closure)
    made.__kwdefaults__ = {field.name: _default(field) for field in named if field.optional} or None
    made.__annotations__ = {field.name: field.type for field in (*free, *named)} | {"return": "None"}
    return made


def _is_optional(field: Field) -> bool:
    return field.optional


def _default(field: Field) -> Any:
    return field.default if field.default_factory is MISSING else FACTORY


def _writers(kind: type, fields: Mapping[str, Field], given: tuple[Field, ...]) -> list[Callable[..., Any]]:
    """Write each argument into its field; the last writer also does the work that comes after the fields."""
    writers: list[Callable[..., Any]] = [_writer(kind, field) for field in given]
    rest = [field for field in fields.values() if not field.init and field.optional]
    checks = hasattr(kind, "__post_init__")
    if not writers and not rest and not checks:
        return [lambda self: None]
    if checks and not rest and writers:
        writers.append(_then_check(writers.pop()))
    elif checks or rest:
        writers.append(_finisher(writers.pop() if writers else None, rest, checks))
    return writers


def _then_check(write: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, value: write(self, value) or self.__post_init__()


def _finisher(write: Callable[[Any, Any], None] | None, rest: list[Field], checks: bool) -> Callable[..., Any]:
    def finish(self: Any, *value: Any) -> Any:
        if write:
            write(self, *value)
        for field in rest:
            object.__setattr__(self, field.name, field.value())
        return self.__post_init__() if checks else None

    return finish


def _writer(kind: type, field: Field) -> Callable[[Any, Any], None]:
    name, factory, member = field.name, field.default_factory, getattr(kind, field.name, None)
    write = member.__set__ if type(member) is MemberDescriptorType else lambda self, value: object.__setattr__(self, name, value)
    if factory is MISSING:
        return write
    return lambda self, value: write(self, factory() if value is FACTORY else value)
