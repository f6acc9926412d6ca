"""The values that each field of a `ContainerSpec` takes, and the form in which the spec keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from ..base import checks as types
from ..base.frozen import FrozenDict, fields, replace
from ..errors import PlanError, WrongType
from ..linux import ids
from ..parts import mounts, ns
from ..parts.credentials import Credentials
from ..parts.rlimits import Rlimits
from . import _checks as checks
from .errors import SpecError
from .namespaces import Namespaces
from .profile import Profile
from .signals import signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNTED = (mounts.Bind, mounts.Tmpfs, mounts.Dev, mounts.Sysfs, mounts.Proc, mounts.Mqueue, mounts.Devpts)


def unknown(name: str, known: Iterable[str]) -> SpecError:
    """Return the error for a field that is not there."""
    import difflib

    close = difflib.get_close_matches(name, list(known), 1)
    return SpecError(name, "there is no such field" + (f", did you mean {close[0]}?" if close else ""))


def _mounted(value: Any) -> Any:
    """Check a mount.  A part of a spec is plain data: its paths are text, and it holds no open descriptor."""
    if not isinstance(value, MOUNTED):
        raise WrongType(f"expected {', '.join(kind.__name__ for kind in MOUNTED)} of containerkit.mounts, not {types.said(value)}")
    part: Any = value
    found: dict[str, Any] = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, mounts.Bind) and not isinstance(value.idmap, bool | None):
        raise WrongType(f"idmap of a spec is True, or not given: {types.said(value.idmap)} is open in this process alone")
    plain = {name: checks.word(item) for name, item in found.items() if isinstance(item, bytes | os.PathLike)}
    plain |= {"options": checks.words(found["options"])} if "options" in found else {}
    return replace(part, **{name: item for name, item in plain.items() if item != found[name] or type(item) is not type(found[name])})


def _argv(value: Any) -> tuple[str, ...]:
    if isinstance(value, str | bytes):
        raise WrongType(f"it wants a list of words, not one string: did you mean {value.split()!r}?")
    return checks.words(value)  # type: ignore[no-any-return]


def _user(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        raise WrongType(f"expected text, not the number {value}: did you mean {str(value)!r}?")
    return checks.text(value)


def _ranges(kind: str) -> checks.Check:
    def check(value: Any) -> tuple[ids.Range, ...]:
        found = [tuple(types.number(number, "an id") for number in types.listed(each, "a range", "three numbers"))
                 for each in types.listed(value, "it", "ranges")]  # fmt: skip
        ids.check(kind, found)  # type: ignore[arg-type]
        return tuple(found)  # type: ignore[arg-type]

    return check


def _hostname(value: Any) -> str:
    found = checks.word(value)
    ns.Uts(found)  # refuses an invalid host name
    return found


def _umask(value: Any) -> int:
    if not 0 <= types.number(value, "it") <= 0o777:
        raise PlanError(f"not a mask of permissions: {value:#o}")
    return int(value)


def _mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise WrongType(f"expected a mapping of limits to values, not {types.said(value)}")
    return value


def _limits(value: Any) -> FrozenDict[str, Any]:
    found: FrozenDict[str, Any] = checks.data(_mapping(value))
    if found:
        from ..cgroup.limits import check_names

        check_names(found)
    return found


def _stop_signal(value: Any) -> int:
    return signal_number(value if isinstance(value, str) else str(types.number(value, "it")))


def _stop_timeout(value: Any) -> float | None:
    found = types.seconds(value, "it")
    if found is not None and found < 0:
        raise PlanError(f"expected seconds, or None for ever, not {value}")
    return found


CHECKS: checks.Checks = {
    "argv": _argv, "env": checks.environment, "cwd": checks.optional(checks.path),
    "image": checks.text, "rootfs": checks.paths_outside, "read_only": checks.flag,
    "user": checks.optional(_user), "groups": lambda value: Credentials(0, 0, value).groups, "set_home": checks.flag,
    "ids": checks.one_of("own", "single", "subids", "host"), "uids": _ranges("uid"), "gids": _ranges("gid"),
    "namespaces": checks.one_of(kinds=(Namespaces,)), "hostname": checks.optional(_hostname),
    "mounts": checks.tuple_of(_mounted, "mounts"), "directories": checks.paths_inside,
    "name_files": checks.flag, "umask": checks.optional(_umask),
    "profile": checks.one_of(kinds=(Profile,)), "limits": _limits, "rlimits": checks.one_of(kinds=(Rlimits,)),
    "init": checks.flag, "terminal": checks.flag, "interactive": checks.flag,
    "stop_signal": _stop_signal, "stop_timeout": _stop_timeout,
    "labels": checks.mapping, "annotations": checks.mapping,
}  # fmt: skip
