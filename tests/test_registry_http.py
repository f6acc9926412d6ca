"""A client against a hostile or failing registry, over real sockets: errors, silence, cuts, redirects."""

from __future__ import annotations

import base64
import email.utils
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest
from registries import Reply, Request, certificate, scripted, web_server

import containerkit as ck
from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
from containerkit.image.errors import InvalidReference, LimitExceeded, Mismatch, Missing, Unsupported
from containerkit.image.manifest import Manifest
from containerkit.image.media import OCI_INDEX, OCI_MANIFEST
from containerkit.registry import Login, Registry, Retries, Timeouts
from containerkit.registry.errors import (
    Absent,
    CredentialsError,
    Denied,
    NotFound,
    ProtocolError,
    Refused,
    ServerError,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    Unreachable,
    Untrusted,
)
from containerkit.registry.patience import seconds_after

DATA = bytes(range(256)) * 4000
BLOB = Descriptor.of(DATA, "application/octet-stream")
SMALL = Manifest(BLOB, ()).data
QUICK = Retries(attempts=3, first=0.01, longest=2)
SHORT = Timeouts(connect=5, read=0.5, commit=1, window=0.4, speed=10_000)
SECRET = Login("me", "secret")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def client(host: str, **options: Any) -> Registry:
    return Registry(host, **{"plain_http": True, "retries": QUICK, "timeouts": SHORT, "auth": Login()} | options)


def fetched(registry: Registry) -> bytes:
    with registry.blobs("app").open(BLOB) as stream:
        return stream.read()


def one_by_one(*replies: Reply) -> Callable[[Request], Reply]:
    """Give one reply for each request, and the last one for all that follow."""
    left: Iterator[Reply] = iter(replies)
    lock = threading.Lock()

    def answer(request: Request) -> Reply:
        with lock:
            return next(left, replies[-1])

    return answer


# --- failures that pass -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_a_passing_error_is_retried(status: int) -> None:
    with scripted(one_by_one(Reply(status), Reply(status), Reply(body=DATA))) as script, client(script.host) as registry:
        assert fetched(registry) == DATA
        assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Refused), (401, Unauthorized), (403, Denied), (404, NotFound), (405, Refused), (501, ServerError)]
)
def test_a_lasting_error_is_not_retried(status: int, kind: type[Exception]) -> None:
    body = b'{"errors": [{"code": "SOME_CODE", "message": "because\\u001b[31m"}]}'
    with scripted(lambda request: Reply(status, body)) as script, client(script.host) as registry:
        with pytest.raises(kind, match=rf"{status} \(SOME_CODE: because\?\[31m\)") as caught:
            fetched(registry)
        assert len(script.requests) == 1
        assert caught.value.codes == {"SOME_CODE"}  # type: ignore[attr-defined]


def test_a_blob_that_is_not_there_is_missing_as_in_any_other_place() -> None:
    with scripted(lambda request: Reply(404)) as script, client(script.host) as registry, pytest.raises(Missing):
        registry.blobs("app").open(BLOB)


@pytest.mark.parametrize(("status", "kind"), [(503, ServerError), (429, TooManyRequests)])
def test_retries_end(status: int, kind: type[Exception]) -> None:
    with scripted(lambda request: Reply(status)) as script, client(script.host) as registry:
        with pytest.raises(kind):
            registry.ping()
        assert len(script.requests) == 1 + QUICK.attempts


@pytest.mark.parametrize("as_date", [False, True])
def test_a_registry_is_waited_for_as_long_as_it_says(as_date: bool) -> None:
    def answer(request: Request) -> Reply:
        if len(script.requests) > 1:
            return Reply()
        said = email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "1"
        return Reply(429, headers={"Retry-After": said})

    with scripted(answer) as script, client(script.host) as registry:
        started = time.monotonic()
        registry.ping()
        assert 0.7 < time.monotonic() - started < 4


def test_a_registry_that_says_to_wait_too_long_is_not_waited_for() -> None:
    with scripted(lambda request: Reply(429, headers={"Retry-After": "3600"})) as script, client(script.host) as registry:
        started = time.monotonic()
        with pytest.raises(TooManyRequests) as caught:
            registry.ping()
        assert caught.value.after == 3600
        assert time.monotonic() - started < 1
        assert len(script.requests) == 1


