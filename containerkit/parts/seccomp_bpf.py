"""A compiler for seccomp filters: from decisions for each system call to classic BPF.

A block is code that ends in an answer on every path, so blocks nest without labels.  Jumps only go forward, a
conditional one at most 255 instructions; where that is too short an unconditional one, which has 32 bits, helps out.

    arch other than ours?       answer `foreign`
    number in the left half?    a balanced tree of comparisons leads to the block of a number:
        ...                     9 of them at most for all of Linux, instead of hundreds in a row
            arguments as wanted?    the answer of the first rule that matches
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import groupby

from ..base.frozen import frozen
from ..core.remembered import by_value
from ..errors import PlanError

LOAD, AND, JUMP, JUMP_EQUAL, JUMP_NOT_LESS, RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
NUMBER_AT, ARCH_AT, ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data
FARTHEST = 255
LONGEST = 4096  # BPF_MAXINSNS
LOW = 0xFFFFFFFF

Block = tuple[tuple[int, int, int, int], ...]
"""Instructions: code, jump if true, jump if false, k."""


@by_value
@frozen
class Where:
    """A condition on an argument: ``argument & mask == value``.

    The mask says how wide the kernel reads the argument.  An `int` has 32 bits; higher bits never reach the
    kernel's code, so a filter that looked at them could be fooled.

    :param index: 0 to 5
    :param value: the value that it must have
    :param mask: the bits that count; the lower 32 unless given
    :raises PlanError: an index or a value that can never match
    """

    index: int
    value: int
    mask: int = LOW

    def __post_init__(self) -> None:
        if not 0 <= self.index <= 5:
            raise PlanError(f"a system call has arguments 0 to 5, not {self.index}")
        if not 0 < self.mask < 1 << 64 or self.value & ~self.mask:
            raise PlanError(f"argument {self.index} & {self.mask:#x} can never be {self.value:#x}")


Rule = tuple[tuple[Where, ...], int]
"""Conditions that must all hold, and the answer then."""


def compile_filter(arch: int, foreign: int, table: Mapping[int, Sequence[Rule]], otherwise: int, newer: int) -> bytes:
    """Return an array of struct sock_filter.

    :param arch: AUDIT_ARCH of the machine
    :param foreign: the answer to calls made in the manner of another architecture
    :param table: number -> rules, of which the first that matches counts
    :param otherwise: the answer where none matches
    :param newer: the answer to numbers above all of `table`, negative ones included
    :raises PlanError: the filter is longer than the kernel takes
    """
    tree = _tree(_segments(table, otherwise, newer))
    code = (_load(ARCH_AT), *_branch(JUMP_EQUAL, arch, (_load(NUMBER_AT), *tree), _answer(foreign)))
    if len(code) > LONGEST:
        raise PlanError(f"the filter has {len(code)} instructions, and the kernel takes {LONGEST}")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _segments(table: Mapping[int, Sequence[Rule]], otherwise: int, newer: int) -> list[tuple[int, Block]]:
    """Return the first number of each run of numbers that are treated alike, and how."""
    end = max(table, default=-1) + 1
    blocks = ((n, _rules(table.get(n, ()), otherwise)) for n in range(end))
    runs = [(next(run)[0], block) for block, run in groupby(blocks, key=lambda pair: pair[1])]
    return [*runs, (end, _answer(newer))]


def _tree(segments: Sequence[tuple[int, Block]]) -> Block:
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    return _branch(JUMP_NOT_LESS, segments[middle][0], _tree(segments[middle:]), _tree(segments[:middle]))


def _rules(rules: Sequence[Rule], otherwise: int) -> Block:
    code = _answer(otherwise)
    for wheres, answer in reversed(rules):
        code = (*_all(wheres, _answer(answer)), *code) if wheres else _answer(answer)
    return code


def _all(wheres: Sequence[Where], then: Block) -> Block:
    """Return code that runs `then` where all conditions hold, and goes on behind it where one does not."""
    for where in reversed(wheres):
        for shift in (0, 32):
            mask, value = where.mask >> shift & LOW, where.value >> shift & LOW
            if mask:
                narrowed = ((AND, 0, 0, mask),) if mask != LOW else ()
                then = (_load(ARGUMENTS_AT + 8 * where.index + shift // 8), *narrowed, *_only_if(JUMP_EQUAL, value, then))
    return then


def _branch(test: int, k: int, yes: Block, no: Block) -> Block:
    return (*_only_if(test, k, yes), *no)


def _only_if(test: int, k: int, then: Block) -> Block:
    """Return code that runs `then` if the test holds, and goes on behind it if not."""
    if len(then) <= FARTHEST:
        return ((test, 0, len(then), k), *then)
    return ((test, 1, 0, k), (JUMP, 0, 0, len(then)), *then)


def _load(offset: int) -> tuple[int, int, int, int]:
    return (LOAD, 0, 0, offset)


def _answer(action: int) -> Block:
    return ((RETURN, 0, 0, action),)
