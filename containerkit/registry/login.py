"""Log in and out: check a password with the registry, and store it in the files of docker and podman.

login("example.com", "me", "secret")        raises Unauthorized, and stores nothing, if the registry refuses the password
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
from ..state.files import replace
from . import _helpers
from .client import Registry
from .credentials import HUB_NAMES, Login, by_name, encoded, files, login_file, matches, read_file, server_name
from .errors import CredentialsError

__all__ = ["login", "logout"]

StrPath = str | os.PathLike[str]


def login(host: str, username: str, password: str, *, path: StrPath | None = None, **options: Any) -> Path:
    """Ask the registry whether it accepts a name and a password, and store them.

    :param path: the file; $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json or ~/.docker/config.json unless given.  If it names a helper
        program for this registry, the helper stores the password instead of the file
    :param options: of `Registry`: plain_http, verify, ca
    :return: the file
    :raises Unauthorized: the registry refuses the name and password; nothing is stored
    :raises CredentialsError: the file or the helper cannot be used, or there is a colon in the name
    """
    if ":" in username:
        raise CredentialsError(f"{username[:80]!r}: a name contains no colon: Basic authentication splits name and password there")
    credentials = Login(username, password)
    with Registry(host, auth=credentials, **options) as registry:
        registry.ping()
        host = registry.host
    file = Path(path) if path else login_file()
    with _changing(file) as content:
        auths = content.setdefault("auths", {})
        if helper := _helper(content, host):
            _helpers.store(helper, server_name(host), username, password)
        for key in [key for key in auths if matches(key, host)]:
            del auths[key]
        auths[server_name(host)] = {} if helper else dict(encoded(credentials))
    return file


def logout(host: str, *, path: StrPath | None = None) -> bool:
    """Delete the password for a registry.

    :param path: the file; every file that `Keyring` reads unless given
    :return: whether there was one
    :raises CredentialsError: a file or a helper cannot be used
    """
    paths = (Path(path),) if path else tuple(dict.fromkeys((*files(), login_file())))
    found = [_forget(file, host) for file in paths if _is_there(file)]
    return any(found)


def _is_there(file: Path) -> bool:
    """Whether a file exists.  :raises CredentialsError: we may not look, so that a password may remain there"""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CredentialsError(f"{file}: {error.strerror}") from error
    return True


def _forget(file: Path, host: str) -> bool:
    with _changing(file) as content:
        helper, auths = _helper(content, host), content.get("auths") or {}
        found = bool(helper) and _helpers.erase(helper, server_name(host))
        for key in [key for key in auths if matches(key, host)]:
            del auths[key]
            found = True
    return found


def _helper(content: dict[str, Any], host: str) -> str:
    """Return the helper program that a file names for a registry."""
    fields = Fields(content, "credentials")
    helpers = by_name(fields.strings("credHelpers"))
    names = HUB_NAMES if host in HUB_NAMES else (host.lower(),)
    return next((helpers[name] for name in names if name in helpers), "") or fields.text("credsStore", "")


@contextlib.contextmanager
def _changing(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the content of the file, and write its changes atomically.  Other users cannot read the file.

    A link is followed, so that a file kept elsewhere stays there.
    """
    file = Path(os.path.realpath(file))
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CredentialsError(f"{file.parent}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = read_file(file)
        before = dump(content)
        if not isinstance(content.setdefault("auths", {}), dict):
            raise CredentialsError(f"{file}: auths is no object")
        yield content
        if dump(content) != before:
            replace(file, dump(content, indent=1) + b"\n", mode=0o600, sync=True)
    except ImageError as error:
        raise CredentialsError(f"{file}: {error}") from error
    except OSError as error:
        raise CredentialsError(f"{file}: {error.strerror}") from error
    finally:
        os.close(lock)
