"""The limits that a Cgroup takes and refuses, and the files that each version writes.  Nothing here needs a cgroup."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import containerkit as ck
from containerkit import cgroup
from containerkit.cgroup import devices_bpf, stats, values, watch
from containerkit.cgroup.hierarchy import find
from containerkit.cgroup.limits import WORDS, parse
from containerkit.cgroup.pressure import Trigger
from containerkit.cgroup.pressure import parse as pressure
from containerkit.cgroup.v1 import V1, shares
from containerkit.cgroup.v2 import V2
from containerkit.cgroup.watch import Counts, verdict

# Values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "bytes_"),
    [(4096, 4096), ("4096", 4096), ("64M", 64 << 20), ("64MiB", 64 << 20), ("1.5g", 3 << 29), ("2 K", 2048), ("max", "max"), (0, 0)],
)
def test_sizes(given: Any, bytes_: Any) -> None:
    assert values.size(given) == bytes_


WRONG = [
    ("memory_max", "64X"), ("memory_max", -1), ("memory_max", 1.5), ("memory_max", True), ("memory_max", "1e6"), ("memory_max", 1 << 63),
    ("memory_max", "-5M"), ("memory_max", ""), ("cpu_max", 0), ("cpu_max", -1.0), ("cpu_max", float("nan")), ("cpu_max", "half"),
    ("cpu_max", (100, 100_000)), ("cpu_max", (5000, 2_000_000)), ("cpu_max", True), ("cpu_max", 0.0001), ("cpu_weight", 0),
    ("cpu_weight", 10_001),
    ("cpu_idle", 2), ("cpuset_cpus", ""), ("cpuset_cpus", "3-1"), ("cpuset_cpus", "0-"), ("cpuset_cpus", [99_999]), ("cpuset_cpus", "a"),
    ("cpuset_mems", "4000"), ("pids_max", -1), ("pids_max", "many"), ("io_max", {"8:0": {}}), ("io_max", {"8:0": {"speed": 1}}),
    ("io_max", {}),
    ("io_max", {"8:0": {"rbps": 0}}), ("io_max", {"/no/such/path": {"rbps": 1}}), ("io_max", {"/proc": {"rbps": 1}}), ("io_weight", 0),
    ("io_weight", {"8:0": 10_001}), ("hugetlb", {"2 MB": 1}), ("hugetlb", 5), ("rdma", {"mlx\n": {"hca_handle": 1}}), ("misc", {"": 1}),
    ("devices", "c 1:3 rwm"), ("devices", ["c 1:3 x"]), ("devices", ["d 1:3 r"]), ("devices", ["/etc/passwd"]),
    ("devices", ["/dev/nosuch r"]),
    ("devices", [3]), ("memory_maxx", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_an_error_before_anything_is_made(name: str, value: Any) -> None:
    with pytest.raises(ck.PlanError) as caught:
        ck.Cgroup("wrong", **{name: value})
    assert name in str(caught.value)


def test_a_wrong_word_finds_the_right_one() -> None:
    with pytest.raises(ck.PlanError, match="did you mean memory_max"):
        parse({"memory.max": 1})


@pytest.mark.parametrize(
    "name", ["", "..", ".", "../up", "a/b", "/", "a\0b", "a\nb", ".hidden", "x" * 201, "tasks", "cgroup.procs", "memory.max"]
)
def test_a_name_that_escapes_is_refused(name: str) -> None:
    with pytest.raises(ck.PlanError, match="name"):
        ck.Cgroup(name)


def test_a_parent_that_escapes_is_refused() -> None:
    with pytest.raises(ck.PlanError, match="does not go up"):
        ck.Cgroup("a", parent="/user.slice/../..")


@given(st.text(max_size=30))
@example("..")
def test_a_name_that_is_accepted_is_one_directory(name: str) -> None:
    try:
        group = ck.Cgroup(name)
    except ck.PlanError:
        return
    assert Path("/x", group.name).name == name
    assert name.isprintable()


def test_burst_is_at_most_the_quota() -> None:
    with pytest.raises(ck.PlanError, match="at most as much"):
        ck.Cgroup("b", cpu_max=0.2, cpu_max_burst=30_000)
    assert parse({"cpu_max": 0.2, "cpu_max_burst": 20_000})["cpu_max_burst"] == 20_000


@given(st.sets(st.integers(0, 200), min_size=1))
def test_lists_of_numbers_round_trip(wanted: set[int]) -> None:
    written = values.numbers(wanted, "/nonexistent")
    assert values._listed(written) == wanted
    assert values.numbers(written, "/nonexistent") == written


def test_a_limit_of_none_is_not_set() -> None:
    assert parse({"memory_max": None, "pids_max": 3}) == {"pids_max": 3}


def test_a_partition_stands_for_its_disk_and_a_number_for_itself() -> None:
    assert values.disk("254:0") == "254:0"
    with pytest.raises(ck.PlanError, match="no block device"):
        values.disk("/proc")


# Both versions --------------------------------------------------------------------------------------------------

HYBRID = """\
24 1 254:0 / / rw - ext4 /dev/vda rw
31 24 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /box /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
"""
OWN = "4:name=systemd:/s\n3:memory:/box/inner\n2:cpu,cpuacct:/\n1:blkio:/\n0::/\n"
PURE = "32 31 0:29 / {} rw - cgroup2 cgroup2 rw,nsdelegate\n"


def driver(kind: int) -> Any:
    found = find(HYBRID, OWN).hierarchies[0]
    return V1(found) if kind == 1 else V2(found)


def test_hierarchies_are_read_from_mountinfo() -> None:
    found = find(HYBRID, OWN)
    assert found.mode == "v1"
    assert {frozenset(h.controllers): h.mount for h in found.hierarchies} == {
        frozenset({"cpu", "cpuacct"}): "/sys/fs/cgroup/cpu,cpuacct", frozenset({"memory"}): "/sys/fs/cgroup/mem ory",
        frozenset({"io"}): "/sys/fs/cgroup/blkio", frozenset({"name=systemd"}): "/sys/fs/cgroup/systemd",
    }  # fmt: skip
    assert found.controlled_by("memory").here == "/sys/fs/cgroup/mem ory/inner"
    assert found.controlled_by("cpuacct") == found.controlled_by("cpu")
    with pytest.raises(ck.Unavailable, match="controller pids"):
        found.controlled_by("pids")


def test_the_controllers_of_v2_are_read_from_its_files(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    found = find(PURE.format(tmp_path), "0::/user.slice/a\n")
    assert (found.mode, found.v2 and found.v2.controllers) == ("v2", {"cpu", "io", "memory", "pids"})
    assert found.controlled_by("devices") == found.v2
    assert find(HYBRID + PURE.format(tmp_path), OWN).mode == "hybrid"
    assert find("", "").mode == "none"


def test_a_mount_that_does_not_show_our_group_is_not_used() -> None:
    found = find("35 31 0:32 /box /m rw - cgroup cgroup rw,memory\n", "3:memory:/elsewhere\n").hierarchies[0]
    with pytest.raises(ck.Unavailable, match="our own cgroup"):
        found.here  # noqa: B018


SAID = [
    ({"cpu_max": 0.5}, [("cpu.max", "50000 100000")], [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")]),
    ({"cpu_max": 0.005}, [("cpu.max", "5000 1000000")], [("cpu.cfs_period_us", "1000000"), ("cpu.cfs_quota_us", "5000")]),
    ({"cpu_max": "max"}, [("cpu.max", "max 100000")], [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "-1")]),
    ({"cpu_max": (7000, 20_000)}, [("cpu.max", "7000 20000")], [("cpu.cfs_period_us", "20000"), ("cpu.cfs_quota_us", "7000")]),
    ({"cpu_max_burst": 500}, [("cpu.max.burst", "500")], [("cpu.cfs_burst_us", "500")]),
    ({"cpu_weight": 100}, [("cpu.weight", "100")], [("cpu.shares", "1024")]),
    ({"cpu_idle": True}, [("cpu.idle", "1")], [("cpu.idle", "1")]),
    ({"memory_max": "64M"}, [("memory.max", "67108864")], [("memory.limit_in_bytes", "67108864")]),
    ({"memory_max": "max"}, [("memory.max", "max")], [("memory.limit_in_bytes", "-1")]),
    ({"memory_oom_group": False}, [("memory.oom.group", "0")], []),
    ({"pids_max": 32}, [("pids.max", "32")], [("pids.max", "32")]),
    ({"cpuset_cpus": [0]}, [("cpuset.cpus", "0")], [("cpuset.cpus", "0")]),
    ({"io_max": {"8:0": {"rbps": "4M", "wiops": "max"}}}, [("io.max", "8:0 rbps=4194304 wiops=max")],
     [("blkio.throttle.read_bps_device", "8:0 4194304"), ("blkio.throttle.write_iops_device", "8:0 0")]),
    ({"io_weight": {"default": 200, "8:0": 50}}, [("io.weight", "default 200"), ("io.weight", "8:0 50")],
     [("blkio.bfq.weight", "200"), ("blkio.bfq.weight_device", "8:0 50")]),
    ({"hugetlb": {"2mb": "4M"}}, [("hugetlb.2MB.max", "4194304")], [("hugetlb.2MB.limit_in_bytes", "4194304")]),
    ({"rdma": {"mlx4_0": {"hca_handle": 2, "hca_object": "max"}}}, [("rdma.max", "mlx4_0 hca_handle=2 hca_object=max")],
     [("rdma.max", "mlx4_0 hca_handle=2 hca_object=max")]),
    ({"misc": {"res_a": 3}}, [("misc.max", "res_a 3")], [("misc.max", "res_a 3")]),
    ({"devices": ["c 1:3 rw"]}, [], [("devices.deny", "a"), ("devices.allow", "c 1:3 rw")]),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "new", "old"), SAID)
def test_each_limit_is_written_in_both_versions(limits: dict[str, Any], new: list[tuple[str, str]], old: list[tuple[str, str]]) -> None:
    assert driver(2).writes(parse(limits)) == new
    assert driver(1).writes(parse(limits)) == old


@pytest.mark.parametrize(
    "limits",
    [{"memory_high": 1}, {"memory_low": 1}, {"memory_min": 1}, {"memory_oom_group": True}, {"io_latency": {"8:0": 5}}, {"io_weight": 5000}],
)
def test_a_limit_that_v1_lacks_is_unavailable_with_the_reason(limits: dict[str, Any]) -> None:
    with pytest.raises(ck.Unavailable) as caught:
        driver(1).writes(parse(limits))
    assert caught.value.probed
    assert caught.value.remedy
    assert driver(2).writes(parse(limits))


def test_the_tests_above_cover_every_limit() -> None:
    said = {name for limits, _, _ in SAID for name in limits} | {"memory_high", "memory_low", "memory_min", "io_latency"}
    assert set(WORDS) - said == {"cpuset_mems", "memory_swap_max"}  # the first is like cpuset_cpus, the second is in tests/kernel


def test_shares_are_the_kernel_s_formula() -> None:
    assert [shares(w) for w in (1, 100, 10_000)] == [10, 1024, 102_400]


# The device filter ----------------------------------------------------------------------------------------------

RULES = st.builds(
    values.DeviceRule, st.sampled_from("abc"), st.none() | st.integers(0, 3), st.none() | st.integers(0, 3),
    st.sets(st.sampled_from("rwm"), min_size=1).map(lambda letters: "".join(sorted(letters))),
)  # fmt: skip


def verified(program: bytes, context: tuple[int, int, int]) -> int:
    """Interpret a program as the kernel would; fail where the kernel's verifier refuses it: a jump out of it, an end without an exit."""
    code, at, register = list(struct.iter_unpack("=BBhi", program)), 0, [0] * 11
    while True:
        operation, registers, offset, value = code[at]
        target, source, at = registers & 15, registers >> 4, at + 1
        match operation:
            case devices_bpf.LOAD_WORD:
                register[target] = context[offset // 4]
            case devices_bpf.MOVE:
                register[target] = value
            case devices_bpf.MOVE_REGISTER:
                register[target] = register[source]
            case devices_bpf.AND:
                register[target] &= value
            case devices_bpf.SHIFT_RIGHT:
                register[target] >>= value
            case devices_bpf.JUMP_UNEQUAL:
                at += offset if register[target] != value else 0
            case devices_bpf.EXIT:
                return register[0]
            case _:
                raise AssertionError(f"instruction {operation:#x}")


@given(st.lists(RULES, max_size=6), st.sampled_from("bc"), st.integers(0, 3), st.integers(0, 3), st.integers(1, 7))
def test_the_filter_allows_what_some_rule_allows(rules: list[values.DeviceRule], kind: str, major: int, minor: int, access: int) -> None:
    wanted = {letter for letter, bit in devices_bpf.ACCESS.items() if access & bit}
    allowed = any(
        rule.kind in ("a", kind) and rule.major in (None, major) and rule.minor in (None, minor) and wanted <= set(rule.access)
        for rule in rules
    )
    context = (access << 16 | devices_bpf.KINDS[kind], major, minor)
    assert verified(devices_bpf.build(rules), context) == allowed


def test_rules_are_written_as_they_are_read() -> None:
    for text in (*cgroup.DEVICES, "b *:* m", "a *:* rwm"):
        assert str(values.DeviceRule.parse(text)) == text
    assert str(values.DeviceRule.parse("/dev/null rw")) == "c 1:3 rw"


# Reading --------------------------------------------------------------------------------------------------------

WORD = st.text(st.characters(codec="ascii", exclude_characters="= \n\r\x0b\x0c\x1c\x1d\x1e"), min_size=1, max_size=12)


@given(st.lists(st.tuples(WORD, st.integers(0) | WORD | st.just("1.5"))))
def test_unknown_keys_and_fields_break_no_parser(pairs: list[tuple[str, Any]]) -> None:
    new = "".join(f"{key} {value}\n" for key, value in pairs if key not in ("usage_usec", "nr_throttled"))
    found = stats.cpu(f"usage_usec 1500000\n{new}nr_throttled 3\nempty\n\n")
    assert (found.usage_seconds, found.throttled) == (1.5, 3)
    fields = " ".join(f"{key}={value}" for key, value in pairs if key not in stats.IoStat.__dataclass_fields__)
    assert stats.io(f"8:0 rbytes=5 {fields} wios=2\n9:9\n")["8:0"] == stats.IoStat(rbytes=5, wios=2)
    assert pressure(f"some avg10=1.50 {fields} total=2000000\nother avg10=1\n").some.total == 2.0


@given(st.text())
def test_any_text_is_parsed(text: str) -> None:
    stats.cpu(text), stats.io(text), pressure(text), stats.flat(text), stats.nested(text), stats.number(text)


def test_a_file_without_a_number_is_none() -> None:
    assert [stats.number(text) for text in ("5\n", "max\n", "", None)] == [5, None, None, None]


def test_a_trigger_window_outside_its_range_is_refused() -> None:
    for stall, window in ((0.0, 1.0), (2.0, 1.0), (0.1, 0.2), (0.1, 20.0)):
        with pytest.raises(ck.PlanError, match="window"):
            Trigger("/nonexistent", stall, window, False)


# The verdict ----------------------------------------------------------------------------------------------------

VERDICTS = [
    (Counts(0, 0), -9, None), (Counts(1, 0), -9, "oom"), (Counts(1, 0), 137, "oom"), (Counts(1, 0), 0, None), (Counts(0, 5), 2, "pids"),
    (Counts(0, 5), -6, "pids"), (Counts(0, 5), -9, None), (Counts(0, 5), 0, None), (Counts(1, 5), 1, "oom"),
]  # fmt: skip


@pytest.mark.parametrize(("after", "returncode", "said"), VERDICTS)
def test_the_verdict_follows_the_counters_and_not_the_signal(after: Counts, returncode: int, said: str | None) -> None:
    assert verdict(Counts(0, 0), after, returncode) == said
    assert verdict(after, after, returncode) is None
    assert watch.verdict is verdict
