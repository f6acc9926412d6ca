"""Modules of the standard library that take long to load, loaded when one of them is first named.

    except late.subprocess.TimeoutExpired:       looked at when an error comes this way, and not before
        ...

Elsewhere an import inside the function that needs it does the same.  It cannot where a name stands in an `except` clause.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess as subprocess
else:

    def __getattr__(name):
        if name != "subprocess":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, __import__(name))
