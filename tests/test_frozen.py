"""Classes of values do what `dataclasses` makes of the same text."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import textwrap
import types
import typing
from collections.abc import Callable
from typing import Any

import pytest

from containerkit.base import frozen as ours
from containerkit.base.frozen import FrozenDict, field, fields, frozen, record, replace

SOURCE = """
@value
class Empty:
    pass

@value
class One:
    only: int

@value
class Many:
    a: int
    b: str = "x"
    c: tuple[int, ...] = ()
    d: dict[str, int] = field(default_factory=dict, hash=False)
    e: bytes = field(default=b"", repr=False)
    f: float = field(default=0.5, compare=False)
    g: int = field(default=9, init=False)
    h: list[int] = field(default_factory=list, init=False, hash=False)
    KIND: typing.ClassVar[str] = "many"

@value
class Wide:
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int
    i: int
    j: int
    k: int = 11
    l: int = field(kw_only=True, default=12)

@value(kw_only=True)
class Below(Many):
    z: int
    a: int = 5
    y: str = "y"

@value(order=True)
class Sorted:
    first: int
    second: str = ""

@value(eq=False)
class Itself:
    a: int

@value(repr=False)
class Silent:
    a: int

@value(init=False)
class Made:
    a: int
    def __init__(self, text: str) -> None:
        object.__setattr__(self, "a", int(text))

@value
class Checked:
    a: int
    b: int = 0
    def __post_init__(self) -> None:
        if self.a < self.b:
            raise ValueError("a is less than b")
        object.__setattr__(self, "a", self.a + 1)

@value
class Named:
    a: int
    def __repr__(self) -> str:
        return f"<{self.a}>"
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and self.a % 10 == other.a % 10

@value
class Hashed:
    a: int
    def __hash__(self) -> int:
        return 1

@value(slots=False)
class Open:
    a: int
    b: int = 3
    c: list[int] = field(default_factory=list, hash=False)
