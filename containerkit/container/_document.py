"""A spec as a JSON document, and back.

Text is a string.  Bytes of the kernel's that are not UTF-8 are ``{"base64": "..."}``, for JSON has no other form for bytes.  A mount
says with "type" which it is.  The document has a version; one that is not known is refused, as is a field that is not known: it
might be isolation that the caller asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import PlanError
from ..parts import mounts
from ..parts.rlimits import UNLIMITED, Rlimits
from ..parts.seccomp import Rule, Seccomp, Where
from ._kinds import WORD, Kind, given, list_of, object_of, one_of, or_null, plain, want, wrong
from .errors import SpecError
from .namespaces import Namespaces
from .profile import Profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .spec import ContainerSpec

VERSION = 1


def _write_env(env: Mapping[str, str]) -> list[Any]:
    return [WORD.write(f"{name}={value}") for name, value in env.items()]


def _read_env(value: Any, where: str) -> dict[str, str]:
    found = {}
    for index, word in enumerate(WORDS.read(value, where)):
        name, equals, text = word.partition("=")
        if not equals or name in found:
            raise SpecError(f"{where}[{index}]", f"{name!r} is there twice" if equals else "expected NAME=value")
        found[name] = text
    return found


def _write_limit(value: Any) -> Any:
    return "unlimited" if value == UNLIMITED else value


def _read_rlimits(value: Any, where: str) -> Rlimits:
    if not isinstance(value, Mapping):
        raise wrong(where, "an object", value)
    for name, pair in value.items():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise SpecError(f"{where}.{name}", 'expected [soft, hard], each a number or "unlimited"')
    try:
        return Rlimits(**{name: tuple(pair) for name, pair in value.items()})
    except PlanError as error:
        raise SpecError(where, str(error)) from None


def _write_data(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _write_data(item) for name, item in value.items()}
    return [_write_data(item) for item in value] if isinstance(value, list | tuple) else value


def _read_seccomp(value: Any, where: str) -> Any:
    return value if value is None or isinstance(value, str) else SECCOMP.read(value, where)


FLAG, NUMBER, TEXT = plain(bool), plain(int), plain(str)
SIZE = Kind(lambda value: value, lambda value, where: want(value, where, int, str))
DATA = Kind(_write_data, lambda value, where: value if isinstance(value, Mapping) else want(value, where, dict))
WORDS, OPTIONS = list_of(WORD), {"options": list_of(WORD)}
TARGET = {"target": WORD}
MOUNT = one_of(
    bind=(mounts.Bind, object_of(mounts.Bind, "source", source=WORD, target=or_null(WORD), readonly=FLAG, recursive=FLAG, **OPTIONS,
                               directory=or_null(FLAG), idmap=or_null(FLAG))),
    tmpfs=(mounts.Tmpfs, object_of(mounts.Tmpfs, "target", **TARGET, size=or_null(SIZE), mode=NUMBER, **OPTIONS)),
    dev=(mounts.Dev, object_of(mounts.Dev, shm_size=SIZE, mknod=FLAG, hosts=or_null(FLAG))),
    sysfs=(mounts.Sysfs, object_of(mounts.Sysfs, **TARGET, readonly=FLAG)),
    proc=(mounts.Proc, object_of(mounts.Proc, **TARGET, hidepid=or_null(TEXT))),
    mqueue=(mounts.Mqueue, object_of(mounts.Mqueue, **TARGET)),
    devpts=(mounts.Devpts, object_of(mounts.Devpts, **TARGET, gid=or_null(NUMBER))),
)  # fmt: skip
RANGES = list_of(list_of(NUMBER))
NAMESPACES = object_of(Namespaces, **dict.fromkeys(("user", "pid", "net", "ipc", "uts", "cgroup"), WORD))
WHERE = object_of(Where, "index value", index=NUMBER, value=NUMBER, mask=NUMBER)
SECCOMP = object_of(
    Seccomp, "rules", rules=list_of(object_of(Rule, "name", name=TEXT, where=list_of(WHERE), action=TEXT)), otherwise=TEXT, early=FLAG
)
PROFILE = object_of(
    Profile, masked=WORDS, readonly=WORDS, capabilities=or_null(list_of(TEXT, frozenset, sorted)),
    seccomp=Kind(lambda value: value if value is None or isinstance(value, str) else SECCOMP.write(value), _read_seccomp),
    no_new_privileges=FLAG,
)  # fmt: skip
RLIMITS = Kind(lambda value: {name: [_write_limit(soft), _write_limit(hard)] for name, soft, hard in value.limits}, _read_rlimits)

KINDS: dict[str, Kind] = {
    "argv": WORDS, "env": Kind(_write_env, _read_env), "cwd": or_null(WORD),
    "image": TEXT, "rootfs": WORDS, "read_only": FLAG,
    "user": or_null(TEXT), "groups": list_of(NUMBER), "set_home": FLAG, "ids": TEXT, "uids": RANGES, "gids": RANGES,
    "namespaces": NAMESPACES, "hostname": or_null(WORD), "mounts": list_of(MOUNT), "directories": WORDS, "name_files": FLAG,
    "umask": or_null(NUMBER), "profile": PROFILE, "limits": DATA, "rlimits": RLIMITS,
    "init": FLAG, "terminal": FLAG, "interactive": FLAG, "stop_signal": NUMBER, "stop_timeout": or_null(plain(int, float)),
    "labels": DATA, "annotations": DATA,
}  # fmt: skip


def write(spec: ContainerSpec) -> dict[str, Any]:
    """Return a spec as plain values."""
    return {"version": VERSION, **{name: kind.write(getattr(spec, name)) for name, kind in KINDS.items()}}


def read(cls: type[ContainerSpec], document: Any) -> ContainerSpec:
    """Return a spec from plain values.  :raises SpecError: they are none; the error names the field"""
    if not isinstance(document, Mapping):
        raise wrong("document", "an object", document)
    version = document.get("version")
    if type(version) is not int or version != VERSION:
        raise SpecError("version", f"expected {VERSION}, found {version!r}: another version of containerkit wrote this document")
    return cls(**given({name: item for name, item in document.items() if name != "version"}, "", KINDS))
