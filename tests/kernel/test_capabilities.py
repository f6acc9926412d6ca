"""Capabilities in /proc/self/status, and the calls that they allow."""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import ns
from containerkit.parts.capabilities import NAMES, Capabilities
from containerkit.parts.privileges import NoNewPrivileges
from containerkit.parts.rlimits import Rlimits
from containerkit.parts.seccomp import Seccomp

SETS = ("Inh", "Prm", "Eff", "Bnd", "Amb")
RAW = 1 << NAMES.index("CAP_NET_RAW")


def status(*parts: Any) -> dict[str, str]:
    """Return /proc/self/status of a program in these parts."""
    text = ck.run(["cat", "/proc/self/status"], *parts, check=True).text
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def capabilities(*parts: Any) -> list[int]:
    """Return the five sets: inheritable, permitted, effective, bounding, ambient."""
    said = status(*parts)
    return [int(said[f"Cap{name}"], 16) for name in SETS]


def test_none() -> None:
    assert capabilities(ns.User())[3]
    assert capabilities(ns.User(), Capabilities.none()) == [0, 0, 0, 0, 0]


def test_only() -> None:
    assert capabilities(ns.User(), Capabilities.only("CAP_NET_RAW")) == [0, RAW, RAW, RAW, 0]


def test_default() -> None:
    mask = Capabilities.default().mask
    assert capabilities(ns.User(), Capabilities.default()) == [0, mask, mask, mask, 0]


def test_each_capability_alone() -> None:
    everything = Capabilities.only(*NAMES)
    assert capabilities(ns.User(), everything)[1:4] == [everything.mask] * 3
    assert capabilities(ns.User(), everything.dropping("CAP_SETPCAP"))[3] == everything.mask & ~(1 << NAMES.index("CAP_SETPCAP"))


def test_a_user_other_than_root_keeps_only_ambient_capabilities() -> None:
    assert capabilities(ns.User(5, 5), Capabilities.only("CAP_NET_RAW")) == [0, 0, 0, RAW, 0]
    assert capabilities(ns.User(5, 5), Capabilities.only("CAP_NET_RAW", ambient=True)) == [RAW] * 5


def test_dropped_capabilities_cannot_be_used() -> None:
    inside = [ns.User(), ns.Uts(), ns.Mount()]
    assert ck.run(["hostname", "new"], *inside, Capabilities.only("CAP_SYS_ADMIN")).exit_code == 0
    assert ck.run(["hostname", "new"], *inside, Capabilities.none()).exit_code != 0


def test_capabilities_are_dropped_after_the_steps_that_need_them() -> None:
    parts = [Capabilities.none(), ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("lesson")]
    assert ck.run(["hostname"], *parts, check=True).text == "lesson\n"


@pytest.mark.parametrize("seed", range(4))
def test_everything_together_in_any_order(seed: int) -> None:
    limits = Rlimits(nofile=64, core=0)
    parts: list[Any] = [
        Seccomp.default(),
        NoNewPrivileges(),
        Capabilities.only("CAP_NET_RAW"),
        limits,
        ns.User(),
        ns.Mount(),
        ns.Pid(init=bool(seed % 2)),
    ]
    random.Random(seed).shuffle(parts)
    said = status(*parts)
    assert [int(said[f"Cap{name}"], 16) for name in SETS] == [0, RAW, RAW, RAW, 0]
    assert (said["NoNewPrivs"], said["Seccomp"]) == ("1", "2")


def test_the_caller_keeps_its_capabilities() -> None:
    def mine() -> list[str]:
        with open("/proc/thread-self/status") as file:
            return [line for line in file if line.startswith(("Cap", "NoNewPrivs", "Seccomp"))]

    before = mine()
    assert ck.run(["true"], ns.User(), Capabilities.none(), NoNewPrivileges(), Seccomp.default()).exit_code == 0
    assert mine() == before


def nested(part: str, *parts: Any) -> str:
    """Return the error of a Python with these parts that runs a program with `part`."""
    script = f"import containerkit as ck\nfrom containerkit.parts.capabilities import Capabilities\nck.run(['true'], {part})"
    return ck.run([sys.executable, "-c", script], *parts, env=dict(os.environ)).stderr.decode()


def test_a_capability_that_the_caller_lacks_is_refused() -> None:
    said = nested("Capabilities.only('CAP_KILL', 'CAP_NET_RAW')", ns.User(), Capabilities.only("CAP_KILL", "CAP_SETPCAP"))
    assert "hint: a capability can only be kept, not gained" in said


def test_dropping_from_the_bounding_set_needs_a_capability() -> None:
    said = nested("Capabilities.none()", ns.User(), Capabilities.none())
    assert "hint: dropping from the bounding set needs CAP_SETPCAP" in said


def test_ambient_ones_can_be_forbidden() -> None:
    class NoAmbient:
        def steps(self) -> Any:
            call = ck.syscalls.Call("prctl", (ck.syscalls.Labelled(28, "PR_SET_SECUREBITS"), 1 << 6))  # SECBIT_NO_CAP_AMBIENT_RAISE
            yield ck.Step.child(ck.Phase.DROP, call, why="forbid ambient capabilities")

    with pytest.raises(ck.StepError, match="SECBIT_NO_CAP_AMBIENT_RAISE"):
        ck.run(["true"], ns.User(), NoAmbient(), Capabilities.only("CAP_KILL", ambient=True))


@pytest.mark.root
def test_without_a_user_namespace() -> None:
    assert capabilities(Capabilities.only("CAP_NET_RAW")) == [0, RAW, RAW, RAW, 0]
    assert capabilities(Capabilities.none(), NoNewPrivileges()) == [0, 0, 0, 0, 0]


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
