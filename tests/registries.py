"""Registries to test against: the real one, with and without passwords and TLS, and a service that gives tokens for it.

with serving(tmp_path) as server:                       docker-registry on 127.0.0.1
with serving(tmp_path, auth="basic", tls=True) as server:
with serving(tmp_path, auth="token") as server:         tokens signed with a real key
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest
from peertools import tool

USER, PASSWORD = "tester", "correct horse"
HASH = "$2b$05$rDBGjPkGCKKfkt1eWZN8YummXtLgIxvL8tIEt0ZiG/1M6wo6Qq/Oa"  # bcrypt of PASSWORD
SECONDS = 15.0
ISSUER, SERVICE = "test-issuer", "test-service"


@dataclass
class Server:
    """A running registry.

    :ivar host: with its port, as in a reference
    :ivar ca: the certificate to trust; None without TLS
    :ivar log: the registry's output
    """

    host: str
    ca: Path | None = None
    log: Path = Path()
    directory: Path = Path()
    tokens: Tokens | None = None
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def scheme(self) -> str:
        return "https" if self.ca else "http"

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of `Registry` for this server."""
        found: dict[str, Any] = {"ca": self.ca} if self.ca else {"plain_http": True}
        return found | ({"auth": (self.username, self.password)} if self.username else {})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def certificate(directory: Path) -> tuple[Path, Path, Path]:
    """Make an authority, and a certificate signed by it for 127.0.0.1 and localhost: (ca, certificate, key)."""
    openssl = tool("openssl")
    ca, ca_key, request = directory / "ca.pem", directory / "ca.key", directory / "server.csr"
    made, key, names = directory / "server.pem", directory / "server.key", directory / "names"
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    for command in (
        [*new, "-x509", "-days", "30", "-subj", "/CN=test authority", *usage, "-keyout", ca_key, "-out", ca],
        [*new, "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", request],
        ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "30", "-extfile", names, "-out", made],
    ):
        subprocess.run([openssl, *map(str, command)], check=True, capture_output=True, timeout=60)
    return ca, made, key


@contextlib.contextmanager
def serving(directory: Path, *, auth: Literal["basic", "token"] | None = None, tls: bool = False, delete: bool = True) -> Iterator[Server]:
    """Run docker-registry with its storage in a directory.

    :param auth: "basic" demands USER and PASSWORD, "token" a token of the service in `server.tokens`
    :param tls: use a certificate of an authority of its own
    :param delete: whether manifests and blobs may be deleted
    """
    program = tool("docker-registry")
    directory.mkdir(exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    server = Server(host, log=directory / "registry.log", directory=directory / "data")
    http: dict[str, Any] = {"addr": host, "secret": "test"}
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {
            "filesystem": {"rootdirectory": str(server.directory)},
            "delete": {"enabled": delete},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": http,
    }
    with contextlib.ExitStack() as stack:
        if tls:
            server.ca, made, key = certificate(directory)
            http["tls"] = {"certificate": str(made), "key": str(key)}
        if auth:
            server.username, server.password = USER, PASSWORD
        if auth == "basic":
            (directory / "htpasswd").write_text(f"{USER}:{HASH}\n")
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
        if auth == "token":
            server.tokens = stack.enter_context(token_service(directory))
            bundle = str(server.tokens.certificate)
            config["auth"] = {"token": {"realm": server.tokens.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}}
        (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        with open(server.log, "wb") as log:
            settings = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}  # docker-registry reads YAML
            command = [program, "serve", str(directory / "config.yml")]
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=settings)
        stack.callback(_stop, process)
        _wait(server, process)
        yield server


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    host, _, port = server.host.rpartition(":")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.02)
    pytest.fail(f"docker-registry did not start: {server.log.read_text()[-2000:]}")


# Tokens ---------------------------------------------------------------------------------------------------------


