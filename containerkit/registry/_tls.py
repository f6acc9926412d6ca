"""TLS contexts: trusted authorities and client certificates, from the directories of docker and podman.

:see: https://docs.docker.com/engine/security/certificates/, containers-certs.d(5)
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from .errors import CredentialsError

__all__ = ["context"]

CERTIFICATES = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
StrPath = str | os.PathLike[str]


def context(verify: bool, ca: StrPath | None, host: str) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, the given one, and those in certs.d for the host.

    :param verify: whether a certificate must be one of a trusted authority
    :param ca: a file of more certificates to trust
    :raises CredentialsError: a certificate cannot be read
    """
    made = ssl.create_default_context()
    if not verify:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    directories = [root / host for root in CERTIFICATES]
    authorities: list[StrPath] = [path for directory in directories for path in sorted(directory.glob("*.crt"))]
    for authority in authorities + ([ca] if ca else []):
        with _reading(authority):
            made.load_verify_locations(authority)
    for own in (path for directory in directories for path in sorted(directory.glob("*.cert"))):
        with _reading(own):
            made.load_cert_chain(own, own.with_suffix(".key"))
    return made


@contextlib.contextmanager
def _reading(path: StrPath) -> Iterator[None]:
    """Report an unreadable certificate as a CredentialsError, so that no caller retries, or goes on without TLS."""
    try:
        yield
    except OSError as error:
        raise CredentialsError(f"{os.fspath(path)}: {error.strerror or error}") from error
