"""The options of RUN --mount=, from text to a mount and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..base.frozen import fields
from ._flags import suggestion
from ._values import number, size, truth
from .expansion import Expansion
from .mounts import Bind, Cache, Mount, Secret, Ssh, Tmpfs, Unexpanded
from .words import Where, Word

__all__ = ["expanded", "mount", "options"]

TYPES: dict[str, type[Mount]] = {kind.type: kind for kind in (Bind, Cache, Tmpfs, Secret, Ssh)}
SAME = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite", "from": "from_"}
SHARING = ("shared", "private", "locked")
NEVER_WRITTEN = (Tmpfs, Secret, Ssh)  # docker takes readonly here, without effect


def _sharing(text: str) -> str:
    if text.lower() not in SHARING:
        raise ValueError(f"{text[:80]!r} is not a way of sharing: {', '.join(SHARING)}{suggestion(text, SHARING)}")
    return text.lower()


def _octal(text: str) -> int:
    return number(text, base=8)


MAKE: dict[str, Callable[[str], object]] = {
    "readonly": truth, "readwrite": truth, "required": truth, "uid": number, "gid": number, "mode": _octal, "size": size,
    "sharing": _sharing,
}  # fmt: skip


def mount(text: Word, expansion: Expansion) -> Mount:
    """Return the mount for options as written.  A mount with variables, quotes or escapes is returned `Unexpanded`.

    :raises DockerfileError: an option is unknown, wrong, or missing
    """
    if not any(letter in text for letter in ("$", "'", '"', expansion.escape)):
        return _mount(dict(_options(text)), text.where)
    from_ = dict(_options(text)).get("from_") or ""
    if "$" in from_:
        raise text.where.error("from= takes no variables: name a stage with FROM ... AS, and give that name")
    waiting = Unexpanded(text=text, from_=from_, where=text.where)
    if "$" not in text:
        expanded(waiting, expansion)
    return waiting


def expanded(waiting: Unexpanded, expansion: Expansion) -> Mount:
    """Return the mount with the values of variables.

    :raises DockerfileError: as `mount`
    """
    if expansion.open(waiting.text):
        return waiting
    written = _options(Word(waiting.text, waiting.where))
    given: dict[str, str | None] = {name: value and expansion.word(Word(value, waiting.where)) for name, value in written}
    return _mount(given, waiting.where)


def options(mount: Mount) -> str:
    """Return a mount's options as text: the type first, then every option that differs from its default."""
    if isinstance(mount, Unexpanded):
        return mount.text
    said = [f"type={mount.type}"]
    for each in fields(mount):
        value = getattr(mount, each.name)
        if each.name != "where" and value != each.default:
            shown = f"{value:o}" if each.name == "mode" else str(value).lower() if isinstance(value, bool) else value
            said.append(f"{each.name.rstrip('_')}={shown}")
    return ",".join(said)


def _options(text: Word) -> Iterator[tuple[str, str | None]]:
    """Yield full names and values; the value is None if there is no =."""
    for field in _fields(text):
        name, equals, value = field.partition("=")
        yield SAME.get(name.lower(), name.lower()), value if equals else None


def _fields(text: Word) -> Iterator[str]:
    """Yield the fields between commas.  A field in double quotes may contain commas, as in every CSV."""
    position = 0
    while position <= len(text):
        if text.startswith('"', position):
            field, position = _quoted(text, position + 1)
        else:
            end = text.find(",", position)
            field, position = text[position : end if end >= 0 else len(text)], (end if end >= 0 else len(text)) + 1
            if '"' in field:
                raise text.where.error('a " inside an option: an option that needs quotes begins and ends with them')
        yield field


def _quoted(text: Word, position: int) -> tuple[str, int]:
    letters = []
    while (end := text.find('"', position)) >= 0:
        letters.append(text[position:end])
        if text[end + 1 : end + 2] in ("", ","):
            return "".join(letters), end + 2
        if text[end + 1] != '"':
            break
        letters.append('"')
        position = end + 2
    raise text.where.error('a double quote is not closed: " and a comma were expected')


def _mount(given: dict[str, str | None], where: Where) -> Mount:
    kind = (given.pop("type", None) or "bind").lower()
    if kind not in TYPES:
        raise where.error(f"there is no mount of type {kind[:80]!r}{suggestion(kind, TYPES)}: {', '.join(TYPES)}")
    try:
        values = {name: _value(name, value, kind) for name, value in given.items()}
    except ValueError as error:
        raise where.error(str(error)) from None
    values = _access(values, TYPES[kind])
    values = _source_of_secret(values, where) if kind == "secret" else values
    _complete(kind, values, where)
    return TYPES[kind](**values, where=where)


def _value(name: str, value: str | None, kind: str) -> Any:
    known = {each.name for each in fields(TYPES[kind])} - {"where"} | {"readonly", "readwrite"}
    known |= {"source"} if kind == "secret" else set()
    known -= {"from_"} if kind not in ("bind", "cache") else set()
    if name not in known:
        names = sorted(each.rstrip("_") for each in known)
        raise ValueError(f"a {kind} mount has no option {name[:80]!r}{suggestion(name, names)}; it has {', '.join(names)}")
    if value is None and name not in ("readonly", "readwrite", "required"):
        raise ValueError(f"{name} has no value: {name}=... was expected")
    if value is None:
        return True
    try:
        return MAKE.get(name, str)(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _access(values: dict[str, Any], kind: type[Mount]) -> dict[str, Any]:
    """Replace `readwrite` by `readonly`; drop both where docker ignores them."""
    if "readwrite" in values:
        values["readonly"] = not values.pop("readwrite")
    if kind in NEVER_WRITTEN:
        values.pop("readonly", None)
    return values


def _source_of_secret(values: dict[str, Any], where: Where) -> dict[str, Any]:
    """Rename a secret's source to id: docker takes either word."""
    if "source" in values and "id" in values:
        raise where.error("a secret has both source= and id=, which are the same option: one of them was expected")
    if "source" in values:
        values["id"] = values.pop("source")
    if not values.get("id") and not values.get("target"):
        raise where.error("a secret mount needs id= or target=")
    return values


def _complete(kind: str, values: dict[str, Any], where: Where) -> None:
    if kind in ("bind", "cache", "tmpfs") and not values.get("target"):
        raise where.error(f"a {kind} mount needs target=")
