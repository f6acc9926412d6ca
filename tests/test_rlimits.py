"""Resource limits as values."""

from __future__ import annotations

import resource
from typing import Any

import pytest

import containerkit as ck
from containerkit.parts.rlimits import RESOURCES, Rlimits


def test_numbers_are_those_of_the_c_library() -> None:
    theirs = {name[7:].lower(): value for name, value in vars(resource).items() if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"}
    assert {name: number for name, (number, _) in RESOURCES.items() if name in theirs} == theirs


def test_a_plan_shows_them() -> None:
    text = [str(s) for s in Rlimits(nofile=(64, 128), core=0, as_="unlimited").steps()]
    assert text == [
        "prlimit64(0, RLIMIT_AS, {unlimited, unlimited}, NULL)",
        "prlimit64(0, RLIMIT_CORE, {0, 0}, NULL)",
        "prlimit64(0, RLIMIT_NOFILE, {64, 128}, NULL)",
    ]


def test_values_are_equal_when_they_say_the_same() -> None:
    assert Rlimits(nofile=1, core=(0, 5)) == Rlimits(core=(0, 5), nofile=(1, 1))
    assert hash(Rlimits(core=0)) == hash(Rlimits(core=0))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"nofiles": 1}, "nofiles, did you mean nofile"),
        ({"xyz": 1}, "did you mean as or core"),
        ({"core": -1}, "not -1"),
        ({"core": 1 << 64}, "a number from 0"),
        ({"core": "many"}, "not 'many'"),
        ({"core": True}, "not True"),
        ({"core": 1.5}, "not 1.5"),
        ({"core": (2, 1)}, "soft limit 2 is above the hard one, 1"),
        ({"core": ("unlimited", 1)}, "soft limit unlimited"),
        ({"core": (1, 2, 3)}, r"or \(soft, hard\)"),
    ],
)
def test_bad_input_is_a_plan_error(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ck.PlanError, match=message):
        Rlimits(**limits)


def test_two_limits_on_one_thing_contradict_each_other() -> None:
    with pytest.raises(ck.PlanError, match="two parts claim the limit on core"):
        ck.plan(Rlimits(core=0), Rlimits(core=1), run=["true"])