@pytest.mark.parametrize(("text", "seconds"), [("7", 7), (" 0 ", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("-1", None), ("soon", None)])
def test_retry_after(text: str, seconds: float | None) -> None:
    assert seconds_after(text) == seconds


@pytest.mark.parametrize("plain_http", [True, None])
def test_an_absent_host_is_reported_at_once(plain_http: bool | None) -> None:
    with scripted(lambda request: Reply()) as script:
        host = script.host
    with client(host, retries=Retries(), plain_http=plain_http) as registry:
        quickly(registry.ping, Absent, 0.4)


# --- connections that are cut ------------------------------------------------------------------------------------


def ranged(request: Request, **more: Any) -> Reply:
    """Serve a blob, or the requested part of it."""
    if "range" not in request.headers:
        return Reply(body=DATA, **more)
    start = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
    return Reply(206, DATA[start:], {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}, **more)


def test_a_cut_connection_is_taken_up_where_it_was() -> None:
    cuts = iter([300_000, 200_000, None])
    with scripted(lambda request: ranged(request, cut=next(cuts))) as script, client(script.host) as registry:
        assert fetched(registry) == DATA
    assert [each.headers.get("range") for each in script.requests] == [None, "bytes=300000-", "bytes=500000-"]


def test_a_registry_without_ranges_is_asked_for_all_of_it_again() -> None:
    cuts = iter([300_000, 500_000, None])
    with scripted(lambda request: Reply(body=DATA, cut=next(cuts))) as script, client(script.host) as registry:
        assert fetched(registry) == DATA
    assert len(script.requests) == 3


def test_a_part_that_is_shorter_than_what_is_left_is_followed_by_another() -> None:
    """A server may send less than the requested range, if its header tells so."""

    def answer(request: Request) -> Reply:
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        if not start:
            return Reply(body=DATA, cut=1000)
        piece = DATA[start : start + 600_000]
        return Reply(206, piece, {"Content-Range": f"bytes {start}-{start + len(piece) - 1}/{len(DATA)}"})

    with scripted(answer) as script, client(script.host) as registry:
        assert fetched(registry) == DATA
        assert [each.headers.get("range") for each in script.requests] == [None, "bytes=1000-", "bytes=601000-"]


@pytest.mark.parametrize("lost", [1, QUICK.attempts])
def test_a_manifest_that_was_cut_is_asked_for_again(lost: int) -> None:
    cut = Reply(body=SMALL, headers={"Content-Type": OCI_MANIFEST}, cut=20)
    whole = Reply(body=SMALL, headers={"Content-Type": OCI_MANIFEST})
    with scripted(one_by_one(*[cut] * lost, whole)) as script, client(script.host) as registry:
        assert registry.manifest("app:1")[1] == SMALL
        assert len(script.requests) == lost + 1


def test_a_manifest_that_is_always_cut_is_an_error() -> None:
    with scripted(lambda request: Reply(body=SMALL, cut=20)) as script, client(script.host) as registry:
        with pytest.raises(Unreachable):
            registry.manifest("app:1")
        assert len(script.requests) == 1 + QUICK.attempts


def test_a_body_without_a_length_that_ends_early_was_cut() -> None:
    early = Reply(raw=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA[:1000])
    rest = Reply(206, DATA[1000:], {"Content-Range": f"bytes 1000-{len(DATA) - 1}/*"})
    with scripted(one_by_one(early, rest)) as script, client(script.host) as registry:
        assert fetched(registry) == DATA


def test_cuts_without_progress_end() -> None:
    with scripted(lambda request: ranged(request, cut=0)) as script, client(script.host) as registry:
        with pytest.raises(Unreachable):
            fetched(registry)
        assert len(script.requests) == 1 + QUICK.attempts


@pytest.mark.parametrize("said", ["", "bytes 0-9/1024000", "bytes 300001-1023999/1024000", "bytes 300000-1023999/7", "lines 1-2/3"])
def test_a_part_that_was_not_requested_is_refused(said: str) -> None:
    """The client requests the whole blob instead, even if that is cut once more."""
    cut = Reply(body=DATA, cut=300_000)
    replies = one_by_one(cut, Reply(206, DATA[300_000:], {"Content-Range": said}), Reply(body=DATA, cut=400_000), Reply(body=DATA))
    with scripted(replies) as script, client(script.host) as registry:
        assert fetched(registry) == DATA
        assert [each.headers.get("range") for each in script.requests] == [None, "bytes=300000-", None, None]


# --- bytes that are not the right ones ----------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1000, len(DATA) - 1])
def test_a_changed_byte_is_found(place: int) -> None:
    wrong = DATA[:place] + bytes([DATA[place] ^ 1]) + DATA[place + 1 :]
    with scripted(lambda request: Reply(body=wrong)) as script, client(script.host) as registry, pytest.raises(Mismatch, match="digest"):
        fetched(registry)


def test_a_blob_that_changes_between_two_parts_is_found() -> None:
    replies = one_by_one(Reply(body=DATA, cut=300_000), Reply(206, bytes(len(DATA) - 300_000), {"Content-Range": "bytes 300000-1023999/*"}))
    with scripted(replies) as script, client(script.host) as registry, pytest.raises(Mismatch, match="digest"):
        fetched(registry)


@pytest.mark.parametrize("body", [DATA + b"x", DATA[:-1], b""])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_wrong_size_is_found(body: bytes, chunked: bool) -> None:
    stream = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + stream + b"0\r\n\r\n" if chunked else None
    with scripted(lambda request: Reply(body=body, raw=raw)) as script, client(script.host) as registry:
        with pytest.raises(Mismatch, match="size"):
            fetched(registry)
        assert len(script.requests) == 1


MANIFEST = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
TYPE = "application/vnd.oci.image.index.v1+json"


def manifest(headers: dict[str, str] | None = None, body: bytes = MANIFEST, tag: str = "app:1") -> tuple[Descriptor, bytes]:
    with scripted(lambda request: Reply(body=body, headers=headers or {})) as script, client(script.host) as registry:
        return registry.manifest(tag)


@pytest.mark.parametrize("said", [TYPE, f"{TYPE}; charset=utf-8", "application/json", "", TYPE.upper()])
def test_a_manifest_is_what_header_and_bytes_say(said: str) -> None:
    assert manifest({"Content-Type": said}) == (Descriptor.of(MANIFEST, TYPE), MANIFEST)


def test_a_manifest_with_another_digest() -> None:
    with pytest.raises(Mismatch, match="digest"):
        manifest({"Docker-Content-Digest": Digest.of(b"other")})
    with pytest.raises(Mismatch, match="digest"):
        manifest(tag=f"app@{Digest.of(b'other')}")
    with pytest.raises(ProtocolError, match="not a digest"):
        manifest({"Docker-Content-Digest": "nonsense"})
    long = Digest.of(MANIFEST, "sha512")
    assert manifest({"Docker-Content-Digest": long})[0].digest == long


def test_what_is_no_manifest_is_refused() -> None:
    with pytest.raises(Unsupported, match="schema 1"):
        manifest({"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws"})
    with pytest.raises(Unsupported, match="schema 1"):
        manifest(body=b'{"schemaVersion":1,"fsLayers":[]}')
    with pytest.raises(Unsupported, match="no manifest"):
        manifest({"Content-Type": "text/html"})
    with pytest.raises(LimitExceeded):
        manifest(body=b" " * ((4 << 20) + 1))
    endless = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * (5 << 20)
    with scripted(lambda request: Reply(raw=endless)) as script, client(script.host) as registry, pytest.raises(LimitExceeded):
        registry.manifest("app:1")


# --- redirects ----------------------------------------------------------------------------------------------------


def leading(where: Callable[[], str], status: int = 307) -> Callable[[Request], Reply]:
    """A registry that demands a password, then redirects to another host."""

    def answer(request: Request) -> Reply:
        if "authorization" not in request.headers:
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return Reply(status, headers={"Location": where()})

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_only_the_registry_gets_the_password(status: int, address: str) -> None:
    with scripted(ranged, address=address) as other:
        first = scripted(leading(lambda: f"http://{other.host}/there?signature=1", status))
        with first as script, client(script.host, auth=SECRET) as registry:
            assert fetched(registry) == DATA
    assert [each.path for each in other.requests] == ["/there?signature=1"]
    assert "authorization" not in other.requests[0].headers


def test_a_redirect_to_the_registry_itself_gets_the_password() -> None:
    def answer(request: Request) -> Reply:
        return Reply(body=DATA) if request.place == "/there" else leading(lambda: "/there")(request)

    with scripted(answer) as script, client(script.host, auth=SECRET) as registry:
        assert fetched(registry) == DATA
    assert [("authorization" in each.headers) for each in script.requests] == [False, True, True]


def test_a_redirect_target_that_demands_a_password_gets_none() -> None:
    wants = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with (
        scripted(lambda request: wants) as other,
        scripted(lambda request: Reply(307, headers={"Location": f"http://{other.host}/"})) as script,
        client(script.host, auth=SECRET) as registry,
        pytest.raises(Unauthorized),
    ):
        fetched(registry)
    assert all("authorization" not in each.headers for each in (*other.requests, *script.requests))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404),
        Reply(body=DATA, cut=10),
        Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n" + DATA[:10]),
        Reply(raw=b"nonsense\r\n\r\n"),
        Reply(302, headers={"Location": "ftp://example.com/?Signature=hidden"}),
        Reply(302, headers={"Location": "http://example.com/?Signature=hidden"}),
        Reply(302, headers={"Location": "https://me:hidden@example.com/"}),
    ],
)
def test_errors_do_not_show_passwords_or_signatures(reply: Reply) -> None:
    """The query of a signed URL is as good as a password until it expires."""
    answer = lambda request: reply if request.query else Reply(307, headers={"Location": "/there?Signature=hidden"})  # noqa: E731
    with scripted(answer) as script, Registry(script.host, retries=Retries(1, first=0.01), timeouts=SHORT) as registry:
        with pytest.raises((ck.RegistryError, Missing)) as caught:
            fetched(registry)
        assert "hidden" not in str(caught.value)


