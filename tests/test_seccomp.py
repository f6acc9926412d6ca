"""The filter as a value, and its compiler: a small BPF machine must answer as the rules read."""

from __future__ import annotations

import errno
import os
import shutil
import struct
from typing import Any

import pytest
import syscall_numbers
from hypothesis import given, settings
from hypothesis import strategies as st

import containerkit as ck
from containerkit.linux.native import number
from containerkit.parts import seccomp, seccomp_policy
from containerkit.parts.privileges import NoNewPrivileges
from containerkit.parts.seccomp import ALLOW, ALWAYS, ERRNO, KILL, LOG, Seccomp, Where
from containerkit.parts.seccomp_bpf import LONGEST, Rule, _branch, compile_filter

ARCH = 0xC000003E
OURS = seccomp._architecture()
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS


class Machine:
    """Run a filter as the kernel does: classic BPF over struct seccomp_data, as bpf(4) and seccomp(2) have it."""

    def __init__(self, code: bytes) -> None:
        self.code = list(struct.iter_unpack("=HBBI", code))

    def answer(self, nr: int, args: tuple[int, ...] = (), arch: int = ARCH) -> int:
        data = struct.pack("<iIQ6Q", nr if nr < 1 << 31 else nr - (1 << 32), arch, 0, *args, *[0] * (6 - len(args)))
        accumulator, at = 0, 0
        while True:
            op, yes, no, k = self.code[at]
            at += 1
            match op:
                case 0x20:
                    accumulator = struct.unpack_from("<I", data, k)[0]
                case 0x54:
                    accumulator &= k
                case 0x05:
                    at += k
                case 0x15:
                    at += yes if accumulator == k else no
                case 0x35:
                    at += yes if accumulator >= k else no
                case 0x06:
                    return int(k)
                case _:
                    raise AssertionError(f"not an instruction of a filter: {op:#x}")


def expected(table: dict[int, list[Rule]], nr: int, args: tuple[int, ...], otherwise: int, newer: int) -> int:
    if nr > max(table, default=-1):
        return newer
    matching = (a for wheres, a in table.get(nr, []) if all(args[w.index] & w.mask == w.value for w in wheres))
    return next(matching, otherwise)


NUMBERS = st.integers(0, 600)
MASKS = st.sampled_from([0xFFFFFFFF, (1 << 64) - 1, 0x7E020000, 0xFF << 32, 1 << 63, 0x1_0000_0001])
SMALL = st.sampled_from([0, 1, 2, 40, 1 << 32, (1 << 32) + 40, 1 << 63, (1 << 64) - 1, 0x10000000, 0xFFFFFFFF])
WHERES = st.builds(lambda i, v, m: Where(i, v & m, m), st.integers(0, 5), SMALL, MASKS)
ACTIONS = st.sampled_from([ALLOW, LOG, KILL, EPERM, ENOSYS])
RULES = st.lists(st.tuples(st.lists(WHERES, max_size=3).map(tuple), ACTIONS), max_size=4)
ARGS = st.tuples(*[SMALL] * 6)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NUMBERS, RULES, max_size=40), st.lists(st.tuples(NUMBERS, ARGS), min_size=1, max_size=20), st.data())
def test_compiled_filter_answers_as_the_rules_read(
    table: dict[int, list[Rule]], calls: list[tuple[int, tuple[int, ...]]], data: st.DataObject
) -> None:
    machine = Machine(compile_filter(ARCH, KILL, table, EPERM, ENOSYS))
    if table:
        calls = [*calls, (data.draw(st.sampled_from(sorted(table))), data.draw(ARGS))]
    for nr, args in calls:
        assert machine.answer(nr, args) == expected(table, nr, args, EPERM, ENOSYS)


