"""Load on first use: the public names of a package, modules of the
standard library that take long to load, and regular expressions.

    __getattr__ = late.names(__name__, {"plan": "Plan plan", ...})      in a package's __init__: a name's module waits for the name

    except late.subprocess.TimeoutExpired:                              looked at when an error comes this way, and not before
        ...

    NAME = late.pattern(r"[a-z]+")                                      a regular expression, compiled when it is first used

Elsewhere an import inside the function that needs it does the same.  It cannot where a name stands in an `except` clause.
:see: https://peps.python.org/pep-0562/
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # a checker takes it for True; `typing` itself takes a while to load
if TYPE_CHECKING:
    import re
    import subprocess as subprocess
    from collections.abc import Callable, Mapping
    from typing import Any, AnyStr
else:

    def __getattr__(name):
        if name != "subprocess":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, __import__(name))


def names(package: str, table: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that loads a name's module when the name is first used.

    From then on the name is an attribute like any other.  Threads may come at once: the import system lets one of them load the
    module, and all of them find the same object.

    :param table: a module of the package, as "core.plan": the names that it defines, or that are modules in it; "": the package's own
        modules
    """
    homes = {name: module for module, words in table.items() for name in words.split()}

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if not homes[name]:
            return __import__(f"{package}.{name}", fromlist=("",))
        home = __import__(f"{package}.{homes[name]}", fromlist=(name,))  # as in `from package.module import name`
        return vars(sys.modules[package]).setdefault(name, getattr(home, name))

    return __getattr__


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a regular expression, compiled when it is first used: compiling takes 0.2 ms each, and a command needs few of a module's."""
    made: Any = _Pattern(text, flags)
    return made  # type: ignore[no-any-return]


class _Pattern:
    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        import re

        compiled: Any = re.compile(self._text, self._flags)
        found = self.__dict__[name] = getattr(compiled, name)  # and from now on it is found here
        return found