def test_a_circle_of_redirects_ends() -> None:
    with scripted(lambda request: Reply(307, headers={"Location": request.path})) as script, client(script.host) as registry:
        with pytest.raises(ProtocolError, match="more than 5 redirects"):
            fetched(registry)
        assert len(script.requests) == 6


@pytest.mark.parametrize(
    "location", ["", "ftp://127.0.0.1/", "file:///etc/passwd", "http://me:secret@127.0.0.1/", "http://127.0.0.1:99999/", "http://a b/"]
)
def test_malformed_redirects_are_refused(location: str) -> None:
    with scripted(lambda request: Reply(307, headers={"Location": location})) as script, client(script.host) as registry:
        with pytest.raises(ProtocolError):
            fetched(registry)
        assert len(script.requests) == 1


def test_a_registry_on_this_machine_leads_to_no_plain_http_elsewhere() -> None:
    with (
        scripted(lambda request: Reply(307, headers={"Location": "http://192.0.2.1/blob"})) as script,
        client(script.host, plain_http=None) as registry,
        pytest.raises(ProtocolError, match="not safe"),
    ):
        fetched(registry)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    ca, made, key = certificate(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return ca, context


def test_tls_never_leads_to_plain_http(authority: tuple[Path, ssl.SSLContext]) -> None:
    ca, context = authority
    with (
        scripted(ranged) as plain,
        scripted(leading(lambda: f"http://{plain.host}/there"), context=context) as script,
        client(script.host, plain_http=None, ca=ca, auth=SECRET) as registry,
        pytest.raises(ProtocolError, match="not safe"),
    ):
        fetched(registry)
    assert plain.requests == []


def test_tokens_are_not_fetched_over_plain_http_for_a_registry_with_tls(authority: tuple[Path, ssl.SSLContext]) -> None:
    ca, context = authority
    realm = 'Bearer realm="http://127.0.0.1:1/token"'
    with (
        scripted(lambda request: Reply(401, headers={"WWW-Authenticate": realm}), context=context) as script,
        client(script.host, plain_http=None, ca=ca, auth=SECRET) as registry,
        pytest.raises(ProtocolError, match="not safe"),
    ):
        registry.ping()


def test_certificates_count(authority: tuple[Path, ssl.SSLContext]) -> None:
    ca, context = authority
    with scripted(lambda request: Reply(), context=context) as script:
        for options in ({}, {"plain_http": None}):  # a registry on this machine does not fall back to http either
            with client(script.host, **{"plain_http": False} | options) as registry, pytest.raises(Untrusted):
                registry.ping()
        assert script.requests == []
        for options in ({"ca": ca}, {"verify": False}):
            with client(script.host, plain_http=False, **options) as registry:
                registry.ping()
        with client(script.host.replace("127.0.0.1", "localhost"), plain_http=None, ca=ca) as registry:
            registry.ping()


def test_a_certificate_that_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    """The client does not fall back to a connection without TLS."""
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for place in (tmp_path / "none.pem", broken):
        with scripted(ranged) as script, Registry(script.host, ca=place, timeouts=SHORT) as registry:
            quickly(lambda registry=registry: fetched(registry), CredentialsError, 1)  # type: ignore[misc]
            assert script.requests == []
        with Registry("registry.invalid", ca=place) as registry:
            assert str(place) in str(quickly(lambda registry=registry: fetched(registry), CredentialsError, 1))  # type: ignore[misc]


def test_who_asks() -> None:
    with scripted(lambda request: Reply()) as script, client(script.host) as registry:
        registry.ping()
    (asked,) = script.requests
    assert asked.headers["user-agent"] == f"containerkit/{ck.__version__}"
    assert asked.headers["accept-encoding"] == "identity"


# --- plain http ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["example.com", "10.0.0.1:5000", "127.example.com", "localhost.example.com:80"])
def test_plain_http_only_when_said(host: str) -> None:
    with Registry(host) as registry:
        assert registry.endpoint.base == f"https://{host}"
    with Registry(host, plain_http=True) as registry:
        assert registry.endpoint.base == f"http://{host}"


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    """The C library would read 99999 as 34463, and no port as port 80."""
    with pytest.raises(InvalidReference, match="port"):
        Registry(f"127.0.0.1:{port}")
    with pytest.raises(InvalidReference, match="port"):
        Registry("example.com", mirrors=[f"http://127.0.0.1:{port}/hub"])


def test_a_host_that_cannot_be_is_said_at_once() -> None:
    with Registry("x" * 64 + ".example", retries=Retries(5, first=30)) as registry:
        quickly(registry.ping, Absent)


def test_on_this_machine_http_is_tried_when_there_is_no_tls() -> None:
    with scripted(lambda request: Reply()) as script:
        with client(script.host, plain_http=None) as registry:
            registry.ping()
            assert registry.endpoint.base == f"http://{script.host}"
        with client(script.host, plain_http=False) as registry, pytest.raises(Unreachable):
            registry.ping()


def test_docker_hub_is_reached_at_its_registry_host() -> None:
    with Registry("docker.io") as registry:
        assert registry.endpoint.base == "https://registry-1.docker.io"
        assert registry.reference("nginx").name == "docker.io/library/nginx"


# --- patience -----------------------------------------------------------------------------------------------------


def quickly(action: Callable[[], object], kind: type[Exception], seconds: float = 4) -> Exception:
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        action()
    assert time.monotonic() - started < seconds
    return caught.value


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(before=30), Unreachable),
        (Reply(body=DATA, pause=0.02), TooSlow),
        (Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000, pause=0.02), TooSlow),
        (Reply(raw=CHUNKED + b"1;" + b"x" * 1000, pause=0.02), TooSlow),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * (1 << 20)), ProtocolError),
        (Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000), ProtocolError),
        (Reply(raw=b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000), ProtocolError),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nX-A: b"), Unreachable),
        (Reply(raw=b"no HTTP at all\r\n\r\n"), ProtocolError),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), ProtocolError),
    ],
    ids=[
        "silence",
        "drip",
        "dripping headers",
        "dripping chunks",
        "long header",
        "many headers",
        "continue",
        "cut headers",
        "nonsense",
        "length",
    ],
)
def test_an_endless_answer_is_cut_off(reply: Reply, kind: type[Exception]) -> None:
    with scripted(lambda request: reply) as script, client(script.host, retries=Retries(0)) as registry:
        quickly(lambda: fetched(registry), kind)


