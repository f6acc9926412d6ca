"""Profiles of what a container must not do: the default, and the two others that this package uses.

    Profile()                            as container engines commonly have it
    Profile().dropping("CAP_NET_RAW")    the same with one capability less
    Profile.bare()                       no capability at all, and no program gains one: `ck.sandbox`
    Profile.privileged()                 it may do everything: ``containerkit run --privileged``

The lists themselves stand beside the parts that take them: `mounts.MASKED`, `mounts.READONLY`, `capabilities.DEFAULT` and the
filter of `Seccomp.default`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..base.frozen import frozen, replace
from ..core.step import Part
from ..parts import mounts
from ..parts.capabilities import DEFAULT, NAMES, Capabilities
from ..parts.privileges import NoNewPrivileges
from ..parts.seccomp import Seccomp
from . import _checks as checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Filter = Seccomp | Literal["default"] | None

__all__ = ["Profile"]


@frozen(repr=False)
class Profile:
    """Hidden and read-only paths, capabilities, and a filter of system calls.

    :param masked: paths inside that the program does not see
    :param readonly: paths inside that it does not change
    :param capabilities: the kernel's names of the capabilities that it has at most; None leaves all of them
    :param seccomp: "default" is `Seccomp.default` with the calls that belong to `capabilities`; a filter; or None
    :param no_new_privileges: set-user-ID programs such as su(1) and file capabilities do not count
    :raises SpecError: an unknown capability, a path that is not absolute
    """

    masked: tuple[str, ...] = mounts.MASKED
    readonly: tuple[str, ...] = mounts.READONLY
    capabilities: frozenset[str] | None = frozenset(DEFAULT)
    seccomp: Filter = "default"
    no_new_privileges: bool = False

    def __post_init__(self) -> None:
        checks.settle(self, _CHECKS)

    def __repr__(self) -> str:
        return checks.shown(self)

    @classmethod
    def bare(cls) -> Profile:
        """Return the profile without a single capability: root inside is an ordinary user, and no program makes it more."""
        return cls(capabilities=frozenset(), no_new_privileges=True)

    @classmethod
    def privileged(cls) -> Profile:
        """Return a profile with nothing hidden, all capabilities and no filter."""
        return cls(masked=(), readonly=(), capabilities=None, seccomp=None)

    def adding(self, *names: str) -> Profile:
        """Return a profile that keeps these capabilities too.  :raises PlanError: an unknown name"""
        return self._with(Capabilities(self._capabilities).adding(*names).names)

    def dropping(self, *names: str) -> Profile:
        """Return a profile without these capabilities.  :raises PlanError: an unknown name"""
        return self._with(Capabilities(self._capabilities).dropping(*names).names)

    @property
    def _capabilities(self) -> frozenset[str]:
        return frozenset(NAMES) if self.capabilities is None else self.capabilities

    def _with(self, names: frozenset[str]) -> Profile:
        return replace(self, capabilities=names)

    def parts(self, *, proc: bool = True) -> Iterator[Part]:
        """Yield the parts that keep a program from all that.

        Where set-user-ID programs count, the filter is installed before the capabilities go: then it needs no no-new-privileges.

        :param proc: whether the container has a /proc of its own, in which paths can be made read-only
        """
        if self.masked:
            yield mounts.Masked(self.masked)
        if self.readonly and proc:
            yield mounts.ReadOnly(self.readonly)
        if self.capabilities is not None:
            yield Capabilities(self.capabilities)
        if self.no_new_privileges:
            yield NoNewPrivileges()
        if self.seccomp is not None:
            chosen = Seccomp.default(self._capabilities) if self.seccomp == "default" else self.seccomp
            yield chosen if self.no_new_privileges else chosen.before_capabilities()


def _capabilities(value: Iterable[str] | None) -> frozenset[str] | None:
    if value is None:
        return None
    return Capabilities(frozenset(checks.texts(list(value) if isinstance(value, frozenset | set) else value))).names


_CHECKS: checks.Checks = {
    "masked": checks.paths_inside,
    "readonly": checks.paths_inside,
    "capabilities": _capabilities,
    "seccomp": checks.one_of("default", None, kinds=(Seccomp,)),
    "no_new_privileges": checks.flag,
}
