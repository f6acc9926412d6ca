"""Seccomp: a filter in front of the kernel.  It sees the number and the arguments of every system call, and answers.

The filter is a list of allowed calls.  It refuses all other calls, also those that the kernel gains in years to come.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Hashable, Iterable
from functools import cache, lru_cache

from ..base import checks
from ..base.frozen import field, frozen, replace
from ..core.remembered import by, by_value, exact
from ..core.step import Phase, Step
from ..errors import PlanError, Unavailable, WrongType
from ..linux import syscalls
from ..linux.native import extension, number
from ..linux.syscalls import Bytes, Deferred
from .seccomp_bpf import Rule as Condition
from .seccomp_bpf import Where, compile_filter
from .seccomp_policy import ALLOWED, GRANTED, KNOWN, why_denied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Rule", "Seccomp", "Where"]

ALLOW, LOG, KILL, ERRNO = 0x7FFF0000, 0x7FFC0000, 0x80000000, 0x00050000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
NAMESPACES = 0x7E020000  # CLONE_NEW*, without CLONE_NEWTIME, which clone(2) does not take
AF_ALG, AF_VSOCK = 38, 40
LACKING = ("clone3", "file_getattr", "file_setattr", "lsm_get_self_attr", "lsm_list_modules")
ANY_PERSONALITY = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, 32 bits, version 2.6, both; and only asking

#: Calls that a plan makes behind the filter, and that a program may always make: give up, and wait for its children.
#: Without these calls a child whose exec fails could not even end.
ALWAYS = tuple("close close_range exit exit_group munmap ppoll rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait wait4".split())
# Inside DROP: last, because it may forbid calls that the other steps need.  But without no_new_privs only CAP_SYS_ADMIN may install it.
ORDER, EARLY = 50, 15
AFTER_EARLY = ("prctl", "capset", "setgroups", "setresgid", "setresuid")

_HINT = {
    errno.EACCES: "a filter needs NoNewPrivileges() in the plan, or CAP_SYS_ADMIN and early=True",
    errno.EPERM: "a filter that is there already forbids seccomp(2)",
    errno.EINVAL: "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)",
    errno.ENOSYS: "this kernel, or a filter that is there already, has no seccomp(2)",
}


@by_value
@frozen
class Rule:
    """The filter's answer to one system call.

    :param name: the kernel's name of it
    :param where: conditions on its arguments, which must all hold
    :param action: "allow", "log" (and allow), "kill", or the error it gives, as in "EPERM"
    :raises PlanError: an unknown name or action
    """

    name: str
    where: tuple[Where, ...] = ()
    action: str = "allow"

    def __post_init__(self) -> None:
        _answer(self.action)
        if not isinstance(self.name, str):
            raise WrongType(f"a system call has a name, as str, not {checks.said(self.name)}")
        if self.name not in KNOWN:
            import difflib

            close = difflib.get_close_matches(self.name, KNOWN, 1)
            raise PlanError(f"no such system call: {self.name!r}" + (f", did you mean {close[0]}?" if close else ""))


def _value(seccomp: Seccomp) -> Hashable:
    """Return the rules' exact value as text, made once for a tuple, since a filter has hundreds of rules; a list may change."""
    if (known := seccomp._exact) is not None:
        return known
    text = repr((exact(seccomp.rules), exact(seccomp.otherwise), exact(seccomp.early)))
    if type(seccomp.rules) is tuple and all(type(rule.where) is tuple for rule in seccomp.rules):
        object.__setattr__(seccomp, "_exact", text)
    return text