@pytest.mark.parametrize("status", [200, 404])
def test_trailers_end(status: int) -> None:
    """Headers after the body, which the client does not read, at full speed and without end."""
    trailers = b"X-A: b\r\n" * 10_000

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(CHUNKED.replace(b"200", b"%d" % status) + b"1\r\nx\r\n0\r\n")
            while True:
                self.wfile.write(trailers)

        def log_message(self, *args: object) -> None: ...

    with web_server(Endless) as host, client(host, retries=Retries(0)) as registry:
        quickly(lambda: fetched(registry), NotFound if status == 404 else ProtocolError)


def test_a_slow_reader_is_not_blamed_on_the_registry() -> None:
    with scripted(ranged) as script, client(script.host) as registry, registry.blobs("app").open(BLOB) as stream:
        found = stream.read(1000)
        time.sleep(0.6)
        assert found + stream.read() == DATA
    assert len(script.requests) == 1


# --- proxies ------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_a_proxy_is_asked(no_proxies: pytest.MonkeyPatch) -> None:
    with scripted(ranged) as script:
        no_proxies.setenv("HTTP_PROXY", f"http://me:p%40ss@{script.host}")
        with client("registry.invalid") as registry:
            assert fetched(registry) == DATA
        asked = script.requests.pop()
        assert asked.path == f"http://registry.invalid/v2/app/blobs/{BLOB.digest}"
        assert asked.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()
        no_proxies.setenv("NO_PROXY", "other.invalid,.invalid")
        with client("registry.invalid") as registry, pytest.raises(Absent):
            fetched(registry)
        no_proxies.setenv("NO_PROXY", "")
        with client(script.host) as registry:
            assert fetched(registry) == DATA
        assert script.requests.pop().path.startswith("/v2/")  # this machine is reached without the proxy
        no_proxies.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
        with client("registry.invalid") as registry, pytest.raises(ProtocolError, match="socks5"):
            fetched(registry)


