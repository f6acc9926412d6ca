"""Groups are joined, walked, frozen, killed, watched and swept, in the cgroup mode of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import until

import containerkit as ck
from containerkit import cgroup, kernel, ns
from containerkit.cgroup.driver import processes
from containerkit.cgroup.events import Event
from containerkit.linux import cgroupfs

pytestmark = pytest.mark.root
ENV = {"PATH": os.environ["PATH"]}
MODE = cgroup.system().mode
EAT = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"]
SLEEP = ["sleep", "60"]
needs_v2 = pytest.mark.skipif(cgroup.system().v2 is None, reason="needs a v2 hierarchy")


def paths_of(pid: int) -> list[str]:
    return [line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


@contextlib.contextmanager
def only_effective(uid: int) -> Iterator[None]:
    """Drop root's rights for as long as the `with` lasts."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


# Joining --------------------------------------------------------------------------------------------------------

NAMESPACES = [(), (ns.User(),), (ns.User(), ns.Mount(), ns.Pid()), (ns.Pid(init=True),)]


@pytest.mark.parametrize("parts", NAMESPACES, ids=lambda parts: "-".join(type(p).__name__ for p in parts) or "plain")
@pytest.mark.parametrize("share_memory", [True, False])
def test_the_program_begins_inside_in_every_hierarchy(parts: tuple[ck.Part, ...], share_memory: bool) -> None:
    with ck.Cgroup("inside", pids_max=9, memory_max="64M") as group:
        plan = ck.plan(group, *parts, run=SLEEP, env=ENV, share_memory=share_memory)
        with plan.spawn() as process:
            inside = [path for path in paths_of(process.pid) if path.endswith(".inside")]
            assert len(inside) == len(group.paths)
            assert process.pid in group.procs()


def test_a_plan_older_than_a_limit_is_refused_and_not_run_without_it() -> None:
    with ck.Cgroup("grown") as group:
        plan = ck.plan(group, run=["true"], env=ENV)
        assert plan.run().exit_code == 0
        group.set(pids_max=5)
        if MODE == "v2":
            assert plan.run().exit_code == 0
            return
        with pytest.raises(ck.PlanError, match="make the plan again"):
            plan.run()


def test_an_ordinary_user_may_print_a_plan_that_others_may_run(as_user) -> None:  # type: ignore[no-untyped-def]
    said = as_user("import containerkit as ck; print(ck.plan(ck.Cgroup('mine', pids_max=5), run=['true']))")
    assert "cgroup" in said


def test_without_clone3_the_child_joins_by_itself() -> None:
    with ck.Cgroup("older", pids_max=9) as group, kernel.assume_missing("clone3"):
        plan = ck.plan(group, run=SLEEP, env=ENV)
        assert "INTO_CGROUP" not in str(plan)
        with plan.spawn() as process:
            assert process.pid in group.procs()
            assert sum(path.endswith(".older") for path in paths_of(process.pid)) == len(group.paths)


@pytest.mark.parametrize("parts", [(), (ns.User(),)], ids=["root", "user"])
def test_a_cgroup_namespace_begins_at_the_group(parts: tuple[ck.Part, ...]) -> None:
    with ck.Cgroup("top", pids_max=9) as group:
        shown = ck.run(["cat", "/proc/self/cgroup"], group, ns.Cgroup(), *parts, env=ENV, check=True).text
    wanted = {"", "pids"} if MODE == "hybrid" else {"pids"} if MODE == "v1" else {""}
    places = {names: path for _, names, path in (line.split(":", 2) for line in shown.splitlines())}
    assert {places[name] for name in wanted} == {"/"}


def test_a_group_without_limits_still_holds_and_kills() -> None:
    with ck.Cgroup("bare") as group, ck.plan(group, run=["sh", "-c", "sleep 60 & sleep 60"], env=ENV).spawn():
        assert until(lambda: len(group.procs()) == 3)
        group.kill()
        assert group.procs() == []