@by(_value)
@frozen
class Seccomp:
    """A filter for the program and all its children.  Make it with `default`, `allow` or `log`.

    Afterwards a call that no rule names gets `otherwise`.  Calls newer than this library get ENOSYS instead of an
    error, as from the kernel before them, so that libraries fall back.  Calls in the manner of another architecture (32
    bits) end the program; those of x32 get ENOSYS.  A filter cannot be removed.

    :param rules: for each call the first one that matches counts
    :param otherwise: the answer to every other call: an error as in "EPERM", "kill", or "log" (and allow)
    :param early: install it before the capabilities go: for a plan without `NoNewPrivileges`, in which set-user-ID programs
        count.  It must allow the calls that drop capabilities and change ids.
    :raises PlanError: an unknown name or action
    :see: seccomp(2)
    """

    rules: tuple[Rule, ...]
    otherwise: str = "EPERM"
    early: bool = False
    _exact: str | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if _answer(self.otherwise) == ALLOW:
            raise PlanError("a filter that allows everything is none")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the fields, without the key that is valid only in this process."""
        return Seccomp, (self.rules, self.otherwise, self.early)

    @classmethod
    def default(cls, capabilities: Iterable[str] = ()) -> Seccomp:
        """Return a filter that allows the calls of ordinary programs, as docker's does: see `why` for the refused ones.

        :param capabilities: the capabilities that the program keeps, as ``Capabilities.default().names``: with each go the calls that
            need it, as chroot(2) with CAP_SYS_CHROOT.  The kernel still asks for the capability
        :raises PlanError: not a list of capabilities' names
        """
        granted = _granted(capabilities)
        return cls._plain().allowing(granted) if granted else cls._plain()

    @classmethod
    @cache
    def _plain(cls) -> Seccomp:
        plain = [Rule(name) for names in ALLOWED.values() for name in names]
        sockets = [Rule("socket", (Where(0, family),), "EPERM") for family in (AF_ALG, AF_VSOCK)]
        lacking = [Rule(name, action="ENOSYS") for name in LACKING]
        special = [Rule("clone", (Where(0, 0, NAMESPACES),)), *lacking, *sockets, Rule("socket")]
        made = cls((*plain, *special, *(Rule("personality", (Where(0, value),)) for value in ANY_PERSONALITY)))
        object.__setattr__(made, "_exact", "default")
        return made

    def before_capabilities(self) -> Seccomp:
        """Return the same with `early`."""
        return replace(self, early=True)

    @classmethod
    def log(cls) -> Seccomp:
        """Forbid nothing: calls that `default` would refuse are allowed and written to the kernel's audit log."""
        return replace(cls.default(), rules=tuple(r for r in cls.default().rules if r.action == "allow"), otherwise="log")

    @classmethod
    def allow(cls, names: Iterable[str], *, otherwise: str = "EPERM") -> Seccomp:
        """Return a filter that allows only these calls, and those by which a process ends and waits.

        :param names: the names of the calls; without execve no program can run
        :raises PlanError: an unknown name; a list that kills execve
        """
        return cls(_rules(ALWAYS), otherwise).allowing(names)

    def allowing(self, names: Iterable[str], *where: Where) -> Seccomp:
        """Return a filter that allows these calls too, in place of earlier rules about them.

        :param where: conditions on the arguments, which must all hold
        """
        added = _rules(names, *where)
        replaced = set() if where else {rule.name for rule in added}
        return replace(self, rules=(*added, *(r for r in self.rules if r.name not in replaced)))

    def denying(self, names: Iterable[str]) -> Seccomp:
        """Return a filter that answers these calls with `otherwise`.  :raises PlanError: a name is unknown, or every process needs it"""
        gone = {rule.name for rule in _rules(names)}
        if vital := gone & set(ALWAYS):
            raise PlanError(f"no process can do without {', '.join(sorted(vital))}")
        return replace(self, rules=tuple(r for r in self.rules if r.name not in gone))

    @staticmethod
    def why(name: str) -> str:
        """Return the attack that refusing a call stops, or "" for one that `default` allows."""
        return why_denied(Rule(name).name)

    def allows(self, name: str) -> bool:
        """Whether a call is allowed with any arguments."""
        rules = [r for r in self.rules if r.name == name]
        actions = [r.action for r in rules] + ([] if any(not r.where for r in rules) else [self.otherwise])
        return set(actions) <= {"allow", "log"}

    def steps(self) -> Iterable[Step]:
        """Yield the one step.  Raise PlanError where the child could not end, or would be killed before it is the program."""
        kills = "kill" in (self.otherwise, *(r.action for r in self.rules))
        wanted = (*ALWAYS, *(("execve",) if kills else ()), *(AFTER_EARLY if self.early else ()))
        if missing := [name for name in wanted if not self.allows(name)]:
            raise PlanError(f"under this filter no program could start, or end: it lacks {', '.join(missing)}")
        call, why = syscalls.seccomp(Deferred(self._program, str(self))), "only system calls that the filter lets through"
        # Before Linux 5.16 a kill with a core dump killed every process that shared the memory: the caller too.
        yield Step.child(Phase.DROP, call, why=why, order=EARLY if self.early else ORDER, hint=_HINT, helper="join" if kills else "")

    def __str__(self) -> str:
        names = len({r.name for r in self.rules if r.action == "allow"})
        return f"{{{names} calls allowed, others {self.otherwise}}}"

    def _program(self) -> Bytes:
        code = self.compile()
        return Bytes(struct.pack("H14x", len(code) // 8), str(self), ((8, Bytes(code, str(self))),))

    def compile(self) -> bytes:
        """Return the filter for this machine: an array of struct sock_filter.

        :raises Unavailable: the extension is missing, which has the system call numbers
        :raises PlanError: more instructions than the kernel takes
        """
        rules = tuple((rule.name, tuple(rule.where), rule.action) for rule in self.rules)
        return _compiled(rules, self.otherwise, _architecture(), tuple(_numbers().items()))


@lru_cache(maxsize=32)  # a program has few filters, and each of its plans is compiled anew
def _compiled(
    rules: tuple[tuple[str, tuple[Where, ...], str], ...], otherwise: str, architecture: int, known: tuple[tuple[str, int], ...]
) -> bytes:
    last, numbers = _answer(otherwise), dict(known)
    table: dict[int, list[Condition]] = {number: [] for number in numbers.values()}
    for name, where, action in rules:
        if name in numbers:
            table[numbers[name]].append((where, _answer(action)))
    newer = ERRNO | errno.ENOSYS if last & 0xFFFF0000 == ERRNO else last
    return compile_filter(architecture, LOG if last == LOG else KILL, table, last, newer)


def _granted(capabilities: Iterable[str]) -> set[str]:
    """Return the calls that go with capabilities."""
    if isinstance(capabilities, str) or not all(isinstance(name, str) and name.upper().startswith("CAP_") for name in capabilities):
        raise PlanError(f'capabilities are a list of names, as ["CAP_SYS_CHROOT"], not {capabilities!r}')
    return {call for name in capabilities for call in GRANTED.get(name.upper(), ())}


def _answer(action: str) -> int:
    """Return an action as the kernel has it."""
    if action in (plain := {"allow": ALLOW, "log": LOG, "kill": KILL}):
        return plain[action]
    found = getattr(errno, action, None) if action.isupper() else None
    if found is None:
        raise PlanError(f'an action is "allow", "log", "kill" or the name of an error, not {action!r}')
    return ERRNO | int(found)


def _rules(names: Iterable[str], *where: Where) -> tuple[Rule, ...]:
    if isinstance(names, str):
        raise PlanError(f"a list of system calls is wanted, not one string: [{names!r}]")
    return tuple(Rule(name, where) for name in dict.fromkeys(names))


def _architecture() -> int:
    """Return the kernel's audit name of this machine.  :raises Unavailable: the library does not know the machine"""
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        raise Unavailable("a seccomp filter", probed=f"uname on {machine}", remedy="x86-64 or aarch64")
    return ARCHITECTURES[machine]


@cache
def _numbers() -> dict[str, int]:
    """Return the calls that this machine has: aarch64 lacks the old ones.  Raise Unavailable without the extension."""
    extension()
    found = {}
    for name in KNOWN:
        with contextlib.suppress(Unavailable):
            found[name] = number(name)
    return found