class Relay(BaseHTTPRequestHandler):
    """A proxy that connects every client to one address."""

    place: tuple[str, int]
    asked: ClassVar[list[str]] = []

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(self.place) as there:
            while True:
                for ready in select.select([there, self.connection], [], [])[0]:
                    if not (data := ready.recv(65536)):
                        return
                    (self.connection if ready is there else there).sendall(data)

    def log_message(self, *args: object) -> None: ...


def test_tls_goes_through_a_proxy_untouched(no_proxies: pytest.MonkeyPatch, authority: tuple[Path, ssl.SSLContext]) -> None:
    with scripted(ranged, context=authority[1]) as script, web_server(Relay) as proxy:
        Relay.place = ("127.0.0.1", int(script.host.rpartition(":")[2]))
        no_proxies.setenv("https_proxy", proxy)
        with client("registry.invalid", plain_http=None, verify=False) as registry:
            assert fetched(registry) == DATA
        with client("registry.invalid", plain_http=None) as registry, pytest.raises(Untrusted):
            fetched(registry)
    assert set(Relay.asked) == {"registry.invalid:443"}
    assert len(script.requests) == 1


# --- mirrors ------------------------------------------------------------------------------------------------------


def test_mirrors_come_first_and_see_no_password_of_others() -> None:
    wants = {"WWW-Authenticate": 'Basic realm="x"'}
    with scripted(lambda request: Reply(401, headers=wants)) as one, scripted(lambda request: Reply(500)) as two, scripted(ranged) as own:
        mirrors = (f"http://{one.host}", f"http://{two.host}/hub")
        with client(own.host, mirrors=mirrors, auth=SECRET) as registry:
            assert fetched(registry) == DATA
    assert one.asked() == [f"GET /v2/app/blobs/{BLOB.digest}"]
    assert two.asked() == [f"GET /v2/hub/app/blobs/{BLOB.digest}"] * (1 + QUICK.attempts)
    assert all("authorization" not in each.headers for each in (*one.requests, *two.requests))


