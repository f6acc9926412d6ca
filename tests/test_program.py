"""Compiling: what the image holds, and what does not fit."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

import containerkit as ck
from containerkit import ns
from containerkit.core.step import Phase, Step
from containerkit.linux.native import extension, number
from containerkit.linux.syscalls import Call, Slot, execve


def header(image: bytes) -> dict[str, int]:
    names = ["size", "steps", "traces", "count", "autopsy", "autopsy_from"]
    return dict(zip(names, struct.unpack_from("6I", image), strict=True))


def test_the_image_holds_the_childs_steps_and_the_autopsy() -> None:
    program = ck.plan(ns.User(), run=["/bin/true"]).program()
    head, steps = header(program.code), program.child_steps
    assert head["count"] == len(steps)
    assert head["autopsy"] == 2
    assert head["autopsy_from"] == len(steps) - 1
    size = extension().ffi.sizeof("struct ck_step")
    numbers = [struct.unpack_from("q", program.code, head["steps"] + i * size)[0] for i in range(len(steps))]
    assert numbers == [number(s.call.name) for s in steps]
    assert head["size"] <= len(program.code)


def test_compiled_once_for_each_set_of_streams() -> None:
    plan = ck.plan(run=["/bin/true"])
    assert plan.program() is plan.program()
    assert plan.program((ck.PIPE, None, None)) is plan.program((ck.DEVNULL, None, None))
    assert plan.program((ck.PIPE, None, None)) is not plan.program()
    assert plan.program((None, None, None), [5]) is not plan.program()


def test_two_compilations_are_equal() -> None:
    images = [ck.plan(ns.User(), ns.Uts("x"), run=["/bin/true"]).program().code for _ in range(2)]
    assert images[0] == images[1]


class Many:
    def __init__(self, count: int) -> None:
        self.count = count

    def steps(self) -> Iterator[Step]:
        for i in range(self.count):
            yield Step.child(Phase.INSIDE, Call("getpid", ()), why="a number", save=Slot(f"n{i}"))


def test_512_slots_at_most() -> None:
    assert ck.plan(Many(500), run=["/bin/true"]).program()
    with pytest.raises(ck.PlanError, match="512 results"):
        ck.plan(Many(520), run=["/bin/true"]).program()


def test_a_call_that_is_unknown() -> None:
    class Odd:
        def steps(self) -> Iterator[Step]:
            yield Step.child(Phase.INSIDE, Call("no_such_call", ()), why="try")

    plan = ck.plan(Odd(), run=["/bin/true"])
    assert "no_such_call()" in str(plan)
    with pytest.raises(ck.Unavailable, match="no_such_call"):
        plan.program()


def test_nothing_to_run() -> None:
    with pytest.raises(ck.PlanError, match="nothing to run"):
        ck.plan(ns.User()).program()


def test_the_autopsy_looks_at_the_files_of_every_exec() -> None:
    class First:
        """A part that tries another program first."""

        def steps(self) -> Iterator[Step]:
            yield Step.child(Phase.INSIDE, execve("/no/such/first", ["first"]), why="try", tolerates={2})

    program = ck.plan(First(), run=["/bin/true"]).program()
    assert [str(step.call.args[1]) for step in program.timeline.autopsy if step.call.name == "openat"] == [
        "b'/no/such/first'",
        "b'/bin/true'",
    ]
    assert [program.child_steps[i].call.args[0] for i in program.execs] == [b"/no/such/first", b"/bin/true"]
    assert set(program.spaces) == {"program0", "program1"}
    with pytest.raises(ck.StepError, match="/no/such/program"):
        ck.plan(First(), run=["/no/such/program"]).spawn()
