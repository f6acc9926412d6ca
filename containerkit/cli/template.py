r"""The part of Go's templates that users of docker commonly need:

    {{.Field}}  {{.Field.Inner}}  {{json .}}  {{json .Field}}  {{index .Field 0}}  {{index .Field "key"}}

and text between them, in which `\t` and `\n` are a tab and a line's end.  Anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from ..base import late
from ..errors import ContainerKitError
from ..image.picture import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Values = Mapping[str, Any]

__all__ = ["BadTemplate", "Template", "fields"]

ACTION = late.pattern(r"\{\{(.*?)\}\}", re.DOTALL)
PATH = r"\.(?:\w+(?:\.\w+)*)?"
PLAIN, AS_JSON = re.compile(rf"\s*({PATH})\s*", re.ASCII), re.compile(rf"\s*json\s+({PATH})\s*", re.ASCII)
INDEX = late.pattern(rf'\s*index\s+({PATH})\s+(?:(\d+)|"([^"]*)")\s*', re.ASCII)
KNOWN = "{{.Field}}, {{json .Field}}, {{index .Field 0}}"


class BadTemplate(ContainerKitError):
    """A template outside of the supported part, or one with an unknown field."""


class Template:
    """One template, to be filled in for each row.

    :raises BadTemplate: the text is outside of the supported part
    """

    def __init__(self, text: str) -> None:
        text = text.replace("\\t", "\t").replace("\\n", "\n")
        words = ACTION.split(text)
        if any("{{" in word or "}}" in word for word in words[::2]):
            raise BadTemplate(f"--format {text!r}: an action is not closed")
        self._parts: list[str | Callable[[Values], str]] = [_action(w) if i % 2 else w for i, w in enumerate(words)]

    def fill(self, values: Values) -> str:
        """Return the text for these values.  :raises BadTemplate: the values lack a field"""
        return "".join(part if isinstance(part, str) else part(values) for part in self._parts)


def fields(text: str) -> list[str]:
    """List the fields that a template names, in order; the first one of each cell gives the heading."""
    return [match[1] for match in re.finditer(r"\{\{[^}]*?\.(\w+)", text)]


def _action(text: str) -> Callable[[Values], str]:
    if match := PLAIN.fullmatch(text):
        path = match[1]
        return lambda values: shown(_look(values, path))
    if match := AS_JSON.fullmatch(text):
        import json

        path = match[1]
        return lambda values: json.dumps(_look(values, path), separators=(",", ":"))
    if match := INDEX.fullmatch(text):
        path, key = match[1], int(match[2]) if match[2] else match[3]
        return lambda values: shown(_item(_look(values, path), path, key))
    raise BadTemplate(f"--format: {{{{{text}}}}} is not understood; the known forms are {KNOWN}")


def _look(values: Values, path: str) -> Any:
    found: Any = values
    for name in filter(None, path.split(".")):
        found = _item(found, path, name)
    return found


def _item(values: Any, path: str, name: str | int) -> Any:
    if isinstance(values, Mapping) and name in values:
        return values[name]
    if isinstance(values, Sequence) and isinstance(name, int) and name < len(values):
        return values[name]
    listed = f"{len(values)} items" if isinstance(values, list) else "nothing in it"
    there = ", ".join(map(str, values)) if isinstance(values, Mapping) else listed
    raise BadTemplate(f"--format: {path} has no {name!r}; the fields are: {there}")


def shown(value: Any) -> str:
    """Format a value as Go prints it, with control characters replaced."""
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{name}:{shown(each)}' for name, each in sorted(value.items()))}]"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{' '.join(map(shown, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "<nil>", True: "true", False: "false"}[value]
    return printable(str(value))
