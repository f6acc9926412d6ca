"""Pickling: each value arrives in another process unchanged, or its class explains the refusal.

The classes are found by searching the package, so that new ones are tested too.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import io
import os
import pickle
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import containerkit as ck
from containerkit import dockerfile, mounts, ns
from containerkit.base.frozen import FrozenDict
from containerkit.base.pickling import Elsewhere, OneProcess
from containerkit.cgroup.hierarchy import Hierarchy, _interned
from containerkit.core.errors import StepRefused
from containerkit.core.spawn_timeout import SpawnTimeout
from containerkit.dockerfile.file import Dockerfile, Stage
from containerkit.errors import RegistryError
from containerkit.image.blobs import MemoryBlobs, TemporaryBlobs
from containerkit.image.descriptor import Descriptor
from containerkit.image.manifest import Manifest
from containerkit.linux.syscalls import Bytes, Call, Deferred, Fd
from containerkit.store.image_diff import Comparison

WAYS: list[Callable[[Any], Any]] = [lambda value: pickle.loads(pickle.dumps(value)), copy.copy, copy.deepcopy]
STEP = ck.Step.child(ck.Phase.DROP, ck.syscalls.setpriority(0, 0, 1), why="an example")


def modules() -> Iterator[types.ModuleType]:
    for found in pkgutil.walk_packages(ck.__path__, "containerkit."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def classes(wanted: Callable[[type], bool]) -> list[type]:
    found = {value for module in modules() for value in vars(module).values() if inspect.isclass(value) and wanted(value)}
    return sorted((c for c in found if c.__module__.startswith("containerkit")), key=lambda c: (c.__module__, c.__name__))


ERRORS = classes(lambda c: issubclass(c, BaseException))
VALUES = classes(lambda c: dataclasses.is_dataclass(c) and c.__dataclass_params__.frozen and not issubclass(c, BaseException))


def trace() -> ck.Trace:
    return ck.Trace([STEP], {}, b"\0" * 24)


def an_example() -> Bytes:
    return Bytes(b"", "an example")


def image() -> ck.Image:
    return ck.Image.of(ck.ImageConfig(labels={"a": "b"}, cmd=["sh"]), [ck.Layer.from_tar(io.BytesIO(b"\0" * 1024), MemoryBlobs())])


#: What is not made field by field.
MADE: dict[Any, Callable[[], Any]] = {
    ck.Trace: trace,
    ck.Step: lambda: STEP,
    ck.StepError: lambda: ck.StepError(STEP, 1, trace=trace()),
    ck.Image: image,
    ck.Layer: lambda: image().layers[0],
    ck.Digest: lambda: ck.Digest.of(b""),
    ck.Reference: lambda: ck.Reference.parse("debian:12"),
    Descriptor: lambda: Descriptor.of(b"data", "application/octet-stream", annotations={"a": "b"}),
    Manifest: lambda: image().manifest,
    ck.Index: lambda: ck.Index.of([image()]),
    Comparison: lambda: Comparison(image(), image()),
    Dockerfile: lambda: dockerfile.parse(DOCKERFILE),
    Stage: lambda: dockerfile.parse(DOCKERFILE).stages[0],
    Hierarchy: lambda: _interned(2, frozenset({"pids"}), "/sys/fs/cgroup", "/", "/"),
    ck.Seccomp: ck.Seccomp.default,
    mounts.Root: lambda: mounts.Root("/srv"),
    mounts.Bind: lambda: mounts.Bind("/srv"),
    Fd: lambda: Fd("net"),
    Deferred: lambda: Deferred(an_example, "an example"),
    SpawnTimeout: lambda: SpawnTimeout("sleep", 1.5),
    RegistryError: lambda: RegistryError("what was wrong"),
}
DOCKERFILE = b"FROM debian:12 AS base\nCOPY --chown=1:1 a b /c/\nRUN <<EOF\ntrue\nEOF\nHEALTHCHECK CMD true\n"


def example(kind: Any) -> Any:
    """Return a value of an annotated type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    plain: dict[Any, Any] = {
        str: "word", int: 5, float: 0.5, bool: True, bytes: b"bytes", Path: Path("/srv"), object: "anything",
        Any: "anything", type(None): None,
        Sequence: ["word"], Iterable: ["word"], Mapping: {"name": "value"},
    }  # fmt: skip
    if origin in (typing.Union, types.UnionType):
        return example(inner[0])
    if origin is typing.Literal:
        return inner[0]
    if origin in (tuple, frozenset, list):
        return origin([example(inner[0])])
    if isinstance(kind, type) and kind in plain:
        return plain[kind]
    if kind in plain:
        return plain[kind]
    if origin is dict:
        return {example(inner[0]): example(inner[1])}
    if origin in plain:
        return [example(inner[0])] if origin is not Mapping else {example(inner[0]): example(inner[1])}
    if kind in MADE:
        return MADE[kind]()
    if dataclasses.is_dataclass(kind):
        return made(kind)  # type: ignore[arg-type]
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return kind(*map(example, typing.get_type_hints(kind).values()))
    pytest.fail(f"teach this test to make a {kind}")


