"""Answers to a registry's challenge: which credentials are sent, and to which host."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registries import Reply, Request, Script, scripted

from containerkit.registry import Login, Registry, Retries
from containerkit.registry import _auth as module
from containerkit.registry._auth import Challenge, challenges
from containerkit.registry.errors import ProtocolError, Unauthorized

QUICK = Retries(attempts=2, first=0.01, longest=1)
ME = Login("me", "secret")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Basic", [Challenge("basic")]),
        ('Basic realm="a, b"', [Challenge("basic", {"realm": "a, b"})]),
        ('BEARER Realm="https://a/t",service=b', [Challenge("bearer", {"realm": "https://a/t", "service": "b"})]),
        (r'Bearer realm="a \"b\" \\", scope="c:d:e,f"', [Challenge("bearer", {"realm": 'a "b" \\', "scope": "c:d:e,f"})]),
        ('Negotiate, Basic realm="x"', [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        ('Basic realm="x", Bearer realm="y"', [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y"})]),
        ('Negotiate YII=, Bearer realm="x"', [Challenge("negotiate"), Challenge("bearer", {"realm": "x"})]),
        ('Negotiate a.b~c, Bearer realm="x"', [Challenge("negotiate"), Challenge("bearer", {"realm": "x"})]),
        ('NTLM TlRM+/==,, ,Basic realm="x"', [Challenge("ntlm"), Challenge("basic", {"realm": "x"})]),
        ('Basic realm="x" Bearer realm="y"', [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y"})]),
        ('Bearer realm="x" service="y"', [Challenge("bearer", {"realm": "x", "service": "y"})]),
        ('Bearer realm = "x" ; service=y;', [Challenge("bearer", {"realm": "x", "service": "y"})]),
        ("Bearer realm='https://a/t',service='b'", [Challenge("bearer", {"realm": "https://a/t", "service": "b"})]),
        ('Bearer realm="x', [Challenge("bearer", {"realm": "x"})]),
        ('Bearer error=, realm="x"', [Challenge("bearer", {"realm": "x"})]),
        ('"?" Bearer realm="x"', [Challenge("bearer", {"realm": "x"})]),
        ('a=b, Bearer realm="x"', [Challenge("bearer", {"realm": "x"})]),
        ("", []),
        ("=", []),
    ],
)
def test_challenges(text: str, found: list[Challenge]) -> None:
    assert challenges([text]) == found


@given(st.text(st.sampled_from('Bearer realm="\\,= ;x\x00é'), max_size=80))
def test_any_challenge_is_parsed(text: str) -> None:
    started = time.monotonic()
    assert isinstance(challenges([text]), list)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        "a" + " " * 60_000 + "b",
        "a " * 30_000,
        'a="' * 20_000,
        "a b=" * 15_000,
        " " * 60_000,
        "\t" * 60_000 + "=",
        "," * 60_000,
        'Bearer a="' + "\\" * 60_000,
        "Bearer " + 'a = "b" ' * 7_000,
    ],
)
def test_a_long_challenge_is_parsed_in_linear_time(text: str) -> None:
    started = time.monotonic()
    challenges([text])
    assert time.monotonic() - started < 1


def wants(header: str) -> Reply:
    return Reply(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', {"WWW-Authenticate": header})


class Service:
    """A registry and its token service in one server."""

    def __init__(self, **token: Any) -> None:
        self.token, self.count, self.script = token, 0, Script("")
        self.status = 200

    def __call__(self, request: Request) -> Reply:
        if request.place == "/token":
            self.count += 1
            found = {"token": f"t{self.count}"} if not self.token else self.token
            return Reply(self.status, json.dumps(found).encode())
        if not request.headers.get("authorization", "").startswith("Bearer t"):
            return wants(f'Bearer realm="http://{self.script.host}/token",service="here",scope="repository:app:pull"')
        return Reply(body=b'{"tags":["1"]}')

    @property
    def tokens(self) -> list[Request]:
        return [each for each in self.script.requests if each.place == "/token"]


def client(script: Script, auth: Any = ME, **options: Any) -> Registry:
    return Registry(script.host, plain_http=True, auth=auth, retries=QUICK, **options)


def test_basic() -> None:
    right = "Basic " + base64.b64encode(b"me:secret").decode()
    answer = lambda request: Reply() if request.headers.get("authorization") == right else wants('Basic realm="x"')  # noqa: E731
    with scripted(answer) as script:
        with client(script) as registry:
            registry.ping()
            registry.ping()
            assert len(script.requests) == 3  # fetched once, then used again
        for auth in (Login("me", "wrong"), Login()):
            with client(script, auth) as registry, pytest.raises(Unauthorized):
                registry.ping()
    assert len(script.requests) == 3 + 2 + 1


def test_a_token_is_fetched_once_for_each_scope() -> None:
    service = Service()
    with scripted(service) as service.script, client(service.script) as registry:
        for _ in range(3):
            assert registry.tags("app") == ("1",)
        registry.tags("other")
    assert [each.query["scope"] for each in service.tokens] == [
        ["repository:app:pull"],
        ["repository:other:pull", "repository:app:pull"],
    ]
    assert service.tokens[0].query["service"] == ["here"]
    assert service.tokens[0].query["account"] == ["me"]
    assert base64.b64decode(service.tokens[0].headers["authorization"].removeprefix("Basic ")) == b"me:secret"


def test_nobody_gets_a_token_for_nobody() -> None:
    service = Service()
    with scripted(service) as service.script, client(service.script, Login()) as registry:
        registry.tags("app")
    assert "authorization" not in service.tokens[0].headers
    assert "account" not in service.tokens[0].query


def test_a_token_that_has_expired_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    clock = [1000.0]
    monkeypatch.setattr(module, "time", type("Clock", (), {"monotonic": staticmethod(lambda: clock[0])}))
    with scripted(service) as service.script, client(service.script) as registry:
        registry.tags("app")
        clock[0] += 49  # a token without a lifetime lives for a minute, and is not used in its last seconds
        registry.tags("app")
        assert service.count == 1
        clock[0] += 2
        registry.tags("app")
        assert service.count == 2


def test_an_identity_token_is_exchanged() -> None:
    service = Service(access_token="t-from-oauth2", expires_in=100)
    with scripted(service) as service.script, client(service.script, Login(identity_token="long lived&=")) as registry:
        registry.tags("app")
    (asked,) = service.tokens
    assert asked.method == "POST"
    form = Request("", "?" + asked.body.decode(), {}).query
    assert (form["grant_type"], form["refresh_token"], form["scope"]) == (["refresh_token"], ["long lived&="], ["repository:app:pull"])
    assert "authorization" not in asked.headers


def test_a_registry_token_is_shown_as_it_is() -> None:
    service = Service()
    with scripted(service) as service.script:
        with client(service.script, Login(registry_token="t-own")) as registry:
            registry.tags("app")
        with client(service.script, Login(registry_token="expired")) as registry, pytest.raises(Unauthorized):
            registry.tags("app")
    assert service.tokens == []


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_token_service_that_refuses_the_credentials(status: int) -> None:
    service = Service()
    service.status = status
    with scripted(service) as service.script, client(service.script) as registry, pytest.raises(Unauthorized):
        registry.tags("app")
    assert service.count == 1


@pytest.mark.parametrize("token", [{"token": 7}, {"x": "y"}, {"token": "a b"}, {"token": "t\r\nX: y"}, {"token": "t1", "expires_in": "1"}])
def test_a_malformed_token_is_refused(token: dict[str, Any]) -> None:
    service = Service(**token)
    with scripted(service) as service.script, client(service.script) as registry, pytest.raises(ProtocolError):
        registry.tags("app")


def test_a_token_that_is_not_taken_is_not_asked_for_for_ever() -> None:
    service = Service(token="useless")
    with scripted(service) as service.script, client(service.script) as registry, pytest.raises(Unauthorized):
        registry.tags("app")
    assert service.count <= 2


@pytest.mark.parametrize("realm", ["ftp://127.0.0.1/", "http://", "nonsense with spaces", "http://me:x@127.0.0.1/"])
def test_a_malformed_realm_is_refused(realm: str) -> None:
    with scripted(lambda request: wants(f'Bearer realm="{realm}"')) as script, client(script) as registry, pytest.raises(ProtocolError):
        registry.ping()


@pytest.mark.parametrize("auth", [ME, Login(identity_token="refresh")])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_the_token_service_gets_no_password(auth: Login, status: int) -> None:
    with scripted(lambda request: Reply(body=b'{"token": "t"}')) as other:

        def answer(request: Request) -> Reply:
            if request.place == "/token":
                return Reply(status, headers={"Location": f"http://{other.host}/elsewhere"})
            return Reply() if "authorization" in request.headers else wants(f'Bearer realm="http://{script.host}/token"')

        with scripted(answer) as script, client(script, auth) as registry:
            if auth is ME:
                registry.ping()
            else:  # the form holds the password
                with pytest.raises(ProtocolError, match=str(status)):
                    registry.ping()
    assert other.asked() == (["GET /elsewhere"] if auth is ME else [])
    assert not any("authorization" in each.headers or each.body for each in other.requests)


@pytest.mark.parametrize("auth", [ME, Login(identity_token="refresh")])
def test_a_token_service_may_redirect_to_its_own_origin(auth: Login) -> None:
    def answer(request: Request) -> Reply:
        if request.place == "/token":
            return Reply(308, headers={"Location": "/elsewhere"})
        if request.place == "/elsewhere":
            known = "authorization" in request.headers or b"refresh" in request.body
            return Reply(200 if known else 401, b'{"token": "t"}')
        return Reply() if "authorization" in request.headers else wants(f'Bearer realm="http://{script.host}/token"')

    with scripted(answer) as script, client(script, auth) as registry:
        registry.ping()
    assert "/elsewhere" in [each.place for each in script.requests]


def test_a_token_service_that_accepts_only_forms() -> None:
    """A token service that refuses GET gets name and password in a form, as OAuth2 has it."""

    def answer(request: Request) -> Reply:
        if request.place == "/token":
            if request.method == "GET":
                return Reply(405)
            form = parse_qs(request.body.decode())
            assert (form["grant_type"], form["username"], form["password"]) == (["password"], ["me"], ["secret"])
            return Reply(body=b'{"access_token": "t"}')
        return Reply() if "authorization" in request.headers else wants(f'Bearer realm="http://{script.host}/token",service="s"')

    with scripted(answer) as script, client(script) as registry:
        registry.ping()


def test_secrets_are_not_shown() -> None:
    shown = repr(Login("me", "secret1", "secret2", "secret3"))
    assert "secret" not in shown
    assert "me" in shown