def test_a_mirror_that_lies_is_passed_over() -> None:
    with (
        scripted(lambda request: Reply(body=b"x")) as mirror,
        scripted(ranged) as own,
        client(own.host, mirrors=[f"http://{mirror.host}"]) as registry,
    ):
        assert fetched(registry) == DATA


def test_the_registry_finishes_a_blob_that_a_mirror_began() -> None:
    cuts = iter([500_000])
    with (
        scripted(lambda request: ranged(request, cut=next(cuts, 0))) as mirror,
        scripted(ranged) as own,
        client(own.host, mirrors=[f"http://{mirror.host}"]) as registry,
    ):
        assert fetched(registry) == DATA
    assert own.requests[0].headers["range"] == "bytes=500000-"


def test_an_empty_mirror_does_not_answer_for_the_registry() -> None:
    """Mirrors keep manifests that were requested before, and seldom their referrers."""
    digest = Digest.of(b"x")
    referrer = {"mediaType": OCI_MANIFEST, "size": 1, "digest": str(digest), "artifactType": "a/b"}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [referrer]}

    def own_answer(request: Request) -> Reply:
        if "referrers" in request.path:
            return Reply(body=json.dumps(index).encode(), headers={"Content-Type": OCI_INDEX})
        return Reply(headers={"Docker-Content-Digest": digest})

    with (
        scripted(lambda request: Reply(404)) as mirror,
        scripted(own_answer) as own,
        client(own.host, mirrors=[f"http://{mirror.host}"]) as registry,
    ):
        assert registry.resolve("app:1") == digest
        assert [each.digest for each in registry.referrers(f"app@{digest}")] == [digest]
    assert mirror.requests


def test_a_mirror_is_enough() -> None:
    with scripted(ranged) as mirror, client("registry.invalid", plain_http=None, mirrors=[f"http://{mirror.host}"]) as registry:
        assert fetched(registry) == DATA
