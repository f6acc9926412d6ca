"""Capabilities as values, and the order of the steps that drop privileges."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import containerkit as ck
from containerkit import ns
from containerkit.core.step import Phase, Step
from containerkit.parts import capabilities
from containerkit.parts.capabilities import NAMES, Capabilities
from containerkit.parts.privileges import NoNewPrivileges
from containerkit.parts.rlimits import Rlimits
from containerkit.parts.seccomp import Seccomp


def dropped(part: Capabilities) -> list[Step]:
    return [s for s in part.steps() if "CAPBSET_DROP" in str(s)]


def test_a_names_index_is_its_number() -> None:
    known = {
        "CAP_CHOWN": 0,
        "CAP_SETPCAP": 8,
        "CAP_NET_BIND_SERVICE": 10,
        "CAP_SYS_ADMIN": 21,
        "CAP_MKNOD": 27,
        "CAP_SYSLOG": 34,
        "CAP_CHECKPOINT_RESTORE": 40,
    }
    assert {name: NAMES.index(name) for name in known} == known


def test_values() -> None:
    assert Capabilities.none().mask == 0
    assert Capabilities.only("CAP_CHOWN", "CAP_KILL").mask == 0b100001
    assert Capabilities.default().mask == 0xA80425FB
    assert Capabilities.none().adding("CAP_KILL") == Capabilities.only("CAP_KILL")
    assert Capabilities.default().dropping("CAP_NET_RAW").adding("CAP_NET_RAW") == Capabilities.default()
    assert hash(Capabilities.none()) == hash(Capabilities.only())


@pytest.mark.parametrize("make", [Capabilities.only, Capabilities.none().adding, Capabilities.default().dropping])
def test_an_unknown_name_is_a_plan_error(make: type[Capabilities]) -> None:
    with pytest.raises(ck.PlanError, match="'cap_net_admin', did you mean CAP_NET_ADMIN"):
        make("cap_net_admin")


def test_two_sets_contradict_each_other() -> None:
    with pytest.raises(ck.PlanError, match="two parts claim the capabilities"):
        ck.plan(Capabilities.none(), Capabilities.default(), run=["true"])


def test_every_other_capability_is_dropped_from_the_bounding_set() -> None:
    last = int(Path(capabilities.LAST_CAP).read_text())
    assert len(dropped(Capabilities.none())) == last + 1
    steps = dropped(Capabilities.only("CAP_SYS_ADMIN"))
    assert len(steps) == last
    assert not any("CAP_SYS_ADMIN" in str(s) for s in steps)
    assert all(not s.tolerates for s in steps)


def test_without_cap_last_cap_every_number_is_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(capabilities, "LAST_CAP", str(tmp_path / "missing"))
    steps = dropped(Capabilities.none())
    assert len(steps) == 64
    assert [bool(s.tolerates) for s in steps] == [False] * len(NAMES) + [True] * (64 - len(NAMES))


def test_privileges_are_dropped_in_one_order() -> None:
    parts = [Seccomp.default(), NoNewPrivileges(), Capabilities.only("CAP_KILL", ambient=True), Rlimits(nofile=64, core=0), ns.User()]
    texts, picks = set(), random.Random(1)
    for _ in range(10):
        picks.shuffle(parts)
        texts.add(str(ck.plan(*parts, run=["true"])))
    assert len(texts) == 1
    calls = [str(s) for s in ck.plan(*parts, run=["true"]).child_steps if s.phase is Phase.DROP]
    marks = ["prlimit64", "CAPBSET_DROP", "AMBIENT_CLEAR_ALL", "capset", "AMBIENT_RAISE", "NO_NEW_PRIVS", "seccomp"]
    assert [m for call in calls for m in marks if m in call and (m != "CAPBSET_DROP" or "CAP_CHOWN" in call)] == [marks[0], *marks]
