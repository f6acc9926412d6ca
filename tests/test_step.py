"""A step: one call with a reason."""

from __future__ import annotations

import dataclasses

import pytest

import containerkit as ck
from containerkit import ns, syscalls
from containerkit.core.step import Part, Phase, Side, Step

STEP = Step.child(Phase.INSIDE, syscalls.chdir("/"), why="stand there", hint={2: "gone"}, tolerates=[17], needs=["a thing"])


def test_a_step_is_a_value() -> None:
    assert Step.child(Phase.INSIDE, syscalls.chdir("/"), why="stand there", hint={2: "gone"}, tolerates={17}, needs={"a thing"}) == STEP
    assert (STEP.side, STEP.man, str(STEP)) == (Side.CHILD, "chdir(2)", "chdir('/')")
    with pytest.raises(dataclasses.FrozenInstanceError):
        STEP.why = "other"  # type: ignore[misc]


def test_hints_by_error_or_for_all() -> None:
    assert (STEP.hint_for(2), STEP.hint_for(3)) == ("gone", "")
    assert STEP.with_(hint="always").hint_for(3) == "always"
    assert STEP.hint_for(2) == "gone"


def test_a_result_that_is_kept_shows() -> None:
    assert str(STEP.with_(save=syscalls.Slot("x"))) == "chdir('/') -> %x"


def test_phases_are_in_the_order_they_happen() -> None:
    assert [p.name for p in sorted(Phase)] == ["PREPARE", "CLONE", "IDENTITY", "ROOTFS", "MOUNTS", "PIVOT", "INSIDE", "DROP", "EXEC"]


def test_anything_with_steps_is_a_part() -> None:
    assert isinstance(ns.Pid(), Part)
    assert isinstance(ck.plan(), Part)
    assert not isinstance(3, Part)
