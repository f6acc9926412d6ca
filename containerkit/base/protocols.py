"""`Protocol` and `Generic` without `typing`, which takes a fifth of the time that Python itself takes to start.

A type checker sees `typing.Protocol`.  When the program runs, ``isinstance`` and ``issubclass`` ask whether the methods of the protocol
are there, for every protocol and not only for those that are marked as `runtime_checkable`.

:see: https://peps.python.org/pep-0544/
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic as Generic
    from typing import Protocol as Protocol
    from typing import overload as overload
    from typing import runtime_checkable as runtime_checkable
else:

    class Generic:
        """Base of a class of which a checker knows what its objects hold."""

        __slots__ = ()

        def __class_getitem__(cls, kinds):
            return cls

    class _Protocols(type):
        def __instancecheck__(cls, value):
            return super().__instancecheck__(value) or cls._is_met_by(value)

        def __subclasscheck__(cls, kind):
            return super().__subclasscheck__(kind) or cls._is_met_by(kind)

        def _is_met_by(cls, value):
            return Protocol in cls.__bases__ and all(hasattr(value, name) for name in cls.__protocol_attrs__)

    class Protocol(metaclass=_Protocols):
        """Base of a class that says what an object has to offer."""

        __slots__ = ()

        def __init_subclass__(cls, **options):
            super().__init_subclass__(**options)
            if Protocol in cls.__bases__:
                members = {*cls.__dict__, *cls.__annotations__}
                cls.__protocol_attrs__ = {name for name in members if not name.startswith("_") or name == "__call__"}

    def runtime_checkable(kind):
        """Mark a protocol for checkers, which let `isinstance` ask for such alone."""
        return kind

    def overload(function):
        """Mark one of several signatures for checkers.  The last definition of the name is the one that runs."""
        return function


__all__ = ["Generic", "Protocol", "overload", "runtime_checkable"]