def made(kind: type) -> Any:
    """Make an object of a class from all arguments of its constructor, bypassing the checks in __init__ where needed."""
    if kind in MADE:
        return MADE[kind]()
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, vars(importlib.import_module(kind.__module__)) | LENT)
        value = object.__new__(kind)
        for field in dataclasses.fields(kind):
            object.__setattr__(value, field.name, example(hints[field.name]))
        return value
    if kind is StepRefused:
        return ck.StepError(STEP, 1, trace=trace())
    if "__init__" not in {name for c in kind.__mro__ if c.__module__.startswith("containerkit") for name in vars(c)}:
        return kind(13, "what was wrong", "/some/file") if issubclass(kind, OSError) else kind("what was wrong")
    hints = typing.get_type_hints(kind.__init__, vars(importlib.import_module(kind.__module__)) | LENT)
    parameters = [p for p in inspect.signature(kind).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    given = {p.name: example(hints[p.name]) for p in parameters}
    return kind(*[given[p.name] for p in parameters if p.kind is not p.KEYWORD_ONLY],
                **{p.name: given[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY})  # fmt: skip


#: What modules name in annotations alone.
LENT = {"Literal": typing.Literal, "Any": typing.Any, "Step": ck.Step, "Trace": ck.Trace, "Result": ck.Result, "StepError": ck.StepError}


def shown(error: BaseException) -> tuple[Any, ...]:
    return type(error), str(error), error.args, {k: str(v) for k, v in vars(error).items()}, getattr(error, "errno", None)


def test_all_of_the_errors_are_found() -> None:
    assert {ck.StepError, ck.Failed, ck.Unavailable, ck.DockerfileError, ck.CgroupError, ck.ImageError} <= set(ERRORS)
    assert len(ERRORS) > 40


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_an_error_crosses_with_its_text_and_its_attributes(kind: type[BaseException]) -> None:
    error = made(kind)
    error.add_note("by the way")
    for way in WAYS:
        arrived = way(error)
        assert shown(arrived) == shown(error)
        assert getattr(arrived, "filename", None) == getattr(error, "filename", None)
        assert arrived.__notes__ == ["by the way"]


def test_a_refused_step_is_a_permission_error() -> None:
    for number in (1, 13):
        error = ck.StepError(STEP, number, trace=trace())
        assert isinstance(error, PermissionError)
        for way in WAYS:
            assert isinstance(way(error), PermissionError)
            assert (way(error).errno, str(way(error))) == (number, str(error))
    assert not isinstance(ck.StepError(STEP, 2, trace=trace()), PermissionError)


def test_an_error_of_a_class_that_users_wrote_crosses_without_their_help() -> None:
    error = OfAUser(3, why="because")
    assert shown(pickle.loads(pickle.dumps(error))) == shown(error)


class OfAUser(ck.PlanError):
    def __init__(self, number: int, *, why: str) -> None:
        self.number = number
        super().__init__(f"{number}: {why}")


# Values ---------------------------------------------------------------------------------------------------------

#: What holds something that this test cannot make: a class of a room that is private, and never given to a user.
INSIDE = {"Program", "Timeline", "Word", "Expansion", "Trees", "Door", "Place", "Job", "Pick", "Node", "State", "Row"} | {
    "UnpackedLayers", "ProcsFile", "GroupDirectory", "Status", "CachedRoot", "Needs",
}  # fmt: skip


def is_for_users(kind: type) -> bool:
    private = any(part.startswith("_") for part in (*kind.__module__.split("."), kind.__name__))
    return not private and kind.__name__ not in INSIDE and ".cli" not in kind.__module__


PUBLIC = [kind for kind in VALUES if is_for_users(kind)]


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_value_crosses_as_it_is(kind: type) -> None:
    value = example(kind) if kind in MADE else values_of(kind)
    for way in WAYS:
        arrived = way(value)
        assert type(arrived) is kind
        assert without_addresses(arrived) == without_addresses(value)
        if "at 0x" not in repr(value):
            assert arrived == value


def without_addresses(value: object) -> str:
    return re.sub(r"at 0x[0-9a-f]+", "", repr(value))


def values_of(kind: type) -> Any:
    """Make a value by its constructor if it needs no argument, otherwise field by field."""
    try:
        return kind()
    except (TypeError, ck.ContainerKitError):
        return made(kind)


PARTS = [
    ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Uts("crossing"), mounts.Dev(), mounts.Tmpfs("/tmp", size="1M"),
    ck.Capabilities.none(), ck.NoNewPrivileges(), ck.Seccomp.default(), ck.Rlimits(nofile=64), ck.Credentials(7, 7),
]  # fmt: skip


def test_a_plan_crosses_and_prints_the_same() -> None:
    plan = ck.plan(*PARTS, run=["sh", "-c", "true"], env={"A": "b"}, cwd="/")
    for way in WAYS:
        arrived = way(plan)
        assert (str(arrived), arrived.explain(), arrived.argv) == (str(plan), plan.explain(), plan.argv)


def test_a_result_is_equal_to_what_arrives() -> None:
    here = ck.Result(0, b"out", b"err", None, ck.Usage(0.1, 0.2, None), trace(), 1.0)
    assert all(way(here) == here for way in WAYS)
    assert trace() == trace()
    assert trace() != ck.Trace([STEP, STEP], {}, b"\0" * 48)


def test_a_step_that_holds_a_descriptor_prints_as_it_did_and_cannot_be_run_elsewhere() -> None:
    with open(os.devnull) as file:
        step = ck.Step.child(ck.Phase.IDENTITY, ck.syscalls.setns(Fd("net", file), 0), why="an example")
        late = ck.Step.child(ck.Phase.DROP, Call("seccomp", (0, 0, Deferred(lambda: Bytes(b"", "x"), "filter"))), why="an example")
        for each in (step, late):
            arrived = pickle.loads(pickle.dumps(each))
            assert str(arrived) == str(each)
            assert copy.deepcopy(each) == each  # in this process it is still the same descriptor
    with pytest.raises(ck.PlanError, match="made"):
        pickle.loads(pickle.dumps(step)).call.args[0].source.fileno()


def test_an_image_in_memory_crosses_with_its_layers() -> None:
    here = image()
    for way in WAYS:
        arrived = way(here)
        assert (arrived, str(arrived), arrived.config) == (here, str(here), here.config)
        with arrived.layers[0].uncompressed() as stream:
            assert stream.read() == b"\0" * 1024


def test_a_frozen_dict_is_a_mapping_and_nothing_else() -> None:
    frozen = FrozenDict({"a": 1})
    assert (frozen, frozen | {"b": 2}, {"b": 2} | frozen) == ({"a": 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert pickle.loads(pickle.dumps(frozen)) == frozen
    with pytest.raises(TypeError):
        frozen["a"] = 2  # type: ignore[index]


# What stays -----------------------------------------------------------------------------------------------------


def living() -> Iterator[tuple[object, str]]:
    with ck.Namespace.of(os.getpid(), "net") as namespace:
        yield namespace, "Namespace.of"
    yield ck.LayerFS("/tmp", readonly=True), "make a LayerFS there"
    yield TemporaryBlobs(), "save"


def test_objects_of_one_process_explain_their_refusal() -> None:
    for value, words in living():
        with pytest.raises(TypeError, match=words):
            pickle.dumps(value)


def test_a_copy_of_what_owns_a_descriptor_would_close_it_twice() -> None:
    with ck.Namespace.of(os.getpid(), "net") as namespace:
        for way in (copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="Namespace"):
                way(namespace)


@pytest.mark.parametrize("kind", classes(lambda c: issubclass(c, OneProcess) and c is not OneProcess))
def test_each_refusal_names_what_to_send_instead(kind: type[OneProcess]) -> None:
    with pytest.raises(TypeError, match=kind.__name__):
        kind.__new__(kind).__reduce_ex__(4)
    assert kind.stays != OneProcess.stays


def test_a_cgroup_that_is_not_made_crosses_as_its_limits() -> None:
    group = ck.Cgroup("crossing", memory_max="32M", cpu_max=0.5, devices=["c 1:3 rwm"], controllers=["pids"])
    for way in WAYS:
        arrived = way(group)
        assert (arrived.name, arrived.limits, arrived.exists) == (group.name, group.limits, False)
        assert [str(s) for s in arrived.steps()] == [str(s) for s in group.steps()]


def test_a_placeholder_for_a_function_explains_itself() -> None:
    with pytest.raises(ck.PlanError, match="the filter"):
        Elsewhere("the filter")()
