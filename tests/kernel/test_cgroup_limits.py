"""Limits hold, and the verdict names the limit that stopped a program.  Measured in the cgroup mode of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import containerkit as ck
from containerkit import cgroup
from containerkit.cgroup.values import disk

pytestmark = pytest.mark.root
ENV = {"PATH": os.environ["PATH"]}
SPIN = "while :; do :; done"
EAT = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"]
RATE = 4 << 20  # bytes a second
SLOW = 10 if os.environ.get("CK_GUEST") else 1  # an emulated processor is slower


def controlled(*controllers: str) -> None:
    """Skip if this machine has no such controller."""
    for controller in controllers:
        try:
            cgroup.system().controlled_by(controller)
        except ck.Unavailable as missing:
            pytest.skip(str(missing).replace("\n", ";"))


def only_v1(controller: str) -> None:
    """Skip if the controller is not one of cgroup v1."""
    controlled(controller)
    if cgroup.system().controlled_by(controller).version != 1:
        pytest.skip(f"needs a v1 {controller} controller")


# CPU ------------------------------------------------------------------------------------------------------------


def test_cpu_max_holds_to_within_a_tenth() -> None:
    with ck.Cgroup("fifth", cpu_max=0.2) as group:
        result = ck.run(["sh", "-c", SPIN], group, env=ENV, timeout=2)
        used = group.stat().cpu
    assert result.stopped_by == "timeout"
    assert result.usage.cpu_seconds / result.seconds == pytest.approx(0.2, rel=0.1)
    assert used is not None
    assert used.throttled >= 15  # of 20 periods
    assert used.throttled_seconds > 1
    if used.usage_seconds is not None:
        assert used.usage_seconds == pytest.approx(result.usage.cpu_seconds, rel=0.1)


SPIKES = """
import random, time
dice = random.Random(1)
time.sleep(0.5)
for n in range(6):
    time.sleep(0.3 + dice.random() / 5)
    cpu = time.process_time()
    while time.process_time() - cpu < 0.068: pass
"""


def test_a_burst_lets_a_spike_through() -> None:
    """68 ms of work on a quota of 40 ms in 200: with 40 ms saved up the program is not throttled, without it waits for the next period."""
    used = []
    for burst in (0, 40_000):
        with ck.Cgroup("burst", cpu_max=(40_000, 200_000), cpu_max_burst=burst) as group:
            ck.run([sys.executable, "-c", SPIKES], group, env=ENV, check=True)
            used.append(group.stat().cpu)
    without, with_ = used
    assert without is not None
    assert with_ is not None
    assert (without.bursts, without.burst_seconds) == (0, 0.0)
    assert with_.bursts >= 3
    assert with_.burst_seconds > 0.03
    assert without.throttled >= with_.throttled + 3
    assert with_.throttled_seconds < without.throttled_seconds / 2


def test_with_a_burst_the_average_still_holds() -> None:
    result = ck.run(["sh", "-c", SPIN], ck.Cgroup("average", cpu_max=0.2, cpu_max_burst=20_000), env=ENV, timeout=2)
    assert result.usage.cpu_seconds / result.seconds == pytest.approx(0.2, rel=0.1)


def test_weights_are_what_the_kernel_says() -> None:
    with ck.Cgroup("weight", cpu_weight=200) as group:
        assert group.read("cpu.weight") == "200"
        group.set(cpu_weight=50)
        assert group.read("cpu.weight") == "50"


def test_pinning_is_seen_in_the_status_of_the_process() -> None:
    with ck.Cgroup("pinned", cpuset_cpus="1", cpuset_mems=[0]) as group:
        status = ck.run(["cat", "/proc/self/status"], group, env=ENV, check=True).text
        assert re.search(r"^Cpus_allowed_list:\s+1$", status, re.MULTILINE)
        assert re.search(r"^Mems_allowed_list:\s+0$", status, re.MULTILINE)
        group.set(cpuset_cpus="0")
        assert "Cpus_allowed_list:\t0\n" in ck.run(["cat", "/proc/self/status"], group, env=ENV).text


def of_v1(group: ck.Cgroup, *names: str) -> list[str]:
    """Read v1's own files of a group."""
    return [(Path(path) / name).read_text().strip() for name in names for path in group.paths if (Path(path) / name).exists()]


