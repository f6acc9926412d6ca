"""Groups on pure cgroup v2, with every controller, in guests: what tests/kernel shows in the host's mode, and what only v2 can."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kernel.test_cgroup_life import (  # noqa: F401
    test_a_cgroup_namespace_begins_at_the_group,
    test_a_fork_of_the_owner_leaves_its_groups_alone,
    test_a_frozen_group_can_be_killed,
    test_a_group_can_be_used_again_after_a_kill,
    test_a_refused_fork_is_an_event_where_the_kernel_tells,
    test_an_oom_kill_is_an_event,
    test_children_are_walked_moved_into_and_removed_with_their_parent,
    test_events_end_when_the_group_is_removed,
    test_kill_ends_every_process_of_the_group_and_below,
    test_kill_ends_processes_that_fork_all_the_time,
    test_the_program_begins_inside_in_every_hierarchy,
    test_wait_empty_wakes_when_the_last_one_ends,
    test_without_clone3_the_child_joins_by_itself,
)
from kernel.test_cgroup_limits import (  # noqa: F401
    disk_file,
    test_a_program_that_cannot_live_with_pids_max_was_stopped_by_it,
    test_a_program_that_kills_itself_was_not_stopped_by_the_group,
    test_a_refused_limit_leaves_nothing_behind,
    test_an_oom_below_the_program_is_its_oom_when_it_fails_of_it,
    test_cpu_max_holds_to_within_a_tenth,
    test_devices_that_are_not_on_the_list_are_denied,
    test_every_device_may_be_allowed,
    test_io_max_in_bytes_holds_to_within_a_tenth,
    test_memory_limits_are_read_back_in_the_words_they_were_given_in,
    test_memory_max_kills_and_the_verdict_is_oom,
    test_pids_max_stops_a_fork_bomb_and_kill_leaves_nobody,
    test_pinning_is_seen_in_the_status_of_the_process,
    test_swap_is_counted_alone_in_both_versions,
    test_weights_are_what_the_kernel_says,
)

import containerkit as ck
from containerkit import cgroup

pytestmark = [pytest.mark.vm, pytest.mark.root]
ENV = {"PATH": os.environ["PATH"]}


def test_the_mode_is_v2() -> None:
    assert cgroup.system().mode == "v2"


def test_memory_high_is_a_brake_and_no_wall() -> None:
    """What does not fit is reclaimed; what cannot be is slowed down.  Nobody is killed."""
    eat = ["dd", "if=/dev/zero", "of=/dev/null", "bs=24M", "count=1"]
    with ck.Cgroup("brake", memory_high="8M", memory_swap_max=0) as group:
        result = ck.run(eat, group, env=ENV, timeout=3)
        memory = group.stat().memory
    assert result.stopped_by in (None, "timeout")
    assert memory is not None
    assert memory.events["high"] > 0
    assert memory.events["oom_kill"] == 0


def test_the_oom_killer_takes_all_or_nothing() -> None:
    eat = "sleep 60 & dd if=/dev/zero of=/dev/null bs=100M count=1; wait"
    with ck.Cgroup("all", memory_max="16M", memory_swap_max=0, memory_oom_group=True) as group:
        result = ck.run(["sh", "-c", eat], group, env=ENV)
        assert group.wait_empty(5)  # they are killed at once, and end one by one
    assert (result.exit_code, result.stopped_by) == (137, "oom")


def test_a_group_holds_processes_or_passes_controllers_on_and_says_so() -> None:
    with ck.Cgroup("inner") as group, ck.plan(group, run=["sleep", "60"], env=ENV).spawn():
        with pytest.raises(ck.CgroupError, match="no-internal-process rule"):
            group.child("limited", pids_max=3)
        with pytest.raises(ck.CgroupError, match="no-internal-process rule"):
            group.child("limited", memory_max="9M")
        assert [g.name for g in group.walk()] == ["inner"]


def test_the_other_side_of_the_rule_is_a_hint_of_the_clone() -> None:
    with ck.Cgroup("outer") as group:
        group.child("limited", memory_max="9M")
        with pytest.raises(ck.StepError, match="no-internal-process rule"):
            ck.plan(group, run=["true"], env=ENV).spawn()


def test_controllers_are_passed_down_a_deep_tree() -> None:
    with ck.Cgroup("a") as group:
        leaf = group.child("b").child("c").child("d", memory_max="32M", pids_max=5)
        assert (leaf.read("memory.max"), leaf.read("pids.max")) == (str(32 << 20), "5")
        assert ck.run(["true"], leaf, env=ENV).exit_code == 0


DELEGATED = """
import containerkit as ck, os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
try:
    ck.Cgroup("early", memory_max="9M").make()
except ck.CgroupError as error:
    print(error.strerror)
print(ck.Cgroup.make_room())
with ck.Cgroup("mine", pids_max=5) as group:
    result = ck.run(["cat", "/proc/self/cgroup"], group, env={"PATH": os.environ["PATH"]}, check=True)
    print(group.path, result.text.strip())
"""


def test_a_delegated_cgroup_wants_room_first() -> None:
    place = Path("/sys/fs/cgroup/delegated")
    place.mkdir()
    try:
        for file in (place, *(place / f"cgroup.{name}" for name in ("procs", "threads", "subtree_control"))):
            os.chown(file, 65534, -1)
        env = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        done = subprocess.run([sys.executable, "-c", DELEGATED, place], capture_output=True, text=True, env=env)
        assert (done.stderr, done.returncode) == ("", 0)
        early, leaf, mine = done.stdout.splitlines()
        assert "make_room()" in early
        assert leaf == f"{place}/leaf"
        assert mine.startswith(f"{place}/containerkit.")
        assert mine.endswith(".mine")
    finally:
        time.sleep(0.1)
        for directory in [*(d for d in place.iterdir() if d.is_dir()), place]:
            directory.rmdir()


def test_the_dead_are_swept() -> None:
    source = "import containerkit as ck, os\ng = ck.Cgroup('dead', pids_max=5, memory_max='9M').make()\n"
    source += "g.child('a').child('b')\nck.plan(g.child('c'), run=['/bin/sleep', '600']).spawn()\nos.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", source])
    (swept,) = ck.Cgroup.sweep()
    assert swept.endswith(".dead")
    assert not os.path.exists(swept)
