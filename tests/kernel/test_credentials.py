"""Credentials: a program is the user it was asked to be, wholly and for good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import containerkit as ck
from containerkit import ns

ALL = [(0, 0, 65536)]
pytestmark = pytest.mark.root


def status(rootdir: Path, *parts: ck.Part) -> dict[str, str]:
    with ck.LayerFS(rootdir) as root:
        made = ck.run(["cat", "/proc/self/status"], ns.User(uids=ALL, gids=ALL), ns.Mount(), ns.Pid(), root, *parts, check=True)
    return dict(line.split(":\t", 1) for line in made.text.splitlines())


def test_ids_and_groups_are_those(rootdir: Path) -> None:
    found = status(rootdir, ck.Credentials(1000, 50, (7, 27)))
    assert (found["Uid"].split(), found["Gid"].split(), found["Groups"].split()) == (["1000"] * 4, ["50"] * 4, ["7", "27"])


@pytest.mark.parametrize("capabilities", [[], [ck.Capabilities.none()], [ck.Capabilities.default()]], ids=["", "none", "default"])
def test_no_capability_is_left(rootdir: Path, capabilities: list[ck.Part]) -> None:
    found = status(rootdir, ck.Credentials(1000, 1000), *capabilities)
    assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


def test_ambient_capabilities_are_kept(rootdir: Path) -> None:
    kept = ck.Capabilities.only("CAP_NET_BIND_SERVICE", ambient=True)
    found = status(rootdir, kept, ck.Credentials(1000, 1000))
    assert {found[name] for name in ("CapPrm", "CapEff", "CapAmb", "CapBnd")} == {f"{kept.mask:016x}"}


def test_root_by_name_keeps_what_it_was_given(rootdir: Path) -> None:
    found = status(rootdir, ck.Credentials(0, 0), ck.Capabilities.only("CAP_CHOWN"))
    assert found["CapEff"] == f"{1:016x}"
    assert found["Groups"].split() == []


def test_with_a_filter_and_no_new_privileges(rootdir: Path) -> None:
    found = status(rootdir, ck.Credentials(5, 6), ck.Capabilities.none(), ck.NoNewPrivileges(), ck.Seccomp.default())
    assert (found["Uid"].split()[0], found["Seccomp"], found["NoNewPrivs"]) == ("5", "2", "1")


def test_a_filter_before_the_capabilities_needs_no_promise_about_privileges(rootdir: Path) -> None:
    parts = [ck.Credentials(5, 6), ck.Capabilities.default()]
    with pytest.raises(ck.StepError, match="early=True"):
        status(rootdir, *parts, ck.Seccomp.default())
    found = status(rootdir, *parts, ck.Seccomp.default().before_capabilities())
    assert (found["Uid"].split()[0], found["Seccomp"], found["NoNewPrivs"]) == ("5", "2", "0")


def test_an_early_filter_that_forbids_the_rest_is_refused() -> None:
    with pytest.raises(ck.PlanError, match="capset"):
        ck.plan(ck.Seccomp.default().denying(["capset"]).before_capabilities(), run=["true"])


def test_it_cannot_write_what_is_roots(rootdir: Path) -> None:
    with ck.LayerFS(rootdir) as root:
        tried = ck.run(["touch", "/usr/new"], ns.User(uids=ALL, gids=ALL), ns.Mount(), ns.Pid(), root, ck.Credentials(1000, 1000))
        assert tried.exit_code == 1
        assert list(root.changes()) == []


def test_an_id_that_is_not_mapped_is_explained(rootdir: Path) -> None:
    one = ns.User(uids=[(0, os.geteuid(), 1)], gids=[(0, os.getegid(), 1)])
    plan = ck.plan(one, ns.Mount(), ck.LayerFS(rootdir, readonly=True), ck.Credentials(1000, 1000), run=["true"])
    with pytest.raises(ck.StepError) as caught:
        plan.run()
    assert caught.value.step.call.name in ("setgroups", "setresgid")
    assert "subids" in caught.value.hint


def test_the_caller_stays_traceable_and_keeps_its_ids(rootdir: Path) -> None:
    before = identity()
    with ck.LayerFS(rootdir) as root:
        ck.run(["true"], ns.User(uids=ALL, gids=ALL), ns.Mount(), root, ck.Credentials(1000, 1000), check=True)
    assert identity() == before


def identity() -> list[str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return [line for line in lines if line.startswith(("Uid", "Gid", "Groups", "Cap"))]


@pytest.mark.parametrize("wrong", [(-1, 0), (0, 2**32 - 1), (0, 0, (2**32,))])
def test_what_is_no_id_is_refused(wrong: tuple[int, int]) -> None:
    with pytest.raises(ck.PlanError, match="is not an id"):
        ck.Credentials(*wrong)


def test_two_of_them_contradict_each_other() -> None:
    with pytest.raises(ck.PlanError, match="credentials"):
        ck.plan(ck.Credentials(1, 1), ck.Credentials(2, 2), run=["true"])
