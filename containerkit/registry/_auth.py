"""Showing who asks: what a registry wants to be shown, and what is shown to it.

A registry that answers 401 says how it wants to be asked: Basic, with name and password; or Bearer, with a token that a token
service gives for name and password, or for an identity token.  Tokens are kept by what they allow, until they expire.
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
SHORTEST = 60  # seconds a token lives at least, as the specification has it
EARLY = 10  # seconds before its end a token is not used any more
TOKEN = re.compile(r"[\x21-\x7e]{1,65536}", re.ASCII)
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_NAME = re.compile(_WORD, re.ASCII)
_VALUE = re.compile(r'\s*=\s*(?:"((?:[^"\\]|\\.|\\\Z)*+)"?|([^\s,"]*))', re.ASCII | re.DOTALL)
_TOKEN68 = re.compile(r"\s+[A-Za-z0-9._~+/-]+=*\s*(?:,|\Z)", re.ASCII)
_APART = re.compile(r"[\s,;]*+", re.ASCII)

Scopes = tuple[str, ...]


@frozen
class Challenge:
    """One way to be asked.

    :ivar scheme: in lower case: "basic", "bearer"
    :ivar parameters: names in lower case
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)


def challenges(values: Iterable[str]) -> list[Challenge]:
    """What WWW-Authenticate headers say, as far as it can be understood: what cannot be is passed over, and hides nothing after it.

    A word with a ``=`` after it belongs to the challenge before it; any other word begins a new one.  What follows a scheme and is no
    parameter, as Negotiate's, is a token.  Missing commas and closing quotes are forgiven.

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
    """Where a match ends; `at` where there is none."""
    return match.end() if (match := pattern.match(text, at)) else at


def _plain(quoted: str | None, bare: str) -> str:
    return bare.strip("';") if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)


@frozen
class _Token:
    text: str = field(repr=False)
    until: float


class Authority:
    """What one registry is shown.

    :param find: gives the credentials of a repository, asked when a registry wants some
    :param http: what tokens are fetched with
    :param trusted: says whether a token service may be talked to
    """

    def __init__(self, find: Callable[[str], Login], http: Http, trusted: Callable[[Origin], bool], retries: Retries) -> None:
        self._find, self._http, self._trusted, self._retries = find, http, trusted, retries
        self._tokens: dict[Scopes, _Token] = {}
        self._basic: dict[str, str] = {}
        self._lock = threading.Lock()

    def header(self, scopes: Scopes) -> str:
        """What to show without being asked, because it was wanted before; "" for nothing."""
        token = self._tokens.get(scopes)
        if token and time.monotonic() < token.until:
            return f"Bearer {token.text}"
        return self._basic.get(_repository(scopes), "")

    def answer(self, response: Response, scopes: Scopes, shown: str) -> str:
        """What to show to who answered 401.  Closes the answer.

        :param shown: what it was shown already
        :raises Unauthorized: there is nothing else to show
        """
        wanted = challenges(response.all("WWW-Authenticate")[:20])
        refusal = response.refusal()
        with self._lock:
            if (known := self.header(scopes)) and known != shown:
                return known  # another thread was asked the same
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
            raise ProtocolError(f"the registry wants its token to be fetched from {bare(realm)}, which is not safe to talk to")
        token = self._fetch(realm, challenge.parameters.get("service", ""), _together(scopes, challenge), found)
        if shown == f"Bearer {token.text}":
            raise refusal
        self._tokens[scopes] = token
        return f"Bearer {token.text}"

    def _fetch(self, realm: str, service: str, scopes: Scopes, who: Login) -> _Token:
        from urllib.parse import quote, urlencode

        fields = [("service", service)] * bool(service)
        if who.identity_token:
            form = [("grant_type", "refresh_token"), ("refresh_token", who.identity_token), ("client_id", CLIENT), *fields]
            return self._post(realm, [*form, ("scope", " ".join(scopes))])
        asked = fields + [("account", who.username)] * bool(who.username) + [("scope", scope) for scope in scopes]
        url = realm + ("&" if "?" in realm else "?") * bool(asked) + urlencode(asked, quote_via=quote, safe=":,/")
        headers = {"Authorization": f"Basic {who.basic}"} if who.username else {}
        try:
            return insist(lambda: _token(self._sent("GET", url, headers)), self._retries)
        except (NotFound, Refused):
            if not who.username:
                raise
            form = [("grant_type", "password"), ("username", who.username), ("password", who.password), ("client_id", CLIENT)]
            return self._post(realm, [*form, *fields, ("scope", " ".join(scopes))])  # a service that speaks OAuth2 only

    def _post(self, realm: str, form: list[tuple[str, str]]) -> _Token:
        from urllib.parse import urlencode

        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return insist(lambda: _token(self._sent("POST", realm, headers, urlencode(form).encode())), self._retries)

    def _sent(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Response:
        """Follows redirects of the token service; a password, in a header or in a form, is shown to nobody else."""
        own = Origin.of(url)
        for _ in range(HOPS + 1):
            if not self._trusted(origin := Origin.of(url)):
                raise ProtocolError(f"the token service leads to {bare(url)}, which is not safe to talk to")
            mine = dict(headers) if origin == own else {}
            response = self._http.send(method, url, mine, body)
            if not follows(response, method) or (body is not None and Origin.of(target(url, response.headers["Location"])) != own):
                return response
            response.finish()
            url = target(url, response.headers["Location"])
        raise ProtocolError(f"{method} {bare(url)}: more than {HOPS} redirects")


def _repository(scopes: Scopes) -> str:
    """The repository that the first scope is about; "" for none."""
    kind, _, rest = scopes[0].partition(":") if scopes else ("", "", "")
    return rest.rpartition(":")[0] if kind == "repository" else ""


def _together(scopes: Scopes, challenge: Challenge) -> Scopes:
    """What is wanted, and what the registry says is needed for it: each thing once, with all that is to be done with it."""
    found: dict[str, dict[str, None]] = {}
    for scope in (*scopes, *challenge.parameters.get("scope", "").split()[:10]):
        thing, _, actions = scope.rpartition(":")
        found.setdefault(thing, {}).update(dict.fromkeys(actions.split(",")))
    return tuple(f"{thing}:{','.join(actions)}" for thing, actions in found.items())


def _token(response: Response) -> _Token:
    """:raises Unauthorized: the token service does not know who asks;  :raises ProtocolError: its answer is no token"""
    if not 200 <= response.status < 300:
        error = response.refusal()
        if response.status in (400, 401, 403):  # OAuth2 says 400 where a refresh token is no longer good
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