@dataclass
class Tokens:
    """A token service.

    :ivar realm: its URL
    :ivar asked: its requests: method, and the parameters
    :ivar refresh: the identity token that it accepts
    :ivar lifetime: seconds of a token
    """

    realm: str
    certificate: Path
    key: Path
    refresh: str = "an-identity-token"
    lifetime: int = 300
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)

    def token(self, account: str, scopes: list[str]) -> str:
        """Make a JSON web token that allows the requested access.  :see: rfc7519"""
        access = []
        for scope in " ".join(scopes).split():
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        der = subprocess.run(
            [tool("openssl"), "x509", "-in", str(self.certificate), "-outform", "DER"], check=True, capture_output=True
        ).stdout
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {
            "iss": ISSUER,
            "sub": account,
            "aud": SERVICE,
            "exp": now + self.lifetime,
            "nbf": now - 10,
            "iat": now,
            "jti": str(now),
            "access": access,
        }
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        sign = [tool("openssl"), "dgst", "-sha256", "-sign", str(self.key)]
        return signed + "." + _base64url(subprocess.run(sign, input=signed.encode(), check=True, capture_output=True).stdout)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def token_service(directory: Path) -> Iterator[Tokens]:
    """Issues tokens: by GET for USER and PASSWORD, by POST for an identity token."""
    key, made = directory / "token.key", directory / "token.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=test tokens", "-keyout", key, "-out", made]
    subprocess.run([tool("openssl"), *map(str, request)], check=True, capture_output=True, timeout=60)
    tokens = Tokens("", made, key)
    password = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            tokens.asked.append(("GET", asked))
            self.answer(asked, "token", self.headers.get("Authorization") == password)

        def do_POST(self) -> None:
            asked = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            tokens.asked.append(("POST", asked))
            good = asked.get("grant_type") == ["refresh_token"] and asked.get("refresh_token") == [tokens.refresh]
            self.answer(asked, "access_token", good)

        def answer(self, asked: dict[str, list[str]], name: str, good: bool) -> None:
            found = {name: tokens.token(USER, asked.get("scope", [])), "expires_in": tokens.lifetime} if good else {"error": "no"}
            body = json.dumps(found).encode()
            self.send_response(200 if good else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    with web_server(Handler) as host:
        tokens.realm = f"http://{host}/token"
        yield tokens


class _Server(ThreadingHTTPServer):
    """Keeps a list of its connections, so that closing it does not wait for those that a client keeps open."""

    daemon_threads = False  # closing the server waits for its threads
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None: ...


@contextlib.contextmanager
def web_server(
    handler: type[BaseHTTPRequestHandler], *, address: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Yield host and port of an HTTP server in threads of this process.  None of its threads outlives it.

    :param context: for TLS
    """
    server = _Server((address, 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{address}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        for connection in list(server.connections):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        server.server_close()


# Scripts --------------------------------------------------------------------------------------------------------


@dataclass
class Request:
    """A request that a scripted server got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def place(self) -> str:
        return self.path.partition("?")[0]

    @property
    def query(self) -> dict[str, list[str]]:
        return urllib.parse.parse_qs(self.path.partition("?")[2])


@dataclass
class Reply:
    """A scripted answer.

    :ivar cut: bytes of the body to send before the connection is cut
    :ivar raw: bytes to send instead of all else, before the connection is closed
    :ivar pause: seconds between the bytes of the body, or of `raw`
    :ivar before: seconds before the answer begins
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    raw: bytes | None = None
    pause: float = 0.0
    before: float = 0.0


@dataclass
class Script:
    host: str
    requests: list[Request] = field(default_factory=list)

    def asked(self) -> list[str]:
        return [f"{each.method} {each.place}" for each in self.requests]


@contextlib.contextmanager
def scripted(answer: Callable[[Request], Reply], **options: Any) -> Iterator[Script]:
    """Yield a server whose answers a function returns.  Real sockets, real HTTP; `Script.requests` lists its requests."""
    script, over = Script(""), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            script.requests.append(request)
            found = answer(request)
            over.wait(found.before)
            if found.raw is not None:
                self.slowly(found.raw, found.pause)
                self.close_connection = True
                return
            self.send_response_only(found.status)
            headers = {"Content-Length": str(len(found.body)), **found.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.slowly(found.body[: found.cut], found.pause)
            self.close_connection = self.close_connection or found.cut is not None

        def slowly(self, data: bytes, pause: float) -> None:
            for piece in [data[at : at + 1] for at in range(len(data))] if pause else [data]:
                if over.wait(pause):
                    return
                self.wfile.write(piece)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = reply

        def log_message(self, *args: object) -> None: ...

    with web_server(Handler, **options) as script.host:
        try:
            yield script
        finally:
            over.set()