def test_a_script_reads_a_group_s_peak_memory_and_cpu_time(rootdir: Path) -> None:
    with ck.LayerFS(rootdir) as root, ck.Cgroup("lesson", memory_max="64M", pids_max=32, cpu_max=0.5) as group:
        plan = ck.plan(
            ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc(), ns.Uts("lesson"), root, group,
            ck.Capabilities.none(), ck.NoNewPrivileges(), ck.Seccomp.default(), run=["sh", "-c", "hostname; touch /new"],
        )  # fmt: skip
        with plan.spawn(stdout=ck.PIPE) as process:
            assert process.communicate()[0] == b"lesson\n"
            assert process.returncode == 0
            assert 0 < int(group.read("memory.peak")) < 64 << 20


# Trees ----------------------------------------------------------------------------------------------------------


def test_children_are_walked_moved_into_and_removed_with_their_parent() -> None:
    with ck.Cgroup("tree", controllers=["pids"]) as group:
        left, right = group.child("left", pids_max=5), group.child("right")
        leaf = left.child("leaf")
        assert [g.name for g in group.walk()] == ["tree", "left", "leaf", "right"]
        assert left.read("pids.max") == "5"
        with ck.plan(leaf, run=SLEEP, env=ENV).spawn() as process:
            assert (leaf.procs(), left.procs(), left.procs(recursive=True)) == ([process.pid], [], [process.pid])
            assert leaf.threads() == [process.pid]
            right.move(process)
            assert (leaf.procs(), right.procs()) == ([], [process.pid])
            assert sum(path.endswith("/right") for path in paths_of(process.pid)) == len(right.paths)
            with pytest.raises(TimeoutError, match=str(process.pid)):
                right.remove(timeout=0.05)
    assert not group.exists


def test_a_child_needs_no_hierarchy_of_its_parent_s() -> None:
    with ck.Cgroup("parent") as group:
        child = group.child("child", pids_max=3)
        assert child.read("pids.max") == "3"
        assert ck.run(["true"], child, env=ENV).exit_code == 0


def test_kill_ends_every_process_of_the_group_and_below() -> None:
    with ck.Cgroup("tall") as group:
        deep = group.child("a").child("b")
        with ck.plan(deep, run=["sh", "-c", "sleep 60 & sleep 60 & wait"], env=ENV).spawn() as process:
            assert until(lambda: len(deep.procs()) == 3)
            group.kill()
            assert group.procs(recursive=True) == []
            assert process.wait(5) == -signal.SIGKILL


def test_a_group_can_be_used_again_after_a_kill() -> None:
    with ck.Cgroup("again") as group:
        below = group.child("below")
        for inside in (group, below, group):
            with ck.plan(inside, run=SLEEP, env=ENV).spawn() as process:
                group.kill()
                assert process.wait(5) == -signal.SIGKILL
            assert ck.run(["true"], group, env=ENV).exit_code == 0
            assert ck.run(["true"], below, env=ENV).exit_code == 0


def test_kill_ends_processes_that_fork_all_the_time() -> None:
    fork = "while :; do sleep 60 & sleep 60 & (true); done"
    with ck.Cgroup("forks", pids_max=2000) as group, ck.plan(group, run=["sh", "-c", fork], env=ENV).spawn() as process:
        assert until(lambda: len(group.procs()) > 20)
        group.kill()
        assert group.procs() == []
        assert process.wait(5) == -signal.SIGKILL
        assert ck.run(["true"], group, env=ENV).exit_code == 0


@needs_v2
def test_a_process_that_cannot_be_signalled_is_killed_with_the_group(as_user) -> None:  # type: ignore[no-untyped-def]
    with ck.Cgroup("other") as group, ck.plan(group, run=SLEEP, env=ENV).spawn() as process:
        for name in ("freeze", "kill"):
            os.chown(f"{group.path}/cgroup.{name}", as_user.entry.pw_uid, -1)
        with only_effective(as_user.entry.pw_uid):
            group.kill()
        assert process.wait(5) == -signal.SIGKILL


def test_a_group_does_not_kill_its_owner() -> None:
    source = "import containerkit as ck, os\ng = ck.Cgroup('self').make()\ng.move(os.getpid())\n"
    source += "try: g.close()\nexcept ck.CgroupError as e: print(e.strerror)\n"
    source += "top = ck.cgroup.system().hierarchies\nfor h in top: open(h.mount + '/cgroup.procs', 'w').write('0')\ng.close()"
    if MODE == "v2":
        source = source.replace("'/cgroup.procs'", "'/init/cgroup.procs'")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    assert "move it out first" in done.stdout


