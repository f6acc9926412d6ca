"""The parser directives: comments at the top of the file that set how the rest is read.

:see: https://docs.docker.com/reference/dockerfile/#parser-directives
"""

from __future__ import annotations

from ..base import late
from ._lines import Reader
from ._spaces import SPACES

__all__ = ["directives"]

KNOWN = ("syntax", "escape", "check")
_NAME = late.pattern(r"[a-zA-Z][a-zA-Z0-9]*")


def directives(reader: Reader) -> dict[str, str]:
    """Read the directives at the top.  `escape` takes effect in the reader.

    :raises DockerfileError: a directive appears twice, or escape is neither a backslash nor a backtick
    """
    said: dict[str, str] = {}
    for number, line in enumerate(reader.lines, 1):
        text = line.strip(SPACES)
        name, equals, value = text[1:].partition("=")
        name, value = name.strip(SPACES).lower(), value.strip(SPACES)
        if not text.startswith("#") or not equals or not value or not _NAME.fullmatch(name) or name not in KNOWN:
            break
        if name in said:
            raise reader.where(number, line.index("#") + 1).error(f"the directive {name} appears twice")
        if name == "escape" and value not in ("\\", "`"):
            raise reader.where(number, line.index("=") + 2).error(f"the escape is \\ or `, not {value[:80]!r}")
        if "\0" in value or not value.isprintable():
            raise reader.where(number, line.index("=") + 2).error("the value of a directive is text")
        said[name] = value
    reader.escape = said.get("escape", "\\")
    return said
