"""Logging in and out: passwords checked with the registry, and kept where docker and podman look for them.

login("example.com", "me", "secret")       raises Unauthorized, and keeps nothing, where the registry does not take it
logout("example.com")
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..image.documents import Fields, dump
from ..image.errors import ImageError
from . import _helpers
from .client import Registry
from .credentials import HUB_NAMES, Login, by_name, encoded, files, login_file, matches, read_file, server_name
from .errors import CredentialsError

__all__ = ["login", "logout"]

StrPath = str | os.PathLike[str]


def login(host: str, username: str, password: str, *, path: StrPath | None = None, **options: Any) -> Path:
    """Asks the registry whether it takes a name and a password, and keeps them.

    :param path: of the file; $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json or ~/.docker/config.json unless given.  Where it names
        a helper program for this registry, that keeps the password, and the file has none
    :param options: of `Registry`: plain_http, verify, ca
    :return: the file
    :raises Unauthorized: the registry does not take them; nothing is kept
    :raises CredentialsError: the file or the helper cannot be used, or there is a colon in the name
    """
    if ":" in username:
        raise CredentialsError(f"{username[:80]!r}: a name has no colon in it, for the password begins there")
    credentials = Login(username, password)
    with Registry(host, auth=credentials, **options) as registry:
        registry.ping()
        host = registry.host
    place = Path(path) if path else login_file()
    with _changing(place) as content:
        auths = content.setdefault("auths", {})
        if helper := _helper(content, host):
            _helpers.store(helper, server_name(host), username, password)
        for key in [key for key in auths if matches(key, host)]:
            del auths[key]
        auths[server_name(host)] = {} if helper else dict(encoded(credentials))
    return place


def logout(host: str, *, path: StrPath | None = None) -> bool:
    """Forgets the password for a registry.

    :param path: of the file; all that are looked into unless given
    :return: whether there was one
    :raises CredentialsError: a file or a helper cannot be used
    """
    places = (Path(path),) if path else tuple(dict.fromkeys((*files(), login_file())))
    found = [_forget(place, host) for place in places if _is_there(place)]
    return any(found)


def _is_there(place: Path) -> bool:
    """Where nobody may look, nobody knows whether a password stays."""
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CredentialsError(f"{place}: {error.strerror}") from error
    return True


def _forget(place: Path, host: str) -> bool:
    with _changing(place) as content:
        helper, auths = _helper(content, host), content.get("auths") or {}
        found = bool(helper) and _helpers.erase(helper, server_name(host))
        for key in [key for key in auths if matches(key, host)]:
            del auths[key]
            found = True
    return found


def _helper(content: dict[str, Any], host: str) -> str:
    """The helper program that a file names for a registry."""
    fields = Fields(content, "credentials")
    helpers = by_name(fields.strings("credHelpers"))
    names = HUB_NAMES if host in HUB_NAMES else (host.lower(),)
    return next((helpers[name] for name in names if name in helpers), "") or fields.text("credsStore", "")


@contextlib.contextmanager
def _changing(place: Path) -> Iterator[dict[str, Any]]:
    """What is in the file, to be changed.  It has the old content or the new one, and nobody else may read it.

    A link is followed, so that a file kept elsewhere stays there.
    """
    place = Path(os.path.realpath(place))
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CredentialsError(f"{place.parent}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = read_file(place)
        before = dump(content)
        if not isinstance(content.setdefault("auths", {}), dict):
            raise CredentialsError(f"{place}: auths is no object")
        yield content
        if dump(content) != before:
            _write(place, dump(content, indent=1) + b"\n", lock)
    except ImageError as error:
        raise CredentialsError(f"{place}: {error}") from error
    except OSError as error:
        raise CredentialsError(f"{place}: {error.strerror}") from error
    finally:
        os.close(lock)


def _write(place: Path, data: bytes, directory: int) -> None:
    import tempfile

    fd, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)  # made with mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(name, place)
    except BaseException:
        os.unlink(name)
        raise
    os.fsync(directory)
