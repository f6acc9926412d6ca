"""Names and passwords, from the files and programs in which docker and podman keep them.

    Keyring().find("example.com", "team/app")      a Login, from the first file or helper program that has one
    Login("me", "secret")                          given by the caller; Login() for an anonymous client

The first of these files with an entry counts: $REGISTRY_AUTH_FILE alone if it is set; otherwise $DOCKER_CONFIG/config.json if that
is set, $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json, ~/.docker/config.json.  A key may name a registry,
or a repository and all below it; the longest counts.
:see: containers-auth.json(5), https://docs.docker.com/reference/cli/docker/login/
"""

from __future__ import annotations

import binascii
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..base.frozen import field, frozen
from ..image.documents import Fields, parse
from ..image.errors import ImageError
from ..linux.ids import machine_uid
from . import _helpers
from .errors import CredentialsError

__all__ = ["ANONYMOUS", "Keyring", "Login", "by_name", "encoded", "files", "login_file", "matches", "read_file", "server_name"]

Value = TypeVar("Value")
DOCKER_HUB = "https://index.docker.io/v1/"
HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
LIMIT = 1 << 20  # bytes of a credentials file


@frozen
class Login:
    """The credentials of a user.  Empty for an anonymous client.

    :param identity_token: OAuth2's refresh token, instead of a password
    :param registry_token: a bearer token, sent unchanged
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header."""
        import base64

        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


#: Anonymous: no name, no password.
ANONYMOUS = Login()


def _home() -> Path:
    return Path(os.path.expanduser("~"))


def _docker_file() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or _home() / ".docker") / "config.json"


def _podman_files() -> Iterator[Path]:
    yield Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{machine_uid()}") / "containers" / "auth.json"
    if not os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(f"/run/containers/{machine_uid()}/auth.json")
    yield Path(os.environ.get("XDG_CONFIG_HOME") or _home() / ".config") / "containers" / "auth.json"


def files() -> tuple[Path, ...]:
    """Return the files that may hold credentials, in the order in which they are read."""
    if only := os.environ.get("REGISTRY_AUTH_FILE"):
        return (Path(only),)
    others = tuple(_podman_files())
    return (_docker_file(), *others) if os.environ.get("DOCKER_CONFIG") else (*others, _docker_file())


def login_file() -> Path:
    """Return the file in which `login` stores a password by default."""
    return Path(os.environ["REGISTRY_AUTH_FILE"]) if os.environ.get("REGISTRY_AUTH_FILE") else _docker_file()


def matches(key: str, host: str) -> bool:
    """Whether a key of `auths` stands for this whole registry, not only for one repository."""
    return _normal(key) in (HUB_NAMES if host in HUB_NAMES else (host.lower(),))


def read_file(path: Path) -> dict[str, Any]:
    """Read a credentials file; {} if there is none.

    :raises CredentialsError: the file cannot be read
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= LIMIT else None
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from error
    if data is None:
        raise CredentialsError(f"{path}: larger than {LIMIT} bytes")
    try:
        return parse(data, path.name) if data.strip() else {}
    except ImageError as error:
        raise CredentialsError(f"{path}: {error}") from error


def server_name(host: str) -> str:
    """Return the name of a registry for docker and the helper programs."""
    return DOCKER_HUB if host in HUB_NAMES else host


class Keyring:
    """The credentials of this user.

    :param path: the only file to read; `files()` unless given
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._paths = (Path(path),) if path else files()

    def find(self, host: str, repository: str = "") -> Login:
        """Return the credentials for a registry, or for a repository of it; `ANONYMOUS` if there are none.

        :param host: with its port, as in a reference
        :raises CredentialsError: a file cannot be read, or a helper fails
        """
        return next((found for path in self._paths if (found := _in_file(path, host, repository))), ANONYMOUS)


def _in_file(path: Path, host: str, repository: str) -> Login:
    fields = Fields(read_file(path), str(path))
    try:
        helpers, store = by_name(_helpers_of(fields)), fields.text("credsStore", "")
        known = by_name(fields.take("auths", dict, {}))
        keys = tuple(_keys(host.lower(), repository))
        for helper in (*(helpers[key] for key in keys if key in helpers), *filter(None, [store])):
            if said := _helpers.get(helper, server_name(host)):
                name, secret = said
                return Login(identity_token=secret) if name == "<token>" else Login(name, secret)
        return next((found for key in keys if key in known and (found := _entry(known[key], f"{path}: {key}"))), ANONYMOUS)
    except ImageError as error:
        raise CredentialsError(str(error)) from error


def _helpers_of(fields: Fields) -> dict[str, str]:
    """Return the helper of each registry.  null means none, as Go reads it."""
    chosen = {key: name for key, name in fields.take("credHelpers", dict, {}).items() if name is not None}
    return Fields({"credHelpers": chosen}, fields.where).strings("credHelpers")


def _keys(host: str, repository: str) -> Iterator[str]:
    """Yield the keys that match, the longest first: host/a/b, host/a, host."""
    for name in HUB_NAMES if host in HUB_NAMES else (host,):
        parts = [name, *repository.split("/")] if repository else [name]
        yield from ("/".join(parts[:count]) for count in range(len(parts), 1, -1))
    yield from HUB_NAMES if host in HUB_NAMES else (host,)


def by_name(keys: dict[str, Value]) -> dict[str, Value]:
    """Normalize the keys of `auths` or `credHelpers`.  Of keys that become equal, one already in normal form counts, else the first."""
    found = {_normal(key): value for key, value in reversed(keys.items())}
    return found | {key: value for key, value in keys.items() if _normal(key) == key}


def _normal(key: str) -> str:
    """Return a key in normal form.

    docker's keys may be URLs, of which only the host counts, or hosts followed by the path of a version of its protocol; podman's
    may go on with a repository.  The case of a host does not count.

    docker itself ignores any path; a key that names a repository is podman's, and counts for that repository only.
    """
    for scheme in ("https://", "http://"):
        if key.lower().startswith(scheme):
            return key[len(scheme) :].partition("/")[0].lower()
    host, _, path = key.rstrip("/").partition("/")
    return host.lower() if path in ("", "v1", "v2") else f"{host.lower()}/{path}"


def _entry(value: Any, where: str) -> Login:
    fields = Fields({} if value is None else value, where)  # Go reads null as an entry without fields
    username, password = fields.text("username", ""), fields.text("password", "")
    if encoded := fields.text("auth", ""):
        username, password = _decoded(encoded, where)
    return Login(username, password, fields.text("identitytoken", ""), fields.text("registrytoken", ""))


def _decoded(encoded: str, where: str) -> tuple[str, str]:
    import base64

    try:
        plain = encoded.replace("\r", "").replace("\n", "")  # many encoders add line ends; Go ignores them
        username, colon, password = base64.b64decode(plain, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise CredentialsError(f"{where}: auth is not base64") from None
    if not colon:
        raise CredentialsError(f"{where}: auth has no colon in it")
    return username, password.strip("\0")


def encoded(credentials: Login) -> Mapping[str, str]:
    """Return a login as an entry of `auths`."""
    if credentials.identity_token:
        import base64

        name = base64.b64encode(f"{credentials.username or '00000000-0000-0000-0000-000000000000'}:".encode()).decode()
        return {"auth": name, "identitytoken": credentials.identity_token}
    return {"auth": credentials.basic}
