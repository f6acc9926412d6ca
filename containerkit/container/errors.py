"""Errors in a container's spec.

    PlanError
    └── SpecError                  a field has an impossible value; knows which field
        └── WrongFieldType         (also WrongType)  a value of a type that the field does not take

All of them are raised before anything is touched.
"""

from __future__ import annotations

from ..errors import PlanError, WrongType

__all__ = ["SpecError", "WrongFieldType"]


class SpecError(PlanError):
    """A field of a spec, or of its document, has an impossible value.  Raised before anything is touched.

    :ivar field: where in the spec the field is, as in ``namespaces.net`` or ``mounts[2]``
    """

    def __init__(self, field: str, text: str) -> None:
        self.field = field
        super().__init__(f"{field}: {text}")


class WrongFieldType(SpecError, WrongType):
    """A value of a type that the field does not take."""


def refused(field: str, error: Exception) -> SpecError:
    """Return the error of a field that a check refused.  An error that names something in the field, as an item of a list, still does."""
    if isinstance(error, SpecError):
        below = error.field if error.field.startswith("[") else f".{error.field}"
        return type(error)(field + below, str(error).removeprefix(f"{error.field}: "))
    return (WrongFieldType if isinstance(error, TypeError) else SpecError)(field, str(error))