def test_a_branch_longer_than_255_instructions_is_reached() -> None:
    table = {n: [((Where(n % 6, n, (1 << 64) - 1),), ALLOW)] for n in range(0, 500, 2)}
    code = compile_filter(ARCH, KILL, table, EPERM, ENOSYS)
    machine = Machine(code)
    assert len(code) // 8 > 4 * 255
    for nr in range(502):
        args = tuple(nr if i == nr % 6 else 0 for i in range(6))
        assert machine.answer(nr, args) == expected(table, nr, args, EPERM, ENOSYS)


@pytest.mark.parametrize("length", [1, 254, 255, 256, 257, 1000])
def test_a_branch_of_any_length_leads_to_both_its_ends(length: int) -> None:
    yes = (*(((0x54, 0, 0, 0xFFFFFFFF),) * (length - 1)), (0x06, 0, 0, ALLOW))
    code = ((0x20, 0, 0, 0), *_branch(0x15, 7, yes, ((0x06, 0, 0, EPERM),)))
    machine = Machine(b"".join(struct.pack("=HBBI", *instruction) for instruction in code))
    assert (machine.answer(7), machine.answer(8)) == (ALLOW, EPERM)


def test_a_rule_longer_than_255_instructions_is_skipped_whole() -> None:
    wheres = tuple(Where(i % 6, 0, (1 << 64) - 1) for i in range(80))
    machine = Machine(compile_filter(ARCH, KILL, {3: [(wheres, ALLOW)]}, EPERM, ENOSYS))
    assert machine.answer(3) == ALLOW
    assert machine.answer(3, (1,)) == EPERM


@pytest.mark.parametrize("nr", [0x40000000, 0x40000000 | 39, 0xFFFFFFFF, 5000])
def test_x32_and_negative_and_newer_numbers_are_never_allowed(nr: int) -> None:
    assert Machine(compile_filter(ARCH, KILL, {39: [((), ALLOW)]}, EPERM, ENOSYS)).answer(nr) == ENOSYS
    assert Machine(compile_filter(ARCH, KILL, {39: [((), ALLOW)]}, EPERM, ENOSYS)).answer(39) == ALLOW


@pytest.mark.parametrize("arch", [0x40000003, 0x40000028, 0, OURS + 1, 0xFFFFFFFF])
def test_calls_in_the_manner_of_another_architecture_end_the_program(arch: int) -> None:
    machine = Machine(Seccomp.default().compile())
    assert machine.answer(number("read"), arch=arch) == KILL
    assert machine.answer(number("read"), arch=OURS) == ALLOW


