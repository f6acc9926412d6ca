"""A step: one system call with a reason.  A part: anything that has steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, IntEnum

from ..base.frozen import fields, frozen
from ..base.protocols import Protocol, runtime_checkable
from ..linux.syscalls import Call, Slot, Tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

Hint = str | Mapping[int, str]


class Side(Enum):
    """The process that makes the call."""

    PARENT = "parent"
    CHILD = "child"


class Phase(IntEnum):
    """The phases of a plan, in their order.  Inside a phase the caller's order holds."""

    PREPARE = 0
    """The parent makes what the child will need.  First, because a failure here has touched nothing yet."""
    CLONE = 1
    """The process and its new namespaces come to be, in one call, so that it never runs outside them."""
    IDENTITY = 2
    """The child's identity: joined namespaces and id maps.  Before any mount, which needs the capabilities they give."""
    ROOTFS = 3
    """The new root is mounted.  Before the mounts that go into it."""
    MOUNTS = 4
    """Everything below the new root.  Before the pivot: a new proc needs one that is still visible, and binds need the host."""
    PIVOT = 5
    """The new root becomes `/` and the old one goes.  Before anything that trusts a path."""
    INSIDE = 6
    """Set-up that belongs to the inside: host name, working directory.  Before privileges go, because it needs them."""
    DROP = 7
    """Privileges are given up.  Last before the program, for nothing after it may need them."""
    EXEC = 8
    """The program takes over."""


@frozen
class Place:
    """A file or directory that a mount, or the program, needs in the root.

    :ivar path: the path from the root, without a slash before it
    :ivar directory: whether it is a directory; else it is a file
    :ivar mount: whether a mount goes there
    """

    path: str
    directory: bool = True
    mount: bool = False


@frozen(slots=False)
class Step:
    """One system call with a reason.  Make it with `Step.child` or `Step.parent`.

    A step holds only the attributes that were given; the others are the defaults of the class.  So making one, and making one that
    differs a little, copies a small dictionary.

    :ivar call: the system call, with its arguments
    :ivar why: the reason, as a sentence for readers of the plan
    :ivar hint: what a failure usually means here: one text, or one for each error number
    :ivar part: the part that asked for it
    :ivar save: keeps the result under this name for later steps
    :ivar at_least: a smaller result is a failure
    :ivar at_most: a greater result ends this process's part of the plan in silence
    :ivar tolerates: error numbers that are no failure here
    :ivar undo: the call that undoes the step, made by the parent when the process's context ends, or, if this process was
        killed, by the next one: it removes a name or a directory (unlinkat, unlink, rmdir), unmounts (umount2) or closes
    :ivar claims: the thing that this step takes for itself: two steps that claim the same thing contradict each other
    :ivar needs: claims that some step of the plan must make
    :ivar only_with: keep this step only when the plan has this claim; or, as "%ids", when another step uses the result of that name
    :ivar unless: leave this step out when the plan has this claim
    :ivar helper: "join": the child must be an image of its own before it gets here, "init": from here on, as pid 1
    :ivar joins: this step enters a namespace that exists already: its CLONE flag
    :ivar order: inside the phase lower comes first: a mount before those below it
    :ivar place: this step is the first of those that make this file or directory in the root
    :ivar mounted: this step attaches its mount at this path, from the root, without a slash before it
    """

    call: Call | Tool
    phase: Phase
    side: Side
    why: str
    hint: Hint = ""
    part: str = ""
    save: Slot | None = None
    at_least: int = 0
    at_most: int | None = None
    tolerates: frozenset[int] = frozenset()
    undo: Call | None = None
    claims: str = ""
    needs: frozenset[str] = frozenset()
    only_with: str = ""
    unless: str = ""
    helper: Literal["", "join", "init"] = ""
    joins: int = 0
    order: int = 0
    place: Place | None = None
    mounted: str = ""

    @classmethod
    def child(cls, phase: Phase, call: Call, *, why: str, **more: Any) -> Step:
        """Return a step the child makes."""
        return _made(cls, {"call": call, "phase": phase, "side": Side.CHILD, "why": why}, more)

    @classmethod
    def parent(cls, phase: Phase, call: Call | Tool, *, why: str, **more: Any) -> Step:
        """Return a step the parent makes.  :raises PlanError: another process could not make its undo"""
        return _made(cls, {"call": call, "phase": phase, "side": Side.PARENT, "why": why}, more)

    @property
    def man(self) -> str:
        """The man page of the call."""
        return self.call.man

    def hint_for(self, errno: int) -> str:
        """Return what the error `errno` usually means at this step, or ""."""
        return self.hint if isinstance(self.hint, str) else self.hint.get(errno, "")

    def with_(self, **changes: Any) -> Step:
        """Return the same step, changed."""
        return _made(Step, self.__dict__, changes)

    def __str__(self) -> str:
        return str(self.call) + (f" -> {self.save}" if self.save else "")


_NAMES = frozenset(field.name for field in fields(Step))
_SETS = ("tolerates", "needs")


def _made(cls: type[Step], known: dict[str, Any], changes: dict[str, Any]) -> Step:
    """Return a step with these attributes and the changes.  :raises TypeError: an attribute is unknown; :raises PlanError: see `parent`"""
    made = object.__new__(cls)
    attributes = made.__dict__
    attributes.update(known)
    if changes:
        if not changes.keys() <= _NAMES:
            raise TypeError(f"a step has no {min(changes.keys() - _NAMES)}")
        attributes.update(changes)
        for name in _SETS:
            if name in changes:
                attributes[name] = frozenset(changes[name])
        if changes.get("undo"):
            from ..state.undo import check

            check(changes["undo"])
    return made


class Joined(Sequence[Step]):
    """Steps, and others after them: two tuples that are not copied.  Hundreds of steps may be in the first."""

    __slots__ = ("first", "last")

    def __init__(self, first: tuple[Step, ...], last: tuple[Step, ...]) -> None:
        self.first, self.last = first, last

    def __len__(self) -> int:
        return len(self.first) + len(self.last)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and 0 <= index < len(self.first):
            return self.first[index]
        return (self.first + self.last)[index]

    def __iter__(self) -> Iterator[Step]:
        return itertools.chain(self.first, self.last)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Joined | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(len(self))


@runtime_checkable
class Part(Protocol):
    """Anything that has steps.  A part is a value: making one touches nothing.

    >>> class Nice:
    ...     def steps(self):
    ...         yield Step.child(Phase.DROP, syscalls.setpriority(0, 0, 10), why="give way to others")
    """

    def steps(self) -> Iterable[Step]:
        """Return the steps that this part adds to a plan."""


@runtime_checkable
class Composite(Protocol):
    """A part made of parts, as a plan is."""

    def leaves(self) -> Iterable[tuple[Part, Sequence[Step]]]:
        """Return the parts that are made of no others, each with its steps; a `RootPart` without."""


@runtime_checkable
class RootPart(Protocol):
    """A part that makes the root, and can look into it beforehand."""

    def root_steps(self, places: Sequence[Place]) -> Iterable[Step]:
        """Return the steps of a root that has these places, or in which they can be made.

        :param places: the files and directories that the other parts of the plan need
        """