def test_a_fork_of_the_owner_leaves_its_groups_alone() -> None:
    with ck.Cgroup("forked") as group:
        pid = os.fork()
        if pid == 0:
            group.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert all(map(os.path.isdir, group.paths))


# Freezing -------------------------------------------------------------------------------------------------------


def test_a_frozen_group_stands_still_until_it_is_thawed(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    with ck.Cgroup("ice") as group:
        plan = ck.plan(group, run=["sh", "-c", f"while :; do echo . >> {beat}; sleep 0.01; done"], env=ENV)
        with plan.spawn():
            assert until(lambda: beat.exists() and beat.stat().st_size > 2)
            with group.frozen():
                before = beat.stat().st_size
                time.sleep(0.2)
                assert beat.stat().st_size == before
            assert until(lambda: beat.stat().st_size > before)


def test_a_frozen_group_can_be_killed() -> None:
    with ck.Cgroup("cold") as group, ck.plan(group, run=SLEEP, env=ENV).spawn() as process:
        group.freeze()
        group.kill()
        assert process.wait(5) == -signal.SIGKILL


# Watching -------------------------------------------------------------------------------------------------------


def test_wait_empty_wakes_when_the_last_one_ends() -> None:
    with ck.Cgroup("wait") as group, ck.plan(group, run=["sleep", "0.2"], env=ENV).spawn():
        assert not group.wait_empty(0.01)
        begin = time.monotonic()
        assert group.wait_empty(5)
        assert time.monotonic() - begin < 2


def test_an_oom_kill_is_an_event() -> None:
    with ck.Cgroup("event", memory_max="16M", memory_swap_max=0) as group, group.events("oom", "oom_kill") as events:
        assert events.poll(0) == []
        assert ck.run(EAT, group, env=ENV).stopped_by == "oom"
        found: set[str] = set()
        while len(found) < 2:
            new = events.poll(5)
            assert new, f"only {found}"
            found |= {event.name for event in new}
        assert found == {"oom", "oom_kill"}


def test_a_refused_fork_is_an_event_where_the_kernel_tells() -> None:
    with ck.Cgroup("forks", pids_max=1) as group:
        if cgroup.system().controlled_by("pids").version == 1:
            with pytest.raises(ck.Unavailable, match="the event pids"):
                group.events("pids")
            return
        with group.events("pids") as events:
            assert ck.run(["sh", "-c", "sleep 1 & true"], group, env=ENV).exit_code
            assert events.poll(5)[0].name == "pids"


@needs_v2
def test_events_end_when_the_group_is_removed() -> None:
    group = ck.Cgroup("end").make()
    with group.events("populated") as events:
        with ck.plan(group, run=SLEEP, env=ENV).spawn():
            assert events.poll(5) == [Event("populated", 1)]
            group.close()
        assert list(events) == [Event("populated", 0)]


@needs_v2
def test_events_are_awaited() -> None:
    async def watch(group: ck.Cgroup) -> list[Event]:
        with group.events("populated") as events:
            threading.Timer(0.05, lambda: ck.run(["sleep", "0.1"], group, env=ENV)).start()
            found = []
            async for event in events:
                found.append(event)
                if event.value == 0:
                    break
        return found

    with ck.Cgroup("async") as group:
        found = asyncio.run(asyncio.wait_for(watch(group), 10))
    assert found == [Event("populated", 1), Event("populated", 0)]


def test_an_event_that_the_kernel_does_not_report_is_unavailable() -> None:
    with ck.Cgroup("quiet") as group, pytest.raises(ck.Unavailable, match="the event high"):
        group.events("high")


@needs_v2
def test_pressure_is_read_and_wakes_a_trigger() -> None:
    with ck.Cgroup("pressed", cpu_max=0.05) as group:
        if not os.path.exists(f"{group.path}/cpu.pressure"):
            pytest.skip("no PSI in this kernel")
        assert group.pressure("cpu").some.total >= 0
        with group.trigger("cpu", stall=0.05, window=2.0) as trigger:
            assert not trigger.wait(0.01)
            spin = ["sh", "-c", "for i in 1 2 3 4; do while :; do :; done & done; wait"]
            with ck.plan(group, run=spin, env=ENV).spawn():
                assert trigger.wait(20)
                group.kill()
        assert group.pressure("cpu").some.total > 0


def test_numbers_exist_only_where_a_controller_counts() -> None:
    with ck.Cgroup("numbers", controllers=["memory", "pids", "cpu"]) as group:
        ck.run(["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"], group, env=ENV, check=True)
        stat = group.stat()
        assert stat.memory is not None
        assert stat.memory.peak
        assert stat.cpu is not None
        assert stat.cpu.usage_seconds
        assert stat.pids is not None
        assert (stat.pids.current, stat.pids.refused) == (0, 0)
        with pytest.raises(ck.Unavailable, match=r"no\.such"):
            group.read("memory.no.such")
    with ck.Cgroup("blind") as group:
        if not os.path.exists(f"{group.path}/memory.peak"):  # on v2 another group may have the controller enabled for all
            with pytest.raises(ck.Unavailable, match="controllers="):
                group.read("memory.peak")


# The dead -------------------------------------------------------------------------------------------------------

FACTORY = """
import containerkit as ck, sys
plan = None
for n in range(int(sys.argv[1])):
    group = ck.Cgroup(f"g{n}", pids_max=5).make()
    if n % 20 == 0:
        process = ck.plan(group, run=["/bin/sleep", "600"]).spawn()
    if n % 3 == 0 and n % 20:
        group.close()
    print(n, flush=True)
print("done", flush=True)
"""


def left(owners: set[int]) -> set[str]:
    """Return the groups that bear the mark of one of these processes."""
    entries = {entry for h in cgroup.system().hierarchies for entry in os.listdir(h.mount) if entry.startswith("containerkit.")}
    return {entry for entry in entries if int(entry.split(".")[1].rpartition("-")[2]) in owners}


def test_a_thousand_groups_and_sigkill_in_between_leave_nothing_after_the_next_sweep() -> None:
    made, dice, owners = 0, random.Random(5), set[int]()
    while made < 1000:
        count = dice.randrange(20, 250)
        with subprocess.Popen([sys.executable, "-W", "ignore", "-c", FACTORY, "400"], stdout=subprocess.PIPE, text=True) as factory:
            assert factory.stdout is not None
            owners.add(factory.pid)
            for _, line in zip(range(count), factory.stdout, strict=False):
                made += line.strip().isdecimal()
            time.sleep(dice.random() / 500)
            factory.kill()
        assert left({*owners} - {factory.pid}) == set()  # each process swept the groups that the one before had left
    assert len(left(owners)) > 9
    inside = [pid for h in cgroup.system().hierarchies for e in left(owners) for pid in processes(f"{h.mount}/{e}")]
    assert any(inside)
    with ck.Cgroup("living") as living:
        ck.Cgroup.sweep()
        assert all(map(os.path.isdir, living.paths))
    assert left(owners) == set()
    assert not any(map(runs, inside))


def runs(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}/exe") and state(pid) not in "ZX"


def test_another_process_can_list_the_groups_of_living_owners() -> None:
    with ck.Cgroup("listed", pids_max=3) as group:
        source = "import containerkit as ck\nfor g in ck.Cgroup.groups(): print(g.name, g.path, g.stat().pids.current)"
        shown = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
        assert f"listed {group.path} 0\n" in shown


# Ordinary users -------------------------------------------------------------------------------------------------


def test_an_ordinary_user_without_a_delegated_cgroup_is_told_what_is_missing(as_user) -> None:  # type: ignore[no-untyped-def]
    said = as_user("import containerkit as ck\ntry: ck.Cgroup('mine').make()\nexcept ck.Unavailable as e: print(e)")
    assert "systemd-run --user --scope -p Delegate=yes" in said


def test_a_user_who_may_not_enter_the_v1_group_is_told_why(as_user) -> None:  # type: ignore[no-untyped-def]
    if cgroup.system().controlled_by("pids").version == 2:
        pytest.skip("needs pids on v1")
    with ck.Cgroup("closed", pids_max=5) as group, only_effective(as_user.entry.pw_uid):
        with pytest.raises(ck.CgroupError, match="begin inside a delegated one") as raised:
            ck.run(["true"], group, env=ENV)
        assert raised.value.errno == 13
        assert raised.value.filename in [f"{path}/cgroup.procs" for path in group.paths]


def test_a_user_who_may_not_make_a_group_is_told_why(as_user) -> None:  # type: ignore[no-untyped-def]
    with (
        ck.Cgroup("closed") as group,
        only_effective(as_user.entry.pw_uid),
        pytest.raises(ck.CgroupError, match=r"cannot make the group: .*begin inside a delegated one"),
    ):
        group.child("below")


def test_a_foreign_runtime_directory_is_named_in_the_error(as_user, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source = f"import os\nos.environ['XDG_RUNTIME_DIR'] = {str(tmp_path)!r}\nimport containerkit as ck\n"
    said = as_user(source + "try: ck.Cgroup('mine').make()\nexcept ck.CgroupError as e: print(e)")
    assert "XDG_RUNTIME_DIR" in said
    assert f"{tmp_path}/containerkit/journals" in said


@needs_v2
def test_a_clone_into_a_group_that_is_not_delegated_has_a_hint(as_user) -> None:  # type: ignore[no-untyped-def]
    with (
        ck.Cgroup("closed") as group,
        only_effective(as_user.entry.pw_uid),
        pytest.raises(ck.StepError, match="not delegated"),
    ):
        ck.run(["true"], group, env=ENV)


DELEGATED = """
import containerkit as ck, os
input()
if {limits}: ck.Cgroup.make_room()
with ck.Cgroup("mine"{limits}) as group:
    result = ck.run(["cat", "/proc/self/cgroup"], group, ck.ns.User(), env={{"PATH": os.environ["PATH"]}}, check=True)
    print(group.path)
    print(result.text)
print(os.path.exists(group.path if group.exists else "/nonexistent"))
"""


@needs_v2
def test_a_delegated_cgroup_is_used_by_an_ordinary_user(as_user) -> None:  # type: ignore[no-untyped-def]
    v2 = cgroup.system().v2
    assert v2 is not None
    place = Path(v2.mount) / "delegated-to-a-user"
    place.mkdir()
    try:
        for file in (place, *(place / f"cgroup.{name}" for name in ("procs", "threads", "subtree_control"))):
            os.chown(file, as_user.entry.pw_uid, -1)
        limits = "', pids_max=5'" if "pids" in v2.controllers else "''"
        source = DELEGATED.replace("{limits}:", f"{limits}:").replace("{limits}", limits.strip("'")).replace("{{", "{").replace("}}", "}")
        process = as_user.popen(sys.executable, "-c", source, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        (place / "cgroup.procs").write_text(str(process.pid))
        out, err = process.communicate("\n", timeout=60)
        assert (err, process.returncode) == ("", 0)
        assert out.startswith(f"{place}/containerkit.")
        assert "/delegated-to-a-user/containerkit." in out.split("\n", 1)[1]
    finally:
        for directory in [*place.iterdir(), place]:
            if directory.is_dir():
                cgroupfs.remove(str(directory), 5)  # the guardian of the user's program ends a moment after that program


# The other mode -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(MODE != "hybrid", reason="the same tests without the v2 hierarchy: only where there are both")
def test_these_tests_pass_on_pure_v1() -> None:
    v2 = cgroup.system().v2
    assert v2 is not None
    here = Path(__file__)
    files = [str(here), str(here.with_name("test_cgroup_limits.py"))]
    pytest_words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={here.parents[2]}", *files]
    quick = "not thousand and not burst and not tenth"
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", 'umount "$0" && exec "$@"', v2.mount, *pytest_words, "-k", quick]
    done = subprocess.run(command, capture_output=True, text=True, cwd=here.parents[2])
    assert done.returncode == 0, done.stdout[-6000:]
