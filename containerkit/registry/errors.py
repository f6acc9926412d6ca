"""The errors of registries.

RegistryError
├── NotFound          (also Missing)       no such repository, manifest, tag or blob
├── Unauthorized                           the registry demands a name and a password, or refuses the given ones
├── Denied                                 the registry accepts the credentials, but not this request
├── TooManyRequests                        the registry asks to come back later; has `after`
├── Refused                                the registry does not support the request, or not in this form
├── ServerError                            the registry failed
├── Unreachable       (also OSError)       no connection, a cut connection, or no answer
│   ├── Absent                             nothing listens there, or there is no host of that name
│   ├── TooSlow       (also TimeoutError)  the registry sends too few bytes a second
│   └── Untrusted                          no trusted authority has signed the registry's certificate
├── ProtocolError                          the registry violates the specification, or redirects to an unsafe URL
├── CredentialsError                       a file of credentials that cannot be read, or a helper program that fails
└── Cancelled                              another task of the same work failed

Bytes that do not match their digest are `image.errors.Mismatch`, from a registry as from a disk.
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

LONGEST = 500  # characters of a registry's text


def printable(text: object) -> str:
    """Return a foreign text in a form that is safe on a terminal: short, and without control characters."""
    return "".join(c if c.isprintable() else "?" for c in str(text)[:LONGEST])


@frozen
class Fault:
    """One error in the words of a registry.

    :ivar code: a word of the specification, as "MANIFEST_UNKNOWN"
    """

    code: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


class _Answered(RegistryError):
    """An error for an answer of a registry.

    :ivar status: the HTTP status
    :ivar faults: the errors in the registry's answer
    :ivar after: seconds that the registry asks to wait; None if it does not
    """

    def __init__(self, text: str, *, status: int = 0, faults: Iterable[Fault] = (), after: float | None = None) -> None:
        self.status, self.faults, self.after = status, tuple(faults), after
        super().__init__(text)

    @property
    def codes(self) -> frozenset[str]:
        """The codes of the faults."""
        return frozenset(fault.code for fault in self.faults)


class NotFound(_Answered, Missing):
    """No such repository, manifest, tag or blob; or the registry hides it from this user."""


class Unauthorized(_Answered):
    """The registry demands a name and a password, or refuses the given ones."""


class Denied(_Answered):
    """The registry accepts the credentials, but not this request."""


class TooManyRequests(_Answered):
    """The registry asked to come back later, until the retries were used up."""


class Refused(_Answered):
    """The registry does not support the request, or not in this form."""


class ServerError(_Answered):
    """The registry failed, until the retries were used up."""


class Unreachable(RegistryError, OSError):
    """No connection, a cut connection, or no answer."""


class Absent(Unreachable):
    """Nothing listens there, or there is no host of that name."""


class TooSlow(Unreachable, TimeoutError):
    """The registry sends too few bytes a second."""


class Untrusted(Unreachable):
    """No trusted authority has signed the certificate of a registry, or the certificate is for another host."""


class ProtocolError(RegistryError):
    """The registry violates the specification, or redirects to an unsafe URL."""


class CredentialsError(RegistryError):
    """A file of credentials cannot be read or written, or a helper program fails."""


class Cancelled(RegistryError):
    """This task was given up because another task of the same work failed."""


_KINDS: dict[int, type[_Answered]] = {401: Unauthorized, 403: Denied, 404: NotFound, 429: TooManyRequests}


def is_refusal(error: RegistryError) -> bool:
    """Whether an answer refuses the form of a request, so that another form may succeed.  "Come back later" and no answer are none."""
    if isinstance(error, ServerError):
        return error.status in (501, 505)
    answered = isinstance(error, NotFound | Unauthorized | Denied | Refused)
    return answered and getattr(error, "status", 0) not in (408, 425)


def is_refused_shortcut(error: RegistryError) -> bool:
    """Whether a failed HEAD shall be replaced by a GET: also after a 500, which some servers answer to HEAD alone."""
    return is_refusal(error) or (isinstance(error, ServerError) and error.status == 500)


def refusal(what: str, status: int, faults: Iterable[Fault] = (), *, after: float | None = None) -> RegistryError:
    """Return the error for an unexpected answer.

    :param what: the request, as "GET https://..."
    """
    faults = tuple(faults)
    said = "; ".join(map(str, faults))[:LONGEST]
    if status < 400:
        return ProtocolError(f"{what}: the registry answered {status}, which does not fit the request")
    kind = _KINDS.get(status, ServerError if status >= 500 else Refused)
    return kind(f"{what}: {status}" + (f" ({said})" if said else ""), status=status, faults=faults, after=after)