def test_period_and_quota_change_below_a_quota_in_the_order_that_it_allows() -> None:
    """50% of 100 ms becomes 30% of 10 ms below half a core: with the period first the quota is 500% for a moment, which v1 refuses."""
    only_v1("cpu")
    with ck.Cgroup(cpu_max=0.5) as pod, pod.child(cpu_max=(50_000, 100_000)) as group:
        for quota, period in ((3000, 10_000), (300_000, 1_000_000), (1000, 100_000), (5000, 10_000)):
            group.set(cpu_max=(quota, period))
            assert of_v1(group, "cpu.cfs_quota_us", "cpu.cfs_period_us") == [str(quota), str(period)]


def test_a_quota_between_those_above_and_those_below_changes_too() -> None:
    """Both orders are refused: the period first exceeds the half core above, the quota first is under the quarter below."""
    only_v1("cpu")
    with ck.Cgroup(cpu_max=0.5) as pod, pod.child(cpu_max=(50_000, 100_000)) as group, group.child(cpu_max=0.25):
        group.set(cpu_max=(3000, 10_000))
        assert of_v1(group, "cpu.cfs_quota_us", "cpu.cfs_period_us") == ["3000", "10000"]
        for refused in ((9000, 10_000), (1000, 10_000)):
            with pytest.raises(ck.CgroupError, match="above"):
                group.set(cpu_max=refused)
            assert of_v1(group, "cpu.cfs_quota_us", "cpu.cfs_period_us") == ["3000", "10000"]


def test_quota_and_burst_change_in_both_directions() -> None:
    with ck.Cgroup(cpu_max=0.5, cpu_max_burst=40_000) as group:
        for cores, burst in ((0.1, 5000), (0.5, 50_000), (0.05, 0)):
            group.set(cpu_max=cores, cpu_max_burst=burst)
            assert group.read("cpu.max.burst") == str(burst)


def test_a_weight_is_given_to_a_group_that_was_idle() -> None:
    with ck.Cgroup(cpu_idle=True) as group:
        group.set(cpu_idle=False, cpu_weight=300)
        assert group.read("cpu.weight") == "300"


