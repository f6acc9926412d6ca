"""Names and passwords, from where docker and podman keep them.

    Keyring().find("example.com", "team/app")      Credentials, from the first file or helper program that has some
    Credentials("me", "secret")                    said by the caller; Credentials() for nobody

Files, the first that has an answer: $REGISTRY_AUTH_FILE alone where it is set; otherwise $DOCKER_CONFIG/config.json where that
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
LIMIT = 1 << 20  # bytes of such a file


@frozen
class Login:
    """Who asks.  Nobody, when all is empty.

    :param identity_token: OAuth2's refresh token, instead of a password
    :param registry_token: a bearer token to be shown as it is
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """For an Authorization header."""
        import base64

        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


#: Nobody: no name, no password.
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
    """Where credentials are looked for, in this order."""
    if only := os.environ.get("REGISTRY_AUTH_FILE"):
        return (Path(only),)
    others = tuple(_podman_files())
    return (_docker_file(), *others) if os.environ.get("DOCKER_CONFIG") else (*others, _docker_file())


def login_file() -> Path:
    """Where a password is kept unless somebody says otherwise."""
    return Path(os.environ["REGISTRY_AUTH_FILE"]) if os.environ.get("REGISTRY_AUTH_FILE") else _docker_file()


def matches(key: str, host: str) -> bool:
    """Whether a key of `auths` is this registry's, and not only one of its repositories'."""
    return _normal(key) in (HUB_NAMES if host in HUB_NAMES else (host.lower(),))


def read_file(path: Path) -> dict[str, Any]:
    """What is in such a file; {} where there is none.

    :raises CredentialsError: it cannot be read
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= LIMIT else None
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from error
    if data is None:
        raise CredentialsError(f"{path}: more than {LIMIT} bytes")
    try:
        return parse(data, path.name) if data.strip() else {}
    except ImageError as error:
        raise CredentialsError(f"{path}: {error}") from error


def server_name(host: str) -> str:
    """What docker and the helper programs call a registry."""
    return DOCKER_HUB if host in HUB_NAMES else host


class Keyring:
    """The credentials of this user.

    :param path: of the only file to look into; `files()` unless given
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._paths = (Path(path),) if path else files()

    def find(self, host: str, repository: str = "") -> Login:
        """The credentials for a registry, or for a repository of it; `ANONYMOUS` where there are none.

        :param host: with its port, as in a reference
        :raises CredentialsError: a file cannot be read, a helper fails
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
    """The helper of each registry; null means none, as it does to Go."""
    chosen = {key: name for key, name in fields.take("credHelpers", dict, {}).items() if name is not None}
    return Fields({"credHelpers": chosen}, fields.where).strings("credHelpers")


def _keys(host: str, repository: str) -> Iterator[str]:
    """The longest first: host/a/b, host/a, host."""
    for name in HUB_NAMES if host in HUB_NAMES else (host,):
        parts = [name, *repository.split("/")] if repository else [name]
        yield from ("/".join(parts[:count]) for count in range(len(parts), 1, -1))
    yield from HUB_NAMES if host in HUB_NAMES else (host,)


def by_name(keys: dict[str, Value]) -> dict[str, Value]:
    """Keys of `auths` or `credHelpers` as `find` looks for them; of two that mean the same the one counts that is written so already,
    then the first."""
    found = {_normal(key): value for key, value in reversed(keys.items())}
    return found | {key: value for key, value in keys.items() if _normal(key) == key}


def _normal(key: str) -> str:
    """What a key means.  docker's may be URLs, of which only the host counts, and so may the paths of its protocol's versions be
    written after a host; podman's may go on with a repository.  The case of a host does not count.

    docker itself takes any path for one to be passed over; a key that names a repository is podman's, and for that repository only.
    """
    for scheme in ("https://", "http://"):
        if key.lower().startswith(scheme):
            return key[len(scheme) :].partition("/")[0].lower()
    host, _, path = key.rstrip("/").partition("/")
    return host.lower() if path in ("", "v1", "v2") else f"{host.lower()}/{path}"


def _entry(value: Any, where: str) -> Login:
    fields = Fields({} if value is None else value, where)  # to Go, null is an entry without fields
    username, password = fields.text("username", ""), fields.text("password", "")
    if encoded := fields.text("auth", ""):
        username, password = _decoded(encoded, where)
    return Login(username, password, fields.text("identitytoken", ""), fields.text("registrytoken", ""))


def _decoded(encoded: str, where: str) -> tuple[str, str]:
    import base64

    try:
        plain = encoded.replace("\r", "").replace("\n", "")  # which many encoders put in; Go passes over them
        username, colon, password = base64.b64decode(plain, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise CredentialsError(f"{where}: auth is not base64") from None
    if not colon:
        raise CredentialsError(f"{where}: auth has no colon in it")
    return username, password.strip("\0")


def encoded(credentials: Login) -> Mapping[str, str]:
    """An entry of `auths`."""
    if credentials.identity_token:
        import base64

        name = base64.b64encode(f"{credentials.username or '00000000-0000-0000-0000-000000000000'}:".encode()).decode()
        return {"auth": name, "identitytoken": credentials.identity_token}
    return {"auth": credentials.basic}
