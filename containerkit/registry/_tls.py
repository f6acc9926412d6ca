"""Whom TLS trusts, and who asks: certificates, from where docker and podman keep them.

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
    """Trusts the system's authorities, the one given, and those that certs.d has for the host.

    :param verify: whether a certificate must be one of a trusted authority
    :raises CredentialsError: a certificate cannot be read
    """
    made = ssl.create_default_context()
    if not verify:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    places = [directory / host for directory in CERTIFICATES]
    authorities: list[StrPath] = [path for place in places for path in sorted(place.glob("*.crt"))]
    for authority in authorities + ([ca] if ca else []):
        with _reading(authority):
            made.load_verify_locations(authority)
    for own in (path for place in places for path in sorted(place.glob("*.cert"))):
        with _reading(own):
            made.load_cert_chain(own, own.with_suffix(".key"))
    return made


@contextlib.contextmanager
def _reading(path: StrPath) -> Iterator[None]:
    """What goes wrong with a certificate is no trouble of a connection: nobody tries again, or goes on without TLS."""
    try:
        yield
    except OSError as error:
        raise CredentialsError(f"{os.fspath(path)}: {error.strerror or error}") from error