"""
EXAMPLES = {
    "Empty": [()], "One": [(1,), (2,)], "Many": [(1,), (1, "y"), (1, "x", (2,), {"a": 1}, b"e", 0.25)],
    "Wide": [tuple(range(10)), tuple(range(11))], "Sorted": [(1,), (1, "b"), (2, "a")],
    "Itself": [(1,)], "Silent": [(1,)], "Made": [("7",)],
    "Checked": [(3, 2), (1,)], "Named": [(1,), (11,), (2,)], "Hashed": [(1,), (2,)], "Open": [(1,), (1, 3, [4])], "Below": [],
}  # fmt: skip


def made_by(name: str, value: Callable[..., Any], field: Any) -> types.ModuleType:
    """A module of the classes above, of which pickle finds the classes again."""
    module = sys.modules[name] = types.ModuleType(name)
    vars(module).update(value=value, field=field, typing=typing)
    exec(compile("from __future__ import annotations\n" + SOURCE, name, "exec"), vars(module))
    return module


def by_dataclasses(kind: Any = None, **options: Any) -> Any:
    return dataclasses.dataclass(kind, **{"frozen": True, "slots": True, **options})


OURS = made_by("values_of_ours", frozen, field)
THEIRS = made_by("values_of_theirs", by_dataclasses, dataclasses.field)
BOTH = (OURS, THEIRS)
KINDS = list(EXAMPLES)
NOT_EMPTY = [name for name in KINDS if EXAMPLES[name]]


def both(work: Callable[[Any], object]) -> list[object]:
    """Return the outcome of some work with either module: a result as text, or the error."""

    def outcome(module: types.ModuleType) -> object:
        try:
            return work(module)
        except Exception as error:
            return type(error).__name__, str(error)

    return [outcome(module) for module in BOTH]


def same(work: Callable[[Any], object]) -> None:
    mine, theirs = both(work)
    assert mine == theirs


@pytest.mark.parametrize("name", KINDS)
def test_the_constructor_has_the_same_signature(name: str) -> None:
    same(lambda m: str(inspect.signature(getattr(m, name))).replace("-> 'None'", "-> None"))
    same(lambda m: getattr(m, name).__match_args__)
    same(lambda m: getattr(m, name).__qualname__)


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_objects_print_compare_and_hash_alike(name: str) -> None:
    for args in EXAMPLES[name]:
        if name != "Itself":
            same(lambda m, args=args: repr(getattr(m, name)(*args)) if name != "Silent" else None)
            same(lambda m, args=args: hash(getattr(m, name)(*args)))
        same(lambda m, args=args: hasattr(getattr(m, name)(*args), "__dict__"))
        for other in EXAMPLES[name]:
            same(lambda m, args=args, other=other: getattr(m, name)(*args) == getattr(m, name)(*other))
            same(lambda m, args=args, other=other: getattr(m, name)(*args) < getattr(m, name)(*other) if name == "Sorted" else None)
    assert OURS.One(1) != THEIRS.One(1)
    assert OURS.One(float("nan")) != OURS.One(float("nan"))
    nan = float("nan")
    assert OURS.One(nan) == OURS.One(nan)


def test_the_constructor_refuses_alike() -> None:
    for work in (
        lambda m: m.One(), lambda m: m.One(1, 2), lambda m: m.One(only=1, other=2), lambda m: m.Below(1), lambda m: m.Wide(1),
        lambda m: m.Wide(*range(12)), lambda m: m.Checked(1, 2), lambda m: m.Many(), lambda m: m.Empty(1), lambda m: m.Below(z=1, a=2, g=4),
    ):  # fmt: skip
        same(work)  # type: ignore[arg-type]
        assert isinstance(both(work)[0], tuple)  # type: ignore[arg-type]
    same(lambda m: repr(m.Below(z=1, b="b")))
    same(lambda m: repr(m.Wide(*range(10), l=1)))


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_nothing_can_be_changed(name: str) -> None:
    for attribute in [f.name for f in fields(getattr(OURS, name))]:
        same(lambda m, attribute=attribute: setattr(getattr(m, name)(*EXAMPLES[name][0]), attribute, 1))
        same(lambda m, attribute=attribute: delattr(getattr(m, name)(*EXAMPLES[name][0]), attribute))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(getattr(OURS, name)(*EXAMPLES[name][0]), "more", 1)  # noqa: B010


def test_a_class_below_may_have_attributes_of_its_own() -> None:
    class Child(OURS.One):  # type: ignore[misc,name-defined]
        pass

    child: Any = Child(1)
    child.more = 2
    assert (child.more, child == Child(1), child == OURS.One(1)) == (2, True, False)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'only'"):
        child.only = 3


@pytest.mark.parametrize("name", NOT_EMPTY)
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_values_cross(name: str, way: Callable[[Any], Any]) -> None:
    for args in EXAMPLES[name]:
        value = getattr(OURS, name)(*args)
        arrived = way(value)
        assert type(arrived) is type(value)
        assert [getattr(arrived, f.name) for f in fields(value)] == [getattr(value, f.name) for f in fields(value)]


@pytest.mark.parametrize("name", KINDS)
def test_dataclasses_knows_them(name: str) -> None:
    same(lambda m: [(f.name, f.type, f.init, f.repr, f.compare, f.hash, f.kw_only) for f in dataclasses.fields(getattr(m, name))])
    same(lambda m: [getattr(getattr(m, name).__dataclass_params__, option) for option in ("frozen", "eq", "order", "unsafe_hash")])
    assert [f.name for f in fields(getattr(OURS, name))] == [f.name for f in dataclasses.fields(getattr(OURS, name))]
    if EXAMPLES[name]:
        same(lambda m: dataclasses.asdict(getattr(m, name)(*EXAMPLES[name][0])))


@pytest.mark.parametrize("change", [replace, dataclasses.replace])
def test_replace(change: Callable[..., Any]) -> None:
    assert change(OURS.Many(1, "y"), a=2) == OURS.Many(2, "y")
    assert change(OURS.Below(z=1, b="b"), y="u") == OURS.Below(z=1, b="b", y="u")
    assert change(OURS.Checked(1), b=0).a == 3, "the constructor looks at it again"
    with pytest.raises(TypeError, match="unexpected keyword argument 'q'"):
        change(OURS.One(1), q=1)
    with pytest.raises(ValueError, match="init=False"):
        change(OURS.Many(1), g=1)


def test_patterns() -> None:
    match OURS.Sorted(1, "b"):
        case OURS.Sorted(first, second):
            assert (first, second) == (1, "b")
        case _:
            pytest.fail("it is one")


def test_what_a_factory_makes_is_shared_by_nobody() -> None:
    assert OURS.Many(1).d is not OURS.Many(1).d
    assert OURS.Many(1).h is not OURS.Many(1).h
    assert OURS.Open(1).c is not OURS.Open(1).c


def test_a_default_that_can_be_changed_is_refused() -> None:
    def work(m: Any) -> object:
        return m.value(type("Bad", (), {"__annotations__": {"a": "list[int]"}, "a": [], "__module__": __name__}))

    with pytest.raises(ValueError, match="mutable default"):
        work(OURS)
    assert both(work)[1][0] == "ValueError"  # type: ignore[index]


def test_a_field_without_a_default_after_one_with_is_refused() -> None:
    def work(m: Any) -> object:
        return m.value(type("Bad", (), {"__annotations__": {"a": "int", "b": "int"}, "a": 1, "__module__": __name__}))

    assert [outcome[0] for outcome in both(work)] == ["TypeError", "TypeError"]  # type: ignore[index]


def test_a_value_that_holds_itself_prints() -> None:
    inner: list[Any] = []
    inner.append(value := OURS.One(inner))
    assert repr(value) == "One(only=[...])" or "..." in repr(value)


@record
class Counter:
    name: str
    count: int = 0
    seen: list[str] = field(default_factory=list)


def test_a_record_can_be_changed_and_is_no_key() -> None:
    counter = Counter("a")
    counter.count += 1
    counter.seen.append("x")
    assert counter == Counter("a", 1, ["x"]) != Counter("a")
    assert repr(counter) == "Counter(name='a', count=1, seen=['x'])"
    with pytest.raises(TypeError, match="unhashable"):
        hash(counter)
    with pytest.raises(AttributeError):
        counter.other = 1  # type: ignore[attr-defined]
    assert copy.deepcopy(counter) == counter
    assert pickle.loads(pickle.dumps(counter)) == counter


@record(slots=False)
class Loose:
    name: str


def test_a_record_without_slots() -> None:
    loose: Any = Loose("a")
    loose.other = 1
    assert (loose == Loose("a"), copy.copy(loose).other) == (True, 1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(loose)


def test_a_frozen_dict_is_a_mapping_of_a_type() -> None:
    assert FrozenDict[str, int]({"a": 1}) == {"a": 1}


def test_nothing_is_compiled_and_dataclasses_is_not_loaded() -> None:
    """Making a class compiles nothing, in a Python of its own without the tests' modules."""
    program = """
        import sys
        from containerkit.base.frozen import frozen, replace
        compiled = []
        sys.addaudithook(lambda event, args: compiled.append(args) if event == "compile" else None)
        @frozen
        class Size:
            width: int
            height: int = 0
        value = replace(Size(1), height=2)
        print(value, hash(value) == hash(Size(1, 2)), compiled, sorted({"dataclasses", "inspect", "typing"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout == "Size(width=1, height=2) True [] []\n"


def test_the_type_hints_of_a_constructor_can_be_looked_up() -> None:
    assert typing.get_type_hints(Counter.__init__) == {"name": str, "count": int, "seen": list[str], "return": type(None)}
    assert ours.Field.__doc__
