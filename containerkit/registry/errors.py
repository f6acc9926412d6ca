"""What can be wrong with a registry, drawn once.

RegistryError
├── NotFound          (also Missing)       no such repository, manifest, tag or blob
├── Unauthorized                           it wants a name and a password, or another one
├── Denied                                 it knows who asks, and says no
├── TooManyRequests                        it says to come back later; has `after`
├── Refused                                it does not do that, or not with these words
├── ServerError                            it failed, or it is not well
├── Unreachable       (also OSError)       no connection, one that was cut, or silence
│   ├── Absent                             nobody listens there, or there is no host of that name
│   ├── TooSlow       (also TimeoutError)  it answers, a byte now and then
│   └── Untrusted                          its certificate is not signed by anybody that is trusted here
├── ProtocolError                          it does not keep to the specification, or it leads somewhere nobody should go
├── CredentialsError                       a file of credentials that cannot be read, or a helper program that fails
└── Cancelled                              another part of the same work failed

Bytes that are not the promised ones are `image.errors.Mismatch`, from a registry as from a disk.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..base.frozen import frozen
from ..errors import RegistryError
from ..image.errors import Missing

__all__ = [
    "Absent", "Cancelled", "CredentialsError", "Denied", "Fault", "NotFound", "ProtocolError", "Refused", "RegistryError", "ServerError",
    "TooManyRequests", "TooSlow", "Unauthorized", "Unreachable", "Untrusted", "is_refusal", "is_refused_shortcut",
    "printable", "refusal",
]  # fmt: skip

LONGEST = 500  # characters of what a registry says


def printable(text: object) -> str:
    """Somebody else's words, which may end up on a terminal: not many of them, and nothing that a terminal obeys."""
    return "".join(c if c.isprintable() else "?" for c in str(text)[:LONGEST])


@frozen
class Fault:
    """One error as a registry words it.

    :ivar code: a word of the specification, as "MANIFEST_UNKNOWN"
    """

    code: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


class _Answered(RegistryError):
    """An answer that is a refusal.

    :ivar status: the HTTP status
    :ivar faults: what the registry said about it
    :ivar after: seconds it said to wait; None where it did not
    """

    def __init__(self, text: str, *, status: int = 0, faults: Iterable[Fault] = (), after: float | None = None) -> None:
        self.status, self.faults, self.after = status, tuple(faults), after
        super().__init__(text)

    @property
    def codes(self) -> frozenset[str]:
        """The codes of its faults."""
        return frozenset(fault.code for fault in self.faults)


class NotFound(_Answered, Missing):
    """No such repository, manifest, tag or blob; or nobody may know that there is one."""


class Unauthorized(_Answered):
    """The registry wants a name and a password, or another one."""


class Denied(_Answered):
    """The registry knows who asks, and says no."""


class TooManyRequests(_Answered):
    """The registry says to come back later, and did so until the retries were over."""


class Refused(_Answered):
    """The registry does not do that, or not in these words."""


class ServerError(_Answered):
    """The registry failed, or is not well, and was so until the retries were over."""


class Unreachable(RegistryError, OSError):
    """No connection, one that was cut, or silence."""


class Absent(Unreachable):
    """Nobody listens there, or there is no host of that name."""


class TooSlow(Unreachable, TimeoutError):
    """The registry answers, a byte now and then."""


class Untrusted(Unreachable):
    """The certificate of a registry is not signed by anybody that is trusted here, or is for another host."""


class ProtocolError(RegistryError):
    """The registry does not keep to the specification, or leads somewhere nobody should go."""


class CredentialsError(RegistryError):
    """A file of credentials that cannot be read or written, or a helper program that fails."""


class Cancelled(RegistryError):
    """Given up, because another part of the same work failed."""


_KINDS: dict[int, type[_Answered]] = {401: Unauthorized, 403: Denied, 404: NotFound, 429: TooManyRequests}


def is_refusal(error: RegistryError) -> bool:
    """Whether an answer says no to the way something was asked, so that another way may go well: not to come later, not silence."""
    if isinstance(error, ServerError):
        return error.status in (501, 505)
    answered = isinstance(error, NotFound | Unauthorized | Denied | Refused)
    return answered and getattr(error, "status", 0) not in (408, 425)


def is_refused_shortcut(error: RegistryError) -> bool:
    """Whether to go the long way where HEAD failed: also after a 500, which some servers answer to HEAD alone."""
    return is_refusal(error) or (isinstance(error, ServerError) and error.status == 500)


def refusal(what: str, status: int, faults: Iterable[Fault] = (), *, after: float | None = None) -> RegistryError:
    """The error for an answer that is not the wanted one.

    :param what: what was asked, as "GET https://..."
    """
    faults = tuple(faults)
    said = "; ".join(map(str, faults))[:LONGEST]
    if status < 400:
        return ProtocolError(f"{what}: the registry answered {status}, which is no answer to that")
    kind = _KINDS.get(status, ServerError if status >= 500 else Refused)
    return kind(f"{what}: {status}" + (f" ({said})" if said else ""), status=status, faults=faults, after=after)
