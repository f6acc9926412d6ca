"""Answer a registry's authentication challenge.

A registry that answers 401 names a scheme: Basic, with name and password; or Bearer, with a token that a token service gives in
exchange for name and password, or for an identity token.  Tokens are kept by their scopes until they expire.
:see: https://distribution.github.io/distribution/spec/auth/
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from ..base.frozen import field, frozen
from ..image.documents import Fields
from ..image.errors import ImageError
from ._http import HOPS, Http, Response, follows
from ._origins import Origin, bare, target
from .credentials import Login
from .errors import NotFound, ProtocolError, Refused, RegistryError, Unauthorized
from .patience import Retries, insist

__all__ = ["Authority", "Challenge", "challenges"]

CLIENT = "containerkit"
SHORTEST = 60  # seconds that a token lives at least, by the specification
EARLY = 10  # seconds before its end at which a token counts as expired
TOKEN = re.compile(r"[\x21-\x7e]{1,65536}", re.ASCII)
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_NAME = re.compile(_WORD, re.ASCII)
_VALUE = re.compile(r'\s*=\s*(?:"((?:[^"\\]|\\.|\\\Z)*+)"?|([^\s,"]*))', re.ASCII | re.DOTALL)
_TOKEN68 = re.compile(r"\s+[A-Za-z0-9._~+/-]+=*\s*(?:,|\Z)", re.ASCII)
_APART = re.compile(r"[\s,;]*+", re.ASCII)

Scopes = tuple[str, ...]


@frozen
class Challenge:
    """One authentication scheme that a registry accepts.

    :ivar scheme: in lower case: "basic", "bearer"
    :ivar parameters: names in lower case
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)


