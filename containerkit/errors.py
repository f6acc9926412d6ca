"""All errors of the library, as one tree.

    ContainerKitError
    ├── PlanError      (also ValueError)   the plan contradicts itself; nothing was touched
    │   └── WrongType  (also TypeError)    an argument of a type that the call does not take
    ├── StepError      (also OSError)      a system call of the plan failed; knows which, why and what it means
    │   └── StepRefused  (PermissionError)  one that the kernel does not allow this user: EPERM or EACCES
    ├── Unavailable                        this machine cannot do it; says what was probed and what would help
    ├── Failed                             a program run with check=True did not exit with 0
    ├── LayerError     (also OSError)      a layer is not in the state the call needs
    ├── CgroupError    (also OSError)      the kernel refuses something to a control group
    ├── ImageError                         an image is not what it says it is; its kinds are drawn in image/errors.py
    ├── RegistryError                      a registry refuses, fails, or lies; its kinds are drawn in registry/errors.py
    └── BuildError                         an image cannot be built
        └── DockerfileError (ValueError)   a Dockerfile cannot be read; knows the line and the column

Catch `ContainerKitError` to catch everything the library raises on purpose.  `StepError`, `StepRefused` and `Failed`, which know
a step or a result, are made where those are: in core/errors.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = [
    "BuildError", "CgroupError", "ContainerKitError", "DockerfileError", "ImageError", "LayerError", "PlanError", "RegistryError",
    "Unavailable", "WrongType",
]  # fmt: skip


class Crossing(BaseException):
    """Base of an error that crosses to another process, by pickle, with its text and its attributes."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Made again from `args` and attributes, not by calling the class, whose signature is its own."""
        made = super().__reduce__()
        assert isinstance(made, tuple)
        return (_made_again, (type(self), made[1]), *made[2:])


def _made_again(kind: type[Crossing], args: tuple[Any, ...]) -> Crossing:
    error = kind.__new__(kind, *args)
    if isinstance(error, OSError):
        OSError.__init__(error, *args)  # sets errno and file name where `kind` has an __init__ of its own
    return error


class ContainerKitError(Crossing, Exception):
    """The root of every error this library raises on purpose.

    It crosses to another process with its text and its attributes, as `multiprocessing` and `concurrent.futures` want it.
    """


class PlanError(ContainerKitError, ValueError):
    """A plan, or a value meant for one, contradicts itself.  Raised before any system call."""


class WrongType(PlanError, TypeError):
    """An argument of a type that the call does not take.  Raised before anything is touched."""


class Unavailable(ContainerKitError):
    """This machine cannot do what was asked.

    :param what: the thing that is missing, as a noun phrase
    :param probed: what was tried to find out
    :param remedy: what would make it available
    """

    def __init__(self, what: str, *, probed: str = "", remedy: str = "") -> None:
        self.what, self.probed, self.remedy = what, probed, remedy
        lines = [f"not available here: {what}"]
        lines += [f"  probed: {probed}"] if probed else []
        lines += [f"  remedy: {remedy}"] if remedy else []
        super().__init__("\n".join(lines))


class LayerError(ContainerKitError, OSError):
    """A layer is closed, in use, or of another form than the call needs."""


class CgroupError(ContainerKitError, OSError):
    """The kernel refuses something to a control group, or the group is not in the state the call needs."""


class ImageError(ContainerKitError):
    """An image, or a part of one, is not what it says it is, or cannot be had."""


class RegistryError(ContainerKitError):
    """A registry refuses, fails, cannot be reached, or does not keep to the specification.

    :ivar spent: it was tried again until the retries were over, so that no caller does it once more
    """

    spent = False


class BuildError(ContainerKitError):
    """An image cannot be built: a step failed, or what it needs is not there.  Nothing was named."""


class DockerfileError(BuildError, ValueError):
    """A Dockerfile cannot be read.  Raised before anything is built.

    :param text: what is wrong, and what was expected
    :ivar name: of the file
    :ivar line: where, from 1
    :ivar column: where in the line, from 1, in characters
    :ivar source: the line itself
    """

    def __init__(self, text: str, *, name: str = "Dockerfile", line: int = 1, column: int = 1, source: str = "") -> None:
        self.text, self.name, self.line, self.column, self.source = text, name, line, column, source
        shown = source.expandtabs(1)
        picture = f"\n  {line} | {shown}\n  {' ' * len(str(line))} | {' ' * (column - 1)}^" if source else ""
        super().__init__(f"{name}:{line}:{column}: {text}{picture}")