def test_memory_and_swap_change_in_both_directions() -> None:
    only_v1("memory")
    with ck.Cgroup(memory_max="32M", memory_swap_max=0) as group:
        for memory, swap in ((64, 0), (16, 1), (16, 0), (128, 128), (8, 0)):
            group.set(memory_max=f"{memory}M", memory_swap_max=f"{swap}M")
            wanted = [str(memory << 20), str(memory + swap << 20)]
            assert of_v1(group, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes") == wanted


def test_a_refusal_by_the_group_above_is_not_taken_for_a_missing_right() -> None:
    only_v1("cpuset")
    with ck.Cgroup(cpuset_cpus="0", devices=["c 1:3 rwm"]) as group:
        with pytest.raises(ck.CgroupError, match="the group above does not have all of these CPUs"):
            group.child(cpuset_cpus="1")
        with pytest.raises(ck.CgroupError, match="the group above does not have this device"):
            group.child(devices=["c 1:5 rwm"])
        with group.child("below"), pytest.raises(ck.CgroupError, match="has groups below it"):
            group.set(devices=["c 1:5 rwm"])


# Memory ---------------------------------------------------------------------------------------------------------


def test_memory_max_kills_and_the_verdict_is_oom() -> None:
    with ck.Cgroup("small", memory_max="16M", memory_swap_max=0) as group:
        result = ck.run(EAT, group, env=ENV)
        assert (result.exit_code, result.stopped_by) == (137, "oom")
        assert result.usage.memory_peak == pytest.approx(16 << 20, rel=0.05)
        memory = group.stat().memory
        assert memory is not None
        assert memory.events["oom_kill"] == 1
        again = ck.run(["true"], group, env=ENV)
    assert (again.exit_code, again.stopped_by) == (0, None)


def test_an_oom_below_the_program_is_its_oom_when_it_fails_of_it() -> None:
    group = ck.Cgroup("below", memory_max="16M", memory_swap_max=0)
    assert ck.run(["sh", "-c", f"{' '.join(EAT)}; exit 3"], group, env=ENV).stopped_by == "oom"
    survived = ck.run(["sh", "-c", f"{' '.join(EAT)}; exit 0"], group, env=ENV)
    assert (survived.exit_code, survived.stopped_by) == (0, None)
    assert not group.exists  # run() made the group, and removed it


def test_a_program_that_kills_itself_was_not_stopped_by_the_group() -> None:
    with ck.Cgroup("suicide", memory_max="64M", pids_max=10) as group:
        result = ck.run(["sh", "-c", "kill -9 $$"], group, env=ENV)
        assert (result.exit_code, result.stopped_by) == (137, "signal")
        plain = ck.run(["sh", "-c", "exit 137"], group, env=ENV)
        assert (plain.exit_code, plain.stopped_by) == (137, None)
        slow = ck.run(["sleep", "9"], group, env=ENV, timeout=0.1)
        assert (slow.exit_code, slow.stopped_by) == (137, "timeout")


def test_memory_limits_are_read_back_in_the_words_they_were_given_in() -> None:
    with ck.Cgroup("back", memory_max="64M") as group:
        assert group.read("memory.max") == str(64 << 20)
        group.set(memory_max="32M")
        assert group.read("memory.max") == str(32 << 20)
        group.set(memory_max="max")
        assert group.read("memory.max") == "max"
        assert int(group.read("memory.current")) >= 0


def test_swap_is_counted_alone_in_both_versions() -> None:
    with ck.Cgroup("swap", memory_max="64M") as group:
        old = cgroup.system().controlled_by("memory").version == 1
        file = "memory.memsw.limit_in_bytes" if old else "memory.swap.max"
        try:
            group.set(memory_swap_max="16M")
        except ck.Unavailable as missing:
            pytest.skip(str(missing).replace("\n", ";"))
        for memory in (32, 128, 16):  # down, then up beyond the old sum, then down again
            group.set(memory_max=memory << 20)
            assert group.read("memory.max") == str(memory << 20)
            assert int(group.read(file)) == (memory + 16 if old else 16) << 20
        group.set(memory_swap_max="max")
        assert group.read(file) == "max" if not old else int(group.read(file)) > 1 << 60


# Processes ------------------------------------------------------------------------------------------------------


def test_pids_max_stops_a_fork_bomb_and_kill_leaves_nobody() -> None:
    with ck.Cgroup("bomb", pids_max=40) as group:
        plan = ck.plan(group, run=["sh", "-c", "f() { f | f & }; f; sleep 60"], env=ENV)
        with plan.spawn(stdout=ck.DEVNULL, stderr=ck.DEVNULL):
            end = time.monotonic() + 20
            while (pids := group.stat().pids) and not pids.refused and time.monotonic() < end:
                time.sleep(0.01)
            assert pids is not None
            assert pids.refused > 0
            assert 0 < len(group.procs()) <= 40
            group.kill()
            assert group.procs(recursive=True) == []


def test_a_program_that_cannot_live_with_pids_max_was_stopped_by_it() -> None:
    result = ck.run(
        ["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 60 >/dev/null 2>&1 & done; wait"], ck.Cgroup("few", pids_max=4), env=ENV
    )
    assert result.exit_code
    assert result.stopped_by == "pids"


# Disks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Disk:
    """A file on a disk.

    :ivar number: "major:minor"
    :ivar file: for direct input and output that reaches the disk
    """

    number: str
    file: Path


@pytest.fixture
def disk_file(tmp_path: Path) -> Iterator[Disk]:
    """Yield a file on a disk; on a loop device if the directory is in memory."""
    file = tmp_path / "data"
    file.write_bytes(bytes(16 << 20))
    os.sync()
    try:
        yield Disk(disk(tmp_path), file)
    except ck.PlanError:
        loop = subprocess.run(["losetup", "--find", "--show", file], capture_output=True, text=True)
        if loop.returncode:
            pytest.skip(f"no disk and no loop device: {loop.stderr.strip()}")
        try:
            device = Path(loop.stdout.strip())
            yield Disk(disk(device), device)
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)


BLOCK = 128 << 10
COPY = """
import mmap, os, sys, time
way, file, blocks, block = getattr(os, sys.argv[1]), sys.argv[2], int(sys.argv[3]), mmap.mmap(-1, int(sys.argv[4]))
disk = os.open(file, os.O_RDWR | os.O_DIRECT)
for at in range(blocks):
    way(disk, [block], at * len(block))
    print(time.monotonic())
"""