def challenges(values: Iterable[str]) -> list[Challenge]:
    """Parse WWW-Authenticate headers.  A malformed part is skipped, and the challenges after it are still found.

    A word with a ``=`` after it belongs to the challenge before it; any other word begins a new one.  A text after a scheme that is no
    parameter, as Negotiate's, is a token.  Missing commas and closing quotes are tolerated.

    :see: rfc9110 section 11.6.1
    """
    found: list[Challenge] = []
    for value in values:
        parameters: dict[str, str] | None = None
        at = 0
        while (at := _end(_APART, value, at)) < len(value):
            if not (word := _NAME.match(value, at)):
                at += 1
            elif said := _VALUE.match(value, word.end()):
                at = said.end()
                if parameters is not None:
                    parameters.setdefault(word[0].lower(), _plain(said[1], said[2]))
            else:
                found.append(Challenge(word[0].lower(), parameters := {}))
                at = _end(_TOKEN68, value, word.end())
    return found


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return the index after a match; `at` without a match."""
    return match.end() if (match := pattern.match(text, at)) else at


def _plain(quoted: str | None, bare: str) -> str:
    return bare.strip("';") if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)


@frozen
class _Token:
    text: str = field(repr=False)
    until: float


class Authority:
    """The authorization for one registry.

    :param find: returns the credentials for a repository; called when a registry demands some
    :param http: the connections for fetching tokens
    :param trusted: tells whether a token service may be contacted
    """

    def __init__(self, find: Callable[[str], Login], http: Http, trusted: Callable[[Origin], bool], retries: Retries) -> None:
        self._find, self._http, self._trusted, self._retries = find, http, trusted, retries
        self._tokens: dict[Scopes, _Token] = {}
        self._basic: dict[str, str] = {}
        self._lock = threading.Lock()

    def header(self, scopes: Scopes) -> str:
        """Return the Authorization header that the registry demanded before for these scopes, or ""."""
        token = self._tokens.get(scopes)
        if token and time.monotonic() < token.until:
            return f"Bearer {token.text}"
        return self._basic.get(_repository(scopes), "")

    def answer(self, response: Response, scopes: Scopes, shown: str) -> str:
        """Return the Authorization header for a request that was answered 401.  Close the response.

        :param shown: the header of that request
        :raises Unauthorized: there are no other credentials
        """
        wanted = challenges(response.all("WWW-Authenticate")[:20])
        refusal = response.refusal()
        with self._lock:
            if (known := self.header(scopes)) and known != shown:
                return known  # another thread has answered the same challenge
            for challenge in wanted:
                if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                    return self._bearer(challenge, scopes, shown, refusal)
            if any(challenge.scheme == "basic" for challenge in wanted):
                return self._password(scopes, shown, refusal)
        raise refusal

    def _password(self, scopes: Scopes, shown: str, refusal: RegistryError) -> str:
        found = self._find(_repository(scopes))
        if not found.username or shown == (header := f"Basic {found.basic}"):
            raise refusal
        self._basic[_repository(scopes)] = header
        return header

    def _bearer(self, challenge: Challenge, scopes: Scopes, shown: str, refusal: RegistryError) -> str:
        found = self._find(_repository(scopes))
        if found.registry_token:
            if shown == (header := f"Bearer {found.registry_token}") or not TOKEN.fullmatch(found.registry_token):
                raise refusal
            self._tokens[scopes] = _Token(found.registry_token, float("inf"))
            return header
        if shown.startswith("Bearer ") and challenge.parameters.get("error") == "invalid_token":
            self._tokens.pop(scopes, None)
        realm = target("", challenge.parameters["realm"])
        if not self._trusted(Origin.of(realm)):
            raise ProtocolError(f"the registry wants its token to be fetched from {bare(realm)}, which is not safe to contact")
        token = self._fetch(realm, challenge.parameters.get("service", ""), _together(scopes, challenge), found)
        if shown == f"Bearer {token.text}":
            raise refusal
        self._tokens[scopes] = token
        return f"Bearer {token.text}"

    def _fetch(self, realm: str, service: str, scopes: Scopes, login: Login) -> _Token:
        from urllib.parse import quote, urlencode

        fields = [("service", service)] * bool(service)
        if login.identity_token:
            form = [("grant_type", "refresh_token"), ("refresh_token", login.identity_token), ("client_id", CLIENT), *fields]
            return self._post(realm, [*form, ("scope", " ".join(scopes))])
        asked = fields + [("account", login.username)] * bool(login.username) + [("scope", scope) for scope in scopes]
        url = realm + ("&" if "?" in realm else "?") * bool(asked) + urlencode(asked, quote_via=quote, safe=":,/")
        headers = {"Authorization": f"Basic {login.basic}"} if login.username else {}
        try:
            return insist(lambda: _token(self._sent("GET", url, headers)), self._retries)
        except (NotFound, Refused):
            if not login.username:
                raise
            form = [("grant_type", "password"), ("username", login.username), ("password", login.password), ("client_id", CLIENT)]
            return self._post(realm, [*form, *fields, ("scope", " ".join(scopes))])  # the service speaks OAuth2 only

    def _post(self, realm: str, form: list[tuple[str, str]]) -> _Token:
        from urllib.parse import urlencode

        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return insist(lambda: _token(self._sent("POST", realm, headers, urlencode(form).encode())), self._retries)

    def _sent(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Response:
        """Send a request and follow redirects of the token service; send the password, in header or form, to its own origin alone."""
        own = Origin.of(url)
        for _ in range(HOPS + 1):
            if not self._trusted(origin := Origin.of(url)):
                raise ProtocolError(f"the token service leads to {bare(url)}, which is not safe to contact")
            mine = dict(headers) if origin == own else {}
            response = self._http.send(method, url, mine, body)
            if not follows(response, method) or (body is not None and Origin.of(target(url, response.headers["Location"])) != own):
                return response
            response.finish()
            url = target(url, response.headers["Location"])
        raise ProtocolError(f"{method} {bare(url)}: more than {HOPS} redirects")


def _repository(scopes: Scopes) -> str:
    """Return the repository of the first scope; "" for none."""
    kind, _, rest = scopes[0].partition(":") if scopes else ("", "", "")
    return rest.rpartition(":")[0] if kind == "repository" else ""


def _together(scopes: Scopes, challenge: Challenge) -> Scopes:
    """Merge our scopes with those of the challenge: each resource once, with all of its actions."""
    found: dict[str, dict[str, None]] = {}
    for scope in (*scopes, *challenge.parameters.get("scope", "").split()[:10]):
        thing, _, actions = scope.rpartition(":")
        found.setdefault(thing, {}).update(dict.fromkeys(actions.split(",")))
    return tuple(f"{thing}:{','.join(actions)}" for thing, actions in found.items())


def _token(response: Response) -> _Token:
    """Read the token of a token service's answer.

    :raises Unauthorized: the token service refuses the credentials
    :raises ProtocolError: the answer has no token
    """
    if not 200 <= response.status < 300:
        error = response.refusal()
        if response.status in (400, 401, 403):  # OAuth2 answers 400 to an expired refresh token
            raise Unauthorized(str(error), status=response.status, faults=getattr(error, "faults", ())) from error
        raise error
    fields = Fields(response.json("token"), "token")
    try:
        text = fields.text("token", "") or fields.text("access_token", "")
        seconds = fields.number("expires_in", 0)
    except ImageError as error:
        raise ProtocolError(str(error)) from error
    if not TOKEN.fullmatch(text):
        raise ProtocolError(f"{bare(response.url)}: the answer has no token in it")
    return _Token(text, time.monotonic() + max(seconds, SHORTEST) - EARLY)