def test_a_filter_that_is_too_long_is_refused() -> None:
    table = {n: [((Where(n % 6, n, (1 << 64) - 1),), ALLOW)] for n in range(LONGEST // 5)}
    with pytest.raises(ck.PlanError, match=f"the kernel takes {LONGEST}"):
        compile_filter(ARCH, KILL, table, EPERM, ENOSYS)


# The profile ----------------------------------------------------------------------------------------------------


def answer(filter: Seccomp, name: str, *args: int) -> int:
    return Machine(filter.compile()).answer(number(name), args, OURS)


def test_every_call_is_in_one_group() -> None:
    names = [
        n
        for groups in (seccomp_policy.ALLOWED, seccomp_policy.SPECIAL, seccomp_policy.DENIED)
        for members in groups.values()
        for n in members
    ]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("compiler", [os.environ.get("CC", "cc"), "aarch64-linux-gnu-gcc"])
def test_every_call_of_the_headers_is_known(compiler: str) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"needs the compiler {compiler}")
    assert set(syscall_numbers.numbers([compiler])) - seccomp_policy.KNOWN == set()


@pytest.mark.parametrize("name", [n for names in seccomp_policy.DENIED.values() for n in names])
def test_every_denied_call_is_refused_and_has_a_reason(name: str) -> None:
    assert Seccomp.why(name)
    if name in seccomp._numbers():
        assert answer(Seccomp.default(), name) == EPERM


def test_the_filter_for_the_other_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = "aarch64-linux-gnu-gcc"
    if not shutil.which(compiler):
        pytest.skip(f"needs the compiler {compiler}")
    numbers = syscall_numbers.numbers([compiler])
    monkeypatch.setattr(seccomp, "_numbers", lambda: numbers)
    monkeypatch.setattr(seccomp, "_architecture", lambda: seccomp.ARCHITECTURES["aarch64"])
    machine = Machine(Seccomp.default().compile())
    allowed = {n for names in seccomp_policy.ALLOWED.values() for n in names}
    for name in numbers.keys() - {n for names in seccomp_policy.SPECIAL.values() for n in names}:
        assert machine.answer(numbers[name], arch=0xC00000B7) == (ALLOW if name in allowed else EPERM), name
    assert machine.answer(numbers["clone"], (0x10000000,), arch=0xC00000B7) == EPERM
    assert machine.answer(numbers["read"], arch=ARCH) == KILL


@pytest.mark.parametrize("name", "file_getattr file_setattr lsm_get_self_attr lsm_list_modules clone3".split())
def test_what_libraries_fall_back_from_is_not_there(name: str) -> None:
    assert Seccomp.why(name)
    if name in seccomp._numbers():
        assert answer(Seccomp.default(), name) == ENOSYS


@pytest.mark.parametrize("name", "ptrace process_vm_readv process_vm_writev clock_adjtime fanotify_mark".split())
def test_what_docker_allows_is_allowed(name: str) -> None:
    assert (answer(Seccomp.default(), name), Seccomp.why(name)) == (ALLOW, "")


@pytest.mark.parametrize(("capability", "calls"), seccomp_policy.GRANTED.items())
def test_calls_go_with_the_capability_that_they_need(capability: str, calls: tuple[str, ...]) -> None:
    granted = Seccomp.default([capability])
    for name in set(calls) & seccomp._numbers().keys():
        assert (answer(Seccomp.default(), name, 0x10000000), answer(granted, name, 0x10000000)) == (answer(_PLAIN, name, 0x10000000), ALLOW)
    others = {name for names in seccomp_policy.DENIED.values() for name in names} - set(calls)
    assert {answer(granted, name) for name in others & seccomp._numbers().keys()} == {EPERM}
    assert Seccomp.default([capability.lower()]) == granted


_PLAIN = Seccomp.default([])


def test_capabilities_without_calls_of_their_own_change_nothing() -> None:
    assert Seccomp.default(ck.Capabilities.only("CAP_NET_RAW", "CAP_CHOWN").names) == Seccomp.default()
    chroot = {r.name for r in Seccomp.default(ck.Capabilities.default().names).rules} - {r.name for r in Seccomp.default().rules}
    assert chroot == {"chroot"}


@pytest.mark.parametrize("wrong", ["CAP_SYS_CHROOT", ["SYS_CHROOT"], [5]])
def test_what_are_no_capabilities_is_refused(wrong: Any) -> None:
    with pytest.raises(ck.PlanError, match="CAP_SYS_CHROOT"):
        Seccomp.default(wrong)


def test_arguments_decide() -> None:
    default = Seccomp.default()
    namespaces = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
    assert [answer(default, "clone", flag | 17) for flag in namespaces] == [EPERM] * 7
    assert answer(default, "clone", 0x3D0F00) == ALLOW
    assert answer(default, "clone3", 1 << 40, 88) == ENOSYS
    assert [answer(default, "personality", p) for p in (0, 8, 0xFFFFFFFF, 0x40000, 0x100000)] == [ALLOW, ALLOW, ALLOW, EPERM, EPERM]
    assert [answer(default, "socket", family) for family in (1, 2, 10, 16, 38, 40)] == [ALLOW] * 4 + [EPERM] * 2


def test_bits_that_the_kernel_drops_fool_no_filter() -> None:
    above = 1 << 32
    assert answer(Seccomp.default(), "socket", above | 40, 1) == EPERM
    assert answer(Seccomp.default(), "clone", above | 0x10000000) == EPERM
    assert answer(Seccomp.default(), "personality", above | 0x40000) == EPERM


def test_log_forbids_nothing() -> None:
    machine = Machine(Seccomp.log().compile())
    answers = {machine.answer(n, arch=OURS) for n in seccomp._numbers().values()}
    assert answers == {ALLOW, LOG}
    assert machine.answer(20, arch=0x40000003) == LOG


def test_allowing_and_denying() -> None:
    changed = Seccomp.default().allowing(["mount", "clone3"]).denying(["chmod", "socket"])
    assert [answer(changed, n) for n in ("mount", "clone3", "socket", "umount2")] == [ALLOW, ALLOW, EPERM, EPERM]
    hypervisor = Seccomp.default().allowing(["socket"], Where(0, 40))
    assert [answer(hypervisor, "socket", family) for family in (40, 38, 2)] == [ALLOW, EPERM, ALLOW]
    assert answer(Seccomp.allow(["read"]), "write") == EPERM
    assert answer(Seccomp.allow(["read"], otherwise="kill"), "write") == KILL
    assert {answer(Seccomp.allow([]), n) for n in ALWAYS} == {ALLOW}


def test_bad_input_is_a_plan_error() -> None:
    with pytest.raises(ck.PlanError, match="'mmount', did you mean mount"):
        Seccomp.allow(["mmount"])
    with pytest.raises(ck.PlanError, match=r"not one string: \['mount'\]"):
        Seccomp.default().denying("mount")
    with pytest.raises(ck.PlanError, match="exit_group"):
        Seccomp.default().denying(["exit_group"])
    for action in ("EPREM", "errno", "", "allow"):
        with pytest.raises(ck.PlanError):
            Seccomp.allow(["read"], otherwise=action)
    with pytest.raises(ck.PlanError, match="arguments 0 to 5"):
        Where(6, 0)
    with pytest.raises(ck.PlanError, match="can never be 0x100000000"):
        Where(0, 1 << 32)


def test_a_filter_under_which_nothing_could_start_is_refused() -> None:
    with pytest.raises(ck.PlanError, match="it lacks execve"):
        ck.plan(Seccomp.allow(["read"], otherwise="kill"), run=["true"])
    with pytest.raises(ck.PlanError, match=r"it lacks .*exit_group"):
        ck.plan(Seccomp((seccomp.Rule("execve"),)), run=["true"])
    rules = (r for r in Seccomp.default().rules if r.name != "wait4")
    sometimes = Seccomp((*rules, seccomp.Rule("wait4", (Where(0, 1),))))
    with pytest.raises(ck.PlanError, match=r"it lacks wait4$"):
        ck.plan(sometimes, run=["true"])


def test_a_filter_that_kills_never_shares_the_callers_memory() -> None:
    """A core dump of a process that shares the caller's memory ends the caller, before Linux 5.16."""
    killing = ck.plan(NoNewPrivileges(), Seccomp.allow(["execve"], otherwise="kill"), run=["true"])
    assert "execveat" in [s.call.name for s in killing.child_steps]
    assert "execveat" not in [s.call.name for s in ck.plan(Seccomp.default(), run=["true"]).child_steps]


def test_printing_needs_no_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ck.Unavailable("the compiled extension")

    monkeypatch.setattr(seccomp, "extension", missing)
    seccomp._numbers.cache_clear()
    plan = ck.plan(Seccomp.default(), run=["true"])
    assert "seccomp(SET_MODE_FILTER, 0, {308 calls allowed, others EPERM})" in str(plan)
    assert plan.to_json()
    with pytest.raises(ck.Unavailable):
        plan.program()


def test_values_are_equal_when_they_say_the_same() -> None:
    assert Seccomp.default() == Seccomp.default()
    assert hash(Seccomp.default()) == hash(Seccomp.default())
    assert Seccomp.default() != Seccomp.default().denying(["chmod"])
