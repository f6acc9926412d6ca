"""A spec as a JSON document, and back.

Text is a string.  Words of the kernel's that are not UTF-8 are ``{"base64": "..."}``, for JSON has no other way to say bytes.  A mount
says with "type" which it is.  The document has a version; one that is not known is refused, as is a field that is not known: it
might be isolation that somebody asked for.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

from ..errors import PlanError
from ..parts import mounts
from ..parts.rlimits import UNLIMITED, Rlimits
from ..parts.seccomp import Rule, Seccomp, Where
from . import _fields
from .errors import SpecError, refused
from .namespaces import Namespaces
from .profile import Profile

if TYPE_CHECKING:
    from .spec import ContainerSpec

VERSION = 1
NAMES = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of value is written, and read.

    :ivar write: from the value to what JSON has
    :ivar read: back, with the name of the field for errors
    """

    write: Callable[[Any], Any]
    read: Callable[[Any, str], Any]


def _wrong(where: str, wanted: str, value: Any) -> SpecError:
    return SpecError(where, f"expected {wanted}, found {NAMES.get(type(value), type(value).__name__)}")


def _want(value: Any, where: str, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise _wrong(where, " or ".join(NAMES[kind] for kind in kinds), value)
    return value


def _items(value: Any, where: str) -> list[Any]:
    return list(value) if isinstance(value, tuple) else list(_want(value, where, list))


def _plain(*kinds: type) -> Kind:
    return Kind(lambda value: value, lambda value, where: _want(value, where, *kinds))


def _write_word(word: str) -> Any:
    try:
        word.encode()
    except UnicodeEncodeError:
        return {"base64": base64.b64encode(os.fsencode(word)).decode()}
    return word


def _read_word(value: Any, where: str) -> str:
    if isinstance(value, Mapping):
        if set(value) != {"base64"}:
            raise SpecError(where, 'expected text, or {"base64": "..."} for bytes that are not UTF-8')
        try:
            return os.fsdecode(base64.b64decode(_want(value["base64"], f"{where}.base64", str), validate=True))
        except ValueError as error:
            raise SpecError(f"{where}.base64", str(error)) from None
    found: str = _want(value, where, str)
    return found


def _or_null(kind: Kind) -> Kind:
    return Kind(
        lambda value: None if value is None else kind.write(value), lambda value, where: None if value is None else kind.read(value, where)
    )


def _list(kind: Kind, made: Callable[[list[Any]], Any] = tuple, order: Callable[[Any], Any] = list) -> Kind:
    def read(value: Any, where: str) -> Any:
        return made([kind.read(item, f"{where}[{index}]") for index, item in enumerate(_items(value, where))])

    return Kind(lambda value: [kind.write(item) for item in order(value)], read)


def _object(cls: type, **kinds: Kind) -> Kind:
    def write(value: Any) -> Any:
        return {name: kind.write(getattr(value, name)) for name, kind in kinds.items()}

    def read(value: Any, where: str) -> Any:
        given = _given(value, where, kinds)
        for each in fields(cls):
            if each.name not in given and each.default is MISSING and each.default_factory is MISSING and each.init:
                raise SpecError(f"{where}.{each.name}", "missing")
        try:
            return cls(**given)
        except SpecError as error:
            raise refused(where, error) from None
        except (PlanError, UnicodeError) as error:
            raise SpecError(where, str(error)) from None

    return Kind(write, read)


def _given(value: Any, where: str, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The fields that are there, read."""
    if not isinstance(value, Mapping):
        raise _wrong(where, "an object", value)
    before = f"{where}." if where else ""
    for name in value:
        if name not in kinds:
            error = _fields.unknown(str(name), kinds)
            raise refused(where, error) if where else error
    return {name: kinds[name].read(item, f"{before}{name}") for name, item in value.items()}


def _one_of(**kinds: tuple[type, Kind]) -> Kind:
    """Objects that say with "type" which they are."""
    names = {cls: name for name, (cls, _) in kinds.items()}

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise _wrong(where, "an object", value)
        name = _want(value.get("type"), f"{where}.type", str)
        if name not in kinds:
            raise SpecError(f"{where}.type", f"expected {', '.join(kinds)}, found {name!r}")
        return kinds[name][1].read({key: item for key, item in value.items() if key != "type"}, where)

    return Kind(lambda value: {"type": names[type(value)], **kinds[names[type(value)]][1].write(value)}, read)


def _write_env(env: Mapping[str, str]) -> list[Any]:
    return [_write_word(f"{name}={value}") for name, value in env.items()]


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
        raise _wrong(where, "an object", value)
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


FLAG, NUMBER, TEXT = _plain(bool), _plain(int), _plain(str)
SIZE = Kind(lambda value: value, lambda value, where: _want(value, where, int, str))
DATA = Kind(_write_data, lambda value, where: value if isinstance(value, Mapping) else _want(value, where, dict))
WORD = Kind(_write_word, _read_word)
WORDS, OPTIONS = _list(WORD), {"options": _list(WORD)}
TARGET = {"target": WORD}
MOUNT = _one_of(
    bind=(mounts.Bind, _object(mounts.Bind, source=WORD, target=_or_null(WORD), readonly=FLAG, recursive=FLAG, **OPTIONS,
                               directory=_or_null(FLAG), idmap=_or_null(FLAG))),
    tmpfs=(mounts.Tmpfs, _object(mounts.Tmpfs, **TARGET, size=_or_null(SIZE), mode=NUMBER, **OPTIONS)),
    dev=(mounts.Dev, _object(mounts.Dev, shm_size=SIZE, mknod=FLAG, hosts=_or_null(FLAG))),
    sysfs=(mounts.Sysfs, _object(mounts.Sysfs, **TARGET, readonly=FLAG)),
    proc=(mounts.Proc, _object(mounts.Proc, **TARGET, hidepid=_or_null(TEXT))),
    mqueue=(mounts.Mqueue, _object(mounts.Mqueue, **TARGET)),
    devpts=(mounts.Devpts, _object(mounts.Devpts, **TARGET, gid=_or_null(NUMBER))),
)  # fmt: skip
RANGES = _list(_list(NUMBER))
NAMESPACES = _object(Namespaces, **dict.fromkeys(("user", "pid", "net", "ipc", "uts", "cgroup"), WORD))
WHERE = _object(Where, index=NUMBER, value=NUMBER, mask=NUMBER)
SECCOMP = _object(Seccomp, rules=_list(_object(Rule, name=TEXT, where=_list(WHERE), action=TEXT)), otherwise=TEXT, early=FLAG)
PROFILE = _object(
    Profile, masked=WORDS, readonly=WORDS, capabilities=_or_null(_list(TEXT, frozenset, sorted)),
    seccomp=Kind(lambda value: value if value is None or isinstance(value, str) else SECCOMP.write(value), _read_seccomp),
    no_new_privileges=FLAG,
)  # fmt: skip
RLIMITS = Kind(lambda value: {name: [_write_limit(soft), _write_limit(hard)] for name, soft, hard in value.limits}, _read_rlimits)

KINDS: dict[str, Kind] = {
    "argv": WORDS, "env": Kind(_write_env, _read_env), "cwd": _or_null(WORD),
    "image": TEXT, "rootfs": WORDS, "read_only": FLAG,
    "user": _or_null(TEXT), "groups": _list(NUMBER), "set_home": FLAG, "ids": TEXT, "uids": RANGES, "gids": RANGES,
    "namespaces": NAMESPACES, "hostname": _or_null(WORD), "mounts": _list(MOUNT), "directories": WORDS, "name_files": FLAG,
    "umask": _or_null(NUMBER), "profile": PROFILE, "limits": DATA, "rlimits": RLIMITS,
    "init": FLAG, "terminal": FLAG, "interactive": FLAG, "stop_signal": NUMBER, "stop_timeout": _or_null(_plain(int, float)),
    "labels": DATA, "annotations": DATA,
}  # fmt: skip


def write(spec: ContainerSpec) -> dict[str, Any]:
    """A spec as plain values."""
    return {"version": VERSION, **{name: kind.write(getattr(spec, name)) for name, kind in KINDS.items()}}


def read(cls: type[ContainerSpec], document: Any) -> ContainerSpec:
    """A spec from plain values.  :raises SpecError: they are none; the error names the field"""
    if not isinstance(document, Mapping):
        raise _wrong("document", "an object", document)
    version = document.get("version")
    if type(version) is not int or version != VERSION:
        raise SpecError("version", f"expected {VERSION}, found {version!r}: another version of containerkit wrote this document")
    return cls(**_given({name: item for name, item in document.items() if name != "version"}, "", KINDS))