@pytest.mark.parametrize("way", ["preadv", "pwritev"])
def test_io_max_in_bytes_holds_to_within_a_tenth(disk_file: Disk, way: str) -> None:
    """A busy machine makes a disk slower, never faster: the limit is an upper bound of the whole, and the fastest second comes near it.

    The program reads the clock after each block, so that the time to start it does not count.
    """
    controlled("io")
    second, blocks = RATE // BLOCK, 3 * RATE // BLOCK
    with ck.Cgroup("slow", io_max={disk_file.number: {"rbps": RATE, "wbps": RATE}}) as group:
        argv = [sys.executable, "-c", COPY, way, str(disk_file.file), str(blocks), str(BLOCK)]
        done = [float(line) for line in ck.run(argv, group, env=ENV, check=True).text.split()]
    assert len(done) == blocks
    assert (blocks - 1) * BLOCK / (done[-1] - done[0]) <= RATE * 1.1
    assert RATE / min(done[at + second] - done[at] for at in range(blocks - second)) >= RATE * 0.9


def test_io_is_limited_by_any_path_on_the_disk(disk_file: Disk) -> None:
    controlled("io")
    with ck.Cgroup("path", io_max={disk_file.file: {"riops": 1000}}) as group:
        file = "io.max" if cgroup.system().controlled_by("io").version == 2 else "blkio.throttle.read_iops_device"
        assert group.read(file).startswith(disk_file.number)


# Devices --------------------------------------------------------------------------------------------------------


def test_devices_that_are_not_on_the_list_are_denied() -> None:
    with ck.Cgroup("devices", devices=["/dev/null rw", "c 1:8 r"]) as group:
        assert ck.run(["sh", "-c", "echo > /dev/null && head -c 1 /dev/random > /dev/null"], group, env=ENV).exit_code == 0
        denied = ck.run(["head", "-c", "1", "/dev/zero"], group, env=ENV)
        assert b"not permitted" in denied.stderr
        assert ck.run(["sh", "-c", ": > /dev/random"], group, env=ENV).exit_code != 0
        group.set(devices=["/dev/zero r"])
        assert ck.run(["head", "-c", "1", "/dev/zero"], group, env=ENV).exit_code == 0
        assert ck.run(["cat", "/dev/null"], group, env=ENV).exit_code != 0


def test_an_empty_list_denies_every_device_and_the_standard_one_is_enough(tmp_path: Path) -> None:
    with ck.Cgroup("none", devices=[]) as group:
        assert ck.run(["cat", "/dev/null"], group, env=ENV).exit_code != 0
    with ck.Cgroup("standard", devices=cgroup.DEVICES) as group:
        for name in ("null", "zero", "full", "random", "urandom"):
            assert ck.run(["head", "-c", "1", f"/dev/{name}"], group, env=ENV).exit_code == 0
        made = ck.run(["mknod", tmp_path / "disk", "b", "8", "0"], group, env=ENV)
        assert b"not permitted" in made.stderr


def test_every_device_may_be_allowed() -> None:
    with ck.Cgroup("all", devices=["a *:* rwm"]) as group:
        assert ck.run(["head", "-c", "1", "/dev/zero"], group, env=ENV).exit_code == 0


# What cannot be -------------------------------------------------------------------------------------------------


def ours() -> list[str]:
    """Return the directories of this process's groups."""
    return [entry for h in cgroup.system().hierarchies for entry in os.listdir(h.mount) if f"-{os.getpid()}." in entry]


def test_a_refused_limit_leaves_nothing_behind() -> None:
    with pytest.raises(ck.CgroupError, match="no such disk"):
        ck.Cgroup("refused", pids_max=3, io_max={"777:0": {"rbps": 1 << 20}}).make()
    assert ours() == []


def test_two_groups_in_a_plan_contradict_each_other() -> None:
    with pytest.raises(ck.PlanError, match="two parts claim the cgroup"):
        ck.plan(ck.Cgroup("a"), ck.Cgroup("b"), run=["true"])


def test_a_group_that_was_not_entered_is_printed_but_not_spawned() -> None:
    plan = ck.plan(ck.Cgroup("later", pids_max=3), run=["true"], env=ENV)
    assert "cgroup" in str(plan)
    with pytest.raises(ck.PlanError, match="enter it first"):
        plan.spawn()
    assert ours() == []
