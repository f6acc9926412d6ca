"""Registries that an attacker runs: small servers on a socket of their own, which say what no honest one would.

Whatever they do, pulling and pushing ends in time with an error that says what it is; the store is as it was; nobody but the
registry itself is shown who asks; no thread, no connection and no file is left.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from evil import content, file, restocked, stocked, tar
from registries import certificate
from sample_images import CONFIG, INDEX, LAYER, MANIFEST, Sample, base, descriptor, dumps, image_of, index_of, sha256, tar_of

from containerkit.image.errors import ImageError, InvalidDocument, LimitExceeded, Mismatch, Missing, Unsupported
from containerkit.image.platform import Platform
from containerkit.registry import Registries, Registry, Retries, Timeouts, _lists, copy, pull, push
from containerkit.registry.errors import (
    Denied,
    NotFound,
    ProtocolError,
    Refused,
    RegistryError,
    ServerError,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    Unreachable,
    Untrusted,
)
from containerkit.store.store import Store

# Python itself forgets a TLS socket whose other side is gone before the handshake
FORGOTTEN = pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
pytestmark = [pytest.mark.hostile, pytest.mark.timeout(20), FORGOTTEN]
pytest.importorskip("urllib3", reason="needs urllib3: pip install containerkit[registry]")

SECONDS = 8.0  # what one of them may take on a busy machine
IMAGE = Sample(base(), tar_of({"one": b"1" * 3000}), arch=Platform.here().architecture, Cmd=["sh"])
GOOD = Sample(base("good"), arch=Platform.here().architecture)
USER, PASSWORD = "somebody", "the password"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
USUAL = Timeouts(connect=3, read=3, commit=3, window=3)  # what no honest answer takes, also on a busy machine
QUICK = Timeouts(connect=0.3, read=0.2, commit=0.2, window=0.2, speed=1 << 20)
RETRIES = Retries(attempts=1, first=0.01, longest=0.05)
HURRY: dict[str, Any] = {"timeouts": QUICK, "retries": Retries(attempts=0)}  # for those that are waited for in vain
CHUNK = bytes(64 << 10)
OURS = "evil-registry"  # what threads of the servers are called


# A server -------------------------------------------------------------------------------------------------------


class Request(NamedTuple):
    """What somebody asked for."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def what(self) -> str:
        """Which kind of thing it is about."""
        path, _, _ = self.path.partition("?")
        if path in NAMES:
            return NAMES[path]
        kinds = {"/blobs/uploads/": "upload", "/manifests/": "manifest", "/blobs/": "blob", "/tags/list": "tags", "/_catalog": "catalog"}
        kinds |= {"/referrers/": "referrers", "/token": "token"}
        return next((kind for part, kind in kinds.items() if part in path), "ping" if path == "/v2/" else "")


class Line:
    """One connection."""

    def __init__(self, sock: Any, server: Server) -> None:
        self.sock, self.server = sock, server

    def send(self, *parts: bytes) -> None:
        self.sock.sendall(b"".join(parts))

    def answer(self, status: int = 200, body: bytes = b"", **headers: object) -> None:
        """A whole answer; `Content_Length=None` leaves a header out."""
        fields: dict[str, object] = {"Content-Length": len(body)} | {key.replace("_", "-"): value for key, value in headers.items()}
        self.send(head(status, fields), body)

    def drip(self, data: bytes, pause: float = 0.05) -> None:
        """A byte now and then."""
        for place in range(len(data)):
            self.send(data[place : place + 1])
            if self.server.stopped.wait(pause):
                return

    def forever(self, data: bytes) -> None:
        while not self.server.stopped.is_set():
            self.send(data)

    def hang(self) -> None:
        """Says nothing more until the other side goes away."""
        self.sock.settimeout(0.05)
        while not self.server.stopped.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.sock.recv(4096):
                    return

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.sock.close()
        raise ConnectionAbortedError


def head(status: int, fields: dict[str, object]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{key}: {value}" for key, value in fields.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


Answer = Callable[[Line, Request], object]


class Server:
    """Answers each request in its own way; what nobody thought of, as a registry with IMAGE in it does.

    :param answers: by what is asked for
    :param tls: certificate and key
    :param raw: what is done with a connection, instead of reading a request
    """

    def __init__(
        self, answers: dict[str, Answer] | None = None, tls: tuple[Path, ...] = (), raw: Answer | None = None, address: str = "127.0.0.1"
    ) -> None:
        self.answers, self.raw, self.requests = answers or {}, raw, list[Request]()
        self.stopped, self._threads, self._open = threading.Event(), list[threading.Thread](), set[Any]()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if self._context and tls:
            self._context.load_cert_chain(*tls)
        self._socket = socket.create_server((address, 0))
        self.host = f"{address}:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Server:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    @property
    def secrets(self) -> list[str]:
        """Whatever was shown to it that says who asks."""
        return [request.headers["authorization"] for request in self.requests if "authorization" in request.headers]

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name=OURS, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                self._open.add(sock)
                self._start(self._serve, sock)

    def _serve(self, plain: socket.socket) -> None:
        sock: Any = plain
        with contextlib.suppress(OSError, ValueError):
            if self._context:
                sock = self._context.wrap_socket(plain, server_side=True)
                self._open.add(sock)
            if self.raw:
                self.raw(Line(sock, self), Request("", "", {}))
            else:
                self._converse(sock)
        self._open -= {plain, sock}
        sock.close()

    def _converse(self, sock: Any) -> None:
        with sock.makefile("rb") as stream:
            while (request := received(stream)) and not self.stopped.is_set():
                self.requests.append(request)
                self.answers.get(request.what, honest)(Line(sock, self), request)


def received(stream: Any) -> Request | None:
    words = stream.readline().decode().split()
    if len(words) != 3:
        return None
    headers = {}
    while (line := stream.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    if "chunked" in headers.get("transfer-encoding", ""):
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
    return Request(words[0], words[1], headers, body)


REPOSITORY = "/v2/app"
NAMES = {f"{REPOSITORY}/manifests/1": "manifest", f"{REPOSITORY}/blobs/{sha256(IMAGE.config)}": "config"}
NAMES |= {f"{REPOSITORY}/blobs/{sha256(IMAGE.layers[0])}": "lower", f"{REPOSITORY}/blobs/{sha256(IMAGE.layers[1])}": "layer"}


def honest(line: Line, request: Request) -> None:
    """As a registry would answer."""
    blobs = {sha256(blob): blob for blob in IMAGE.blobs} | {"1": IMAGE.manifest}
    found = blobs.get(request.path.rpartition("/")[2])
    if found is None:
        line.answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]}')
        return
    kind = MANIFEST if "/manifests/" in request.path else "application/octet-stream"
    if request.method == "HEAD":
        line.send(head(200, {"Content-Length": len(found), "Content-Type": kind, "Docker-Content-Digest": sha256(found)}))
    else:
        line.answer(200, found, Content_Type=kind)


BLOBS = {"config": IMAGE.config, "layer": IMAGE.layers[1], "manifest": IMAGE.manifest}


# What they do ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evil:
    """One evil registry.

    :ivar answers: what it does when it is asked for something
    :ivar error: what it ends with
    :ivar do: what is asked of it
    """

    name: str
    answers: dict[str, Answer]
    error: type[Exception] | tuple[type[Exception], ...]
    do: str = "pull"
    raw: Answer | None = field(default=None, repr=False)
    options: dict[str, Any] = field(default_factory=dict)


def body(data: bytes, **headers: object) -> Answer:
    return lambda line, request: line.answer(200, data, **headers)


def flipped(data: bytes, place: float) -> bytes:
    at = min(int(len(data) * place), len(data) - 1)
    return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]


def lies() -> Iterator[Evil]:
    """Bytes that are not the promised ones, and numbers that are none."""
    for what in ("config", "layer"):
        data = BLOBS[what]
        for place in (0.0, 0.5, 1.0):
            yield Evil(f"{what}: another byte at {place}", {what: body(flipped(data, place))}, Mismatch)
        yield Evil(f"{what}: a byte less", {what: body(data[:-1])}, Mismatch)
        yield Evil(f"{what}: a byte more", {what: body(data + b"\0")}, Mismatch)
        yield Evil(f"{what}: nothing", {what: body(b"")}, Mismatch)
        yield Evil(f"{what}: cut short", {what: closes(head(200, {"Content-Length": len(data)}) + data[:-1])}, Unreachable)
        yield Evil(f"{what}: a byte less, in chunks", {what: chunked(data[:-1])}, Mismatch)
        yield Evil(f"{what}: a byte more, in chunks", {what: chunked(data + b"\0")}, Mismatch)
        yield Evil(f"{what}: of another image", {what: body(GOOD.config)}, Mismatch)
    wrong = flipped(IMAGE.manifest, 1.0)
    yield Evil("manifest: not that of the digest", {"manifest": honest, "blob": honest}, (Mismatch, NotFound), "pull by digest")
    yield Evil("manifest: said to be another", {"manifest": body(IMAGE.manifest, Docker_Content_Digest=sha256(wrong))}, Mismatch)
    yield Evil("manifest: said to be no digest", {"manifest": body(IMAGE.manifest, Docker_Content_Digest="sha256:../..")}, ProtocolError)
    yield Evil("manifest: cut short", {"manifest": closes(head(200, {"Content-Length": len(wrong) + 1}) + wrong)}, Unreachable)
    for length in ("-1", "1e3", "0x10", "9" * 30, "5, 6", "\u0665".encode().decode("latin-1"), ""):
        answers = {"manifest": body(IMAGE.manifest, Content_Length=length)}
        yield Evil(f"manifest: a Content-Length of {length[:20]!r}", answers, (RegistryError, ImageError))
    for what in ("manifest", "config"):
        for lie, sent in {
            "no number": b"zz\r\nxx", "minus": b"-5\r\nxx", "endless": b"f" * 16 + b"\r\nxx", "cut": b"ff\r\nxx",
            "digits without end": b"0" * 99_999,
            "nothing": b"", "no line after it": b"2\r\nxxxx2\r\n",
        }.items():  # fmt: skip
            yield Evil(f"{what} in chunks of {lie}", {what: chunks_of(sent)}, (Unreachable, ProtocolError, Mismatch, InvalidDocument))
    yield Evil("manifest packed, and a bomb", {"manifest": body(gzip.compress(bytes(64 << 20)), Content_Encoding="gzip")}, InvalidDocument)
    yield Evil("config packed", {"config": body(gzip.compress(IMAGE.config), Content_Encoding="gzip")}, Mismatch)


def chunked(data: bytes) -> Answer:
    def answer(line: Line, request: Request) -> None:
        line.send(head(200, {"Transfer-Encoding": "chunked"}), b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))

    return answer


def chunks_of(sent: bytes) -> Answer:
    def answer(line: Line, request: Request) -> None:
        line.send(head(200, {"Transfer-Encoding": "chunked", "Connection": "close"}), sent)
        line.close()

    return answer


def patience() -> Iterator[Evil]:
    """Silence, drips, and no end."""
    for what in ("manifest", "config", "layer"):
        data = BLOBS[what]
        start = head(200, {"Content-Length": len(data)})
        phases = {"before it answers": b"", "in the headers": start[:30], "after the headers": start, "in the body": start + data[:100]}
        for where, sent in phases.items():
            yield Evil(f"{what}: hangs {where}", {what: hangs(sent)}, Unreachable)
            yield Evil(f"{what}: closes {where}", {what: closes(sent)}, Unreachable)
        yield Evil(f"{what}: resets the connection", {what: lambda line, request: line.reset()}, Unreachable)
        yield Evil(
            f"{what}: drips headers", {what: lambda line, request, start=start: line.drip(start)}, (TooSlow, Unreachable), options=HURRY
        )
        yield Evil(f"{what}: drips", {what: drips(start, data)}, (TooSlow, Unreachable))
        yield Evil(f"{what}: never ends", {what: endless(200)}, (Mismatch, LimitExceeded, ProtocolError))
        yield Evil(f"{what}: never ends, in chunks", {what: endless(200, chunked=True)}, (Mismatch, LimitExceeded, ProtocolError))
    for number, error in ((404, NotFound), (403, Denied), (500, ServerError), (400, Refused)):
        yield Evil(f"an error {number} that never ends", {"manifest": endless(number)}, error)
    yield Evil("a redirect that never ends", {"manifest": endless(302, Location="/elsewhere")}, (NotFound, Unreachable))
    yield Evil("an error that drips", {"manifest": drips(head(500, {"Content-Length": 5000}), b"x" * 5000)}, (ServerError, Unreachable))
    yield Evil("tags that never end", {"tags": endless(200)}, (ProtocolError, LimitExceeded), "tags")
    yield Evil("a token that never ends", {"manifest": challenge(), "token": endless(200)}, (ProtocolError, LimitExceeded))
    yield Evil(
        "a layer of 1 EB that keeps coming", {"manifest": manifest_of(size=1 << 60), "layer": endless(200)}, (Mismatch, LimitExceeded)
    )
    large = {"manifest": manifest_of(size=1 << 60), "layer": endless(200)}
    yield Evil("a layer of 1 EB that nobody unpacks", large, LimitExceeded, "pull and no more")
    for said in ("315360000", "9" * 500, "Fri, 31 Dec 9999 23:59:59 GMT"):
        yield Evil(f"come back after {said[:20]}", {"manifest": status(429, Retry_After=said)}, TooManyRequests)
    for said in ("-5", "0", "soon", "1e9", "Thu, 01 Jan 1970 00:00:00 GMT", "Xxx, 99 Yyy 0000", "", "\xff"):
        yield Evil(f"come back after {said!r}, always", {"manifest": status(503, Retry_After=said)}, ServerError)
    yield Evil("429 for ever", {"manifest": status(429)}, TooManyRequests)
    yield Evil("blobs: 503 for ever", {"layer": status(503)}, ServerError)


def status(number: int, data: bytes = b"", **headers: object) -> Answer:
    return lambda line, request: line.answer(number, data, **headers)


def hangs(sent: bytes) -> Answer:
    def answer(line: Line, request: Request) -> None:
        line.send(sent)
        line.hang()
        line.close()

    return answer


def closes(sent: bytes) -> Answer:
    def answer(line: Line, request: Request) -> None:
        line.send(sent)
        line.close()

    return answer


def drips(start: bytes, data: bytes) -> Answer:
    def answer(line: Line, request: Request) -> None:
        line.send(start)
        line.drip(data)
        line.close()

    return answer


def endless(number: int, *, chunked: bool = False, **headers: object) -> Answer:
    def answer(line: Line, request: Request) -> None:
        line.send(head(number, {"Transfer-Encoding": "chunked" if chunked else None, **headers}))
        line.forever(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK) if chunked else CHUNK)

    return answer


def manifest_of(**change: Any) -> Answer:
    """The manifest with another descriptor of the topmost layer."""
    document = json.loads(IMAGE.manifest)
    document["layers"][-1] |= change
    return body(dumps(document), Content_Type=MANIFEST)


def headers() -> Iterator[Evil]:
    """What is no HTTP, or far too much of it."""
    ok = b"HTTP/1.1 200 OK\r\n"
    for name, sent in {
        "a header of 1 MB": ok + b"X: " + b"x" * (1 << 20) + b"\r\n\r\n", "100000 headers": ok + b"X: y\r\n" * 100_000 + b"\r\n",
        "500 headers": ok + b"X: y\r\n" * 500 + b"\r\n", "a status line of 1 MB": b"HTTP/1.1 200 " + b"x" * (1 << 20) + b"\r\n\r\n",
        "HTTP/0.9": b"{}", "a banner of ssh": b"SSH-2.0-OpenSSH_9.2p1\r\n", "zero bytes": bytes(5000),
        "HTTP/9.9": b"HTTP/9.9 200 OK\r\n\r\n",
        "a status of letters": b"HTTP/1.1 abc OK\r\n\r\n", "a status of 99999": b"HTTP/1.1 99999 OK\r\n\r\n",
        "a status of -1": b"HTTP/1.1 -1 OK\r\n\r\n",
        "a header without a colon": ok + b"nothing\r\n\r\n", "a header that goes on": ok + b"X: y\r\n " + b"z" * 70_000 + b"\r\n\r\n",
        "bytes above 127": ok + b"\xff\xfe: \x00\r\nContent-Length: 2\r\n\r\n{}", "100 and nothing else": b"HTTP/1.1 100 Continue\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "nothing": b"",
    }.items():  # fmt: skip
        yield Evil(f"answers with {name}", {"manifest": closes(sent)}, (ProtocolError, Unreachable, ImageError))
    without_end = {"a header line": ok + b"X: ", "headers": ok, "a status line": b"", "100 Continue": b""}
    more = {
        "a header line": b"x" * 4096,
        "headers": b"X: y\r\n" * 500,
        "a status line": b"x" * 4096,
        "100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    }
    for name, sent in without_end.items():
        yield Evil(f"{name} without end", {"manifest": keeps_sending(sent, more[name])}, (ProtocolError, Unreachable))


def keeps_sending(start: bytes, more: bytes) -> Answer:
    def answer(line: Line, request: Request) -> None:
        line.send(start)
        line.forever(more)

    return answer


def redirects() -> Iterator[Evil]:
    """Places where nobody should go."""
    yield Evil("a redirect to itself", {"manifest": status(302, Location="/v2/app/manifests/1")}, ProtocolError)
    yield Evil("blobs in a circle", {"layer": status(307, Location="?again")}, ProtocolError)
    yield Evil("redirects to ever new places", {"manifest": onward, "": onward}, ProtocolError)
    for place in (
        "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:70/x", "//", "http://", "http://[::1",
        "http://user:pw@127.0.0.1:1/x",
        "http://127.0.0.1:99999/", "javascript:1", "http://127.0.0.1:1/\r\nX: y", "http://127.0.0.1:1/ a", "", "x" * 20_000,
        "unix:///run/x.sock",
        "data:application/json,{}",
    ):  # fmt: skip
        for what in ("manifest", "layer"):
            yield Evil(f"{what} leads to {place[:40]!r}", {what: status(302, Location=place)}, (ProtocolError, Unreachable, NotFound))
    yield Evil("a redirect to nowhere", {"manifest": status(302)}, ProtocolError)
    yield Evil("304", {"manifest": status(304)}, ProtocolError)
    yield Evil("204", {"manifest": status(204)}, ProtocolError)
    yield Evil("206 that nobody asked for", {"layer": status(206, IMAGE.layers[1], Content_Range="bytes 0-1/2")}, ProtocolError)


def onward(line: Line, request: Request) -> None:
    line.answer(302, Location=f"/elsewhere/{len(line.server.requests)}")


def documents() -> Iterator[Evil]:
    """Manifests that are something else than they are said to be."""
    for kind in ("text/html", INDEX, "application/vnd.docker.distribution.manifest.v2+json", LAYER, "no type", "x" * 5000):
        yield Evil(f"manifest as {kind[:30]}", {"manifest": body(IMAGE.manifest, Content_Type=kind)}, (InvalidDocument, Unsupported))
    old = dumps({"schemaVersion": 1, "fsLayers": [], "history": []})
    for kind in ("application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json", ""):
        yield Evil(f"schema 1 as {kind!r}", {"manifest": body(old, Content_Type=kind)}, Unsupported)
    yield Evil("manifest said to have 100 MB", {"manifest": body(b"", Content_Length=100 << 20)}, LimitExceeded)
    yield Evil("manifest of 5 MB", {"manifest": body(IMAGE.manifest + b" " * (5 << 20))}, LimitExceeded)
    yield Evil("manifest nested deep", {"manifest": body(b'{"a":' * 100_000)}, (LimitExceeded, InvalidDocument))
    large = json.loads(IMAGE.manifest)
    large["config"]["size"] = 100 << 20
    yield Evil("config said to have 100 MB", {"manifest": body(dumps(large), Content_Type=MANIFEST)}, (LimitExceeded, Mismatch))
    changed = {"manifest": {"1": index_of(descriptor(MANIFEST, IMAGE.manifest)), "": GOOD.manifest}}
    yield Evil("an index whose image is another one when it is asked for", {"manifest": by_name(changed["manifest"])}, Mismatch)
    inner = [index_of(descriptor(MANIFEST, IMAGE.manifest))]
    for _ in range(12):
        inner.append(index_of(descriptor(INDEX, inner[-1])))
    nested = {"1": inner[-1]} | {sha256(each): each for each in inner}
    yield Evil("indexes in indexes", {"manifest": by_name(nested)}, LimitExceeded)
    many = [{"mediaType": MANIFEST, "digest": f"sha256:{number:064x}", "size": 9} for number in range(20_000)]
    crowd = json.dumps({"schemaVersion": 2, "manifests": many}, separators=(",", ":")).encode()
    yield Evil("an index of 20000 images", {"manifest": body(crowd, Content_Type=INDEX)}, LimitExceeded)
    yield Evil("no image for this machine", {"manifest": body(index_of(), Content_Type=INDEX)}, Missing)
    twice = json.loads(IMAGE.manifest)
    twice["layers"][0] = twice["layers"][1] | {"size": 5}
    yield Evil("one blob with two sizes", {"manifest": body(dumps(twice), Content_Type=MANIFEST)}, Mismatch)
    foreign = LAYER.replace("layer.v1", "layer.nondistributable.v1") + "+gzip"
    urls = ["http://127.0.0.1:1/x", "file:///etc/passwd"]
    yield Evil("a layer that is elsewhere", {"manifest": manifest_of(mediaType=foreign, urls=urls, digest="sha256:" + "a" * 64)}, NotFound)
    for kind in (CONFIG, MANIFEST, INDEX, "a/b", LAYER, LAYER + "+zstd"):
        yield Evil(f"layer as {kind}", {"manifest": manifest_of(mediaType=kind)}, ImageError)
    zeros = bytes(64 << 20)
    bomb = gzip.compress(zeros, 9)
    yield evil_layer("a bomb", bomb, zeros, LimitExceeded)
    climbing = tar(file(b"../../../../../etc/evil"))
    yield evil_layer("a tar that climbs", gzip.compress(climbing), climbing, ImageError)
    yield evil_layer("a tar of another diff_id", gzip.compress(tar(file(b"x"))), tar(file(b"y")), Mismatch)
    yield evil_layer("gzip cut short", gzip.compress(climbing)[:-5], climbing, ImageError)


def by_name(found: dict[str, bytes]) -> Answer:
    """Manifests and indexes by tag or digest; by "" any other."""

    def answer(line: Line, request: Request) -> None:
        data = found.get(request.path.rpartition("/")[2], found.get("", b"{}"))
        line.answer(200, data, Content_Type=json.loads(data).get("mediaType", "application/json"))

    return answer


def evil_layer(name: str, blob: bytes, said: bytes, error: type[Exception]) -> Evil:
    """An image of one layer, all of whose digests are right; and what it is to become."""
    config = dumps({"architecture": IMAGE.arch, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(said)]}})
    layers = [descriptor(LAYER + "+gzip", blob)]
    document = dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, config), "layers": layers})
    blobs = {f"{REPOSITORY}/blobs/{sha256(each)}": each for each in (config, blob)}
    answers = {"manifest": body(document, Content_Type=MANIFEST), "blob": lambda line, request: line.answer(200, blobs[request.path])}
    return Evil(f"layer: {name}", answers, error)


def ranges() -> Iterator[Evil]:
    """Cut connections, taken up at the wrong place."""
    data = IMAGE.layers[1]
    half = len(data) // 2

    def resumed(number: int, rest: bytes, said: str) -> Answer:
        def answer(line: Line, request: Request) -> None:
            if "range" in request.headers:
                line.answer(number, rest, Content_Range=said)
            else:
                line.send(head(200, {"Content-Length": len(data)}), data[:half])
                line.close()

        return answer

    total = len(data)
    for name, number, rest, said, error in (
        ("from the beginning", 206, data, f"bytes 0-{total - 1}/{total}", Unreachable),  # all of it is asked for, and cut again
        ("too late", 206, data[half + 1 :], f"bytes {half + 1}-{total - 1}/{total}", Unreachable),
        ("of another size", 206, data[half:], f"bytes {half}-{total}/{total + 1}", Unreachable),
        ("without saying which", 206, data[half:], "", Unreachable),
        ("of other bytes", 206, bytes(total - half), f"bytes {half}-{total - 1}/{total}", Mismatch),
        ("too long", 206, data[half:] + b"more", f"bytes {half}-{total - 1}/{total}", Mismatch),
        ("too short", 206, data[half:-1], f"bytes {half}-{total - 1}/{total}", (Mismatch, Unreachable)),
        ("as all of another", 200, bytes(total), "", Mismatch),
        ("refused", 416, b"", f"bytes */{total}", Unreachable),
        ("with digits without end", 206, data[half:], f"bytes {half}-{'9' * 5000}/{total}", Unreachable),
    ):  # fmt: skip
        yield Evil(f"the rest {name}", {"layer": resumed(number, rest, said)}, error)

    def a_byte_each(line: Line, request: Request) -> None:
        at = int(re.findall(r"\d+", request.headers.get("range", "0"))[0])
        line.send(
            head(206 if at else 200, {"Content-Length": total - at, "Content-Range": f"bytes {at}-{total - 1}/{total}"}), data[at : at + 1]
        )
        line.close()

    yield Evil("a byte for each connection", {"layer": a_byte_each}, Unreachable)


def tokens() -> Iterator[Evil]:
    """Whoever asks who asks."""
    for name, said in {
        "nothing": "", "an unknown way": "Negotiate", "no realm": "Bearer", "a realm of the disk": 'Bearer realm="file:///etc/passwd"',
        "a realm that is none": 'Bearer realm="http://"', "a realm with a password": 'Bearer realm="http://a:b@127.0.0.1:1/"',
        "a realm without an end": 'Bearer realm="http://127.0.0.1:1/' + "x" * 20_000,
        "a very long realm": f'Bearer realm="http://127.0.0.1:1/{"x" * 60_000}"',
        "quotes without end": 'Bearer realm="' + "\\" * 5000, "commas": "," * 60_000, "equals": "Bearer " + "a=" * 30_000,
        "spaces": "Bearer " + " " * 60_000 + "x",
    }.items():  # fmt: skip
        yield Evil(f"wants {name}", {"manifest": status(401, WWW_Authenticate=said)}, (Unauthorized, ProtocolError, Unreachable))
    yield Evil("never content with the password", {"manifest": status(401, WWW_Authenticate="Basic realm=x")}, Unauthorized)
    for name, answer in {
        "none": body(b"{}"), "no JSON": body(b"token"), "a list": body(b"[]"), "a number": body(b'{"token": 5}'),
        "empty": body(b'{"token": ""}'),
        "two lines": body(b'{"token": "a\\r\\nX-Evil: y"}'), "a zero byte": body(b'{"token": "a\\u0000"}'),
        "no ASCII": body('{"token": "é"}'.encode()),
        "twice": body(b'{"token": "a", "token": "b"}'), "of 100 MB": body(b"", Content_Length=100 << 20), "refused": status(401),
        "elsewhere": status(302, Location="http://127.0.0.1:1/"), "not well": status(500),
        "of 70000 bytes": body(b'{"token": "%s"}' % (b"x" * 70_000)),
        "hanging": hangs(b""), "dripping": drips(head(200, {"Content-Length": 5000}), b" " * 5000),
    }.items():  # fmt: skip
        yield Evil(f"a token that is {name}", {"manifest": challenge(), "token": answer}, RegistryError)
    yield Evil("never content with a token", {"manifest": challenge(), "token": fresh}, Unauthorized)
    forever = b'{"token": "x", "expires_in": %s}'
    for value in (b"-1", b"1" * 400, b'"x"', b"1e999", b"null"):
        yield Evil(
            f"a token for {value[:20].decode()} seconds",
            {"manifest": challenge(), "token": body(forever % value)},
            (Unauthorized, ProtocolError),
        )


def challenge() -> Answer:
    said = 'Bearer realm="http://{}/token",service="s",scope="repository:app:pull"'
    return lambda line, request: line.answer(401, WWW_Authenticate=said.format(line.server.host))


def fresh(line: Line, request: Request) -> None:
    line.answer(200, b'{"token": "number-%d"}' % len(line.server.requests))


def lists() -> Iterator[Evil]:
    """Lists, page by page."""
    for name, link in {
        "in a circle": '</v2/app/tags/list?n=1000>; rel="next"', "elsewhere": '<http://127.0.0.1:1/v2/x>; rel="next"',
        "on the disk": "<file:///etc/passwd>; rel=next",
        "with a password": '<http://a:b@127.0.0.1:1/v2/>; rel="next"', "nowhere": '<>; rel="next"',
        "out of the registry": '</admin>; rel="next"',
    }.items():  # fmt: skip
        answer = body(b'{"name": "app", "tags": ["a"]}', Link=link)
        yield Evil(
            f"the next page is {name}", {"tags": answer, "": answer}, (ProtocolError, Unreachable) if name != "nowhere" else (), "tags"
        )
    yield Evil("pages without end", {"tags": pages}, LimitExceeded, "tags")
    for name, data in {
        "a text": b'{"tags": "a"}', "numbers": b'{"tags": [1]}', "escape sequences": b'{"tags": ["\\u001b[2J"]}',
        "paths": b'{"tags": ["a b"]}',
        "two lists": b'{"tags": [], "tags": ["a"]}', "no JSON": b"<html>", "5 MB": b'{"tags": ["' + b"x" * (5 << 20) + b'"]}',
    }.items():  # fmt: skip
        yield Evil(f"tags that are {name}", {"tags": body(data)}, (ProtocolError, LimitExceeded), "tags")
        catalog = body(data.replace(b"tags", b"repositories"))
        yield Evil(f"repositories that are {name}", {"catalog": catalog}, (ProtocolError, LimitExceeded), "catalog")
    for name, data in {"no index": b"{}", "a manifest": IMAGE.manifest, "no JSON": b"x", "a circle of": index_of({"digest": "x"})}.items():
        yield Evil(f"referrers that are {name}", {"referrers": body(data, Content_Type=INDEX)}, ProtocolError, "referrers")


def pages(line: Line, request: Request) -> None:
    line.answer(200, b'{"tags": []}', Link=f'</v2/app/tags/list?page={len(line.server.requests)}>; rel="next"')


def uploads() -> Iterator[Evil]:
    """Registries that are given something."""
    for place in ("file:///etc/passwd", "", "http://a:b@127.0.0.1:1/", "http://127.0.0.1:1/\tx", "gopher://x/", "x" * 20_000):
        yield pushed(f"upload to {place[:30]!r}", {"upload": status(202, Location=place)}, (ProtocolError, Unreachable))
    yield pushed("upload that is done before it began", {"upload": status(201, Location="/x")}, Unreachable)
    for size in ("9" * 30, "9" * 18):
        begun = {"Location": "/v2/app/blobs/uploads/1", "OCI_Chunk_Min_Length": size}
        answers = {"upload": lambda line, request, begun=begun: line.answer(202 if request.method == "POST" else 500, **begun)}
        yield pushed(f"upload in parts of {size} bytes", answers, ServerError, "push in parts")
    for name, answer, error in (
        ("hangs", hangs(b""), Unreachable), ("closes", closes(b""), Unreachable), ("is never well", status(500), ServerError),
        ("redirects", status(307, Location="http://127.0.0.1:1/"), Unreachable),
        ("redirects for ever", status(307, Location="/v2/app/blobs/uploads/1"), ProtocolError),
        ("redirects to a file", status(308, Location="file:///etc/passwd"), ProtocolError),
        ("is another blob", status(201, Docker_Content_Digest="sha256:" + "0" * 64), Mismatch),
        ("is too large for it", status(413), (Refused, ProtocolError)), ("answers without end", endless(400), Refused),
        ("drips", drips(head(500, {"Content-Length": 900}), b"x" * 900), (ServerError, Unreachable)),
    ):  # fmt: skip
        yield pushed(f"an upload that {name}", {"upload": uploading(answer)}, error)
    for said in ("0-999999999", "0-0", "5-9", "-", "0-" + "9" * 50, "bytes=0-1"):
        parts = status(202, Location="/v2/app/blobs/uploads/1", Range=said)
        yield pushed(f"parts of which it has {said[:20]}", {"upload": uploading(parts)}, ProtocolError, "push in parts")
    kept = {"upload": uploading(status(201))}
    yield pushed("a manifest that becomes another", {**kept, "manifest": status(201, Docker_Content_Digest="sha256:" + "0" * 64)}, Mismatch)
    yield pushed("a manifest that hangs", {**kept, "manifest": hangs(b"")}, Unreachable)
    yield pushed("whether blobs are there: hangs", dict.fromkeys(("config", "layer", "lower"), hangs(b"")), Unreachable)


def lacking(line: Line, request: Request) -> None:
    line.answer(404)


def pushed(name: str, answers: dict[str, Answer], error: Any, do: str = "push") -> Evil:
    """To a registry that has none of the blobs."""
    return Evil(name, dict.fromkeys(("config", "layer", "lower", "blob"), lacking) | answers, error, do)


def uploading(answer: Answer) -> Answer:
    def one(line: Line, request: Request) -> None:
        if request.method == "POST":
            line.answer(202, Location="/v2/app/blobs/uploads/1")
        elif request.method == "DELETE":
            line.answer(204)
        else:
            answer(line, request)

    return one


def wires() -> Iterator[Evil]:
    """Where it goes wrong before a word is said."""
    for name, raw in {
        "closes": lambda line, request: line.close(), "resets": lambda line, request: line.reset(), "hangs": lambda line,
        request: line.hang(),
        "talks without end": lambda line, request: line.forever(CHUNK), "drips": lambda line,
        request: line.drip(b"HTTP/1.1 200 OK\r\n" * 9),
    }.items():  # fmt: skip
        yield Evil(f"whoever connects: {name}", {}, (Unreachable, ProtocolError), raw=raw)
        yield Evil(f"whoever begins TLS: {name}", {}, (Unreachable, ProtocolError), raw=raw, options={"plain_http": False})
        yield Evil(f"whoever tries TLS: {name}", {}, (Unreachable, ProtocolError), raw=raw, options={"plain_http": None})
    yield Evil("no TLS at all", {}, Unreachable, options={"plain_http": False})
    for name, sent in {
        "an alert": b"\x15\x03\x03\x00\x02\x02\x28",
        "a huge record": b"\x16\x03\x03\xff\xff" + bytes(70_000),
        "text": b"hello\r\n" * 99,
    }.items():
        yield Evil(f"TLS: {name}", {}, (Unreachable, ProtocolError), raw=closes(sent), options={"plain_http": False})


GENERATORS = (lies, patience, headers, redirects, documents, ranges, tokens, lists, uploads, wires)
ALL = [evil for generator in GENERATORS for evil in generator() if evil.error]
CORPUS = {evil.name: evil for evil in ALL}


# What has to hold -----------------------------------------------------------------------------------------------


def client(server: Server, **options: Any) -> Registry:
    usual: dict[str, Any] = {"plain_http": True, "retries": RETRIES, "timeouts": USUAL, "auth": (USER, PASSWORD)}
    return Registry(server.host, **(usual | options))


def ask(do: str, server: Server, registry: Registry, store: Store) -> None:
    """What is asked of a registry."""
    name = f"{server.host}/app"
    if do == "pull":
        pull(f"{name}:1", store, unpack=True, registries=registry)
    elif do == "pull and no more":
        pull(f"{name}:1", store, registries=registry)
    elif do == "pull by digest":
        pull(f"{name}@{sha256(GOOD.manifest)}", store, registries=registry)
    elif do.startswith("push"):
        push(image_of(IMAGE), f"{name}:1", registries=registry, chunk=2000 if "parts" in do else None)
    elif do == "referrers":
        registry.referrers(f"{name}@{sha256(IMAGE.manifest)}")
    else:
        registry.catalog() if do == "catalog" else registry.tags("app")


@pytest.fixture(scope="module")
def full() -> Iterator[Path]:
    with stocked(image_of(GOOD)) as directory:
        yield directory


@pytest.fixture
def store(full: Path) -> Iterator[Store]:
    with restocked(full) as made:
        yield made


@contextlib.contextmanager
def unharmed(store: Store) -> Iterator[None]:
    """The store and this process are afterwards as they were; what came, and was right, nobody names."""
    before, names, threads, started = content(store), store.names, set(threading.enumerate()), time.monotonic()
    yield
    assert time.monotonic() - started < SECONDS
    assert store.names == names
    assert os.listdir(store.directory / "staging") == []
    assert store.fsck() == ()
    store.gc()
    assert content(store) == before
    assert {thread for thread in threading.enumerate() if thread.name != OURS} <= threads


def test_there_are_enough_of_them() -> None:
    assert len(CORPUS) == len(ALL) > 200


def test_an_honest_one_is_believed(store: Store) -> None:
    """Or the corpus would show nothing."""
    with Server() as server, client(server) as registry:
        ask("pull", server, registry, store)
        assert store.names == ("docker.io/library/good:0", f"{server.host}/app:1")
        assert server.secrets == []


@pytest.mark.parametrize("name", CORPUS)
def test_it_ends_in_time_and_nothing_is_harmed(name: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = CORPUS[name]
    monkeypatch.setattr(_lists, "PAGES", 30)
    options = evil.options | (HURRY if "hang" in name or "drip" in name else {})
    with unharmed(store), Server(evil.answers, raw=evil.raw) as server, client(server, **options) as registry:
        with pytest.raises((RegistryError, ImageError)) as caught:
            ask(evil.do, server, registry, store)
        assert isinstance(caught.value, evil.error), repr(caught.value)
        assert len(str(caught.value)) < 1500
        assert str(caught.value).isprintable() or "\n" in str(caught.value)
        assert PASSWORD not in str(caught.value)
        assert len(server.requests) < 60


# Who asks -------------------------------------------------------------------------------------------------------


def basic(then: Answer) -> Answer:
    """Wants the password first."""
    wanted = status(401, WWW_Authenticate='Basic realm="x"')
    return lambda line, request: (then if request.headers.get("authorization") == BASIC else wanted)(line, request)


def leads_to(host: str, scheme: str = "http") -> Answer:
    return lambda line, request: line.answer(307, Location=f"{scheme}://{host}{request.path}")


def everything(answer: Callable[[Answer], Answer], *but: str) -> dict[str, Answer]:
    names = ("manifest", "config", "layer", "lower", "blob", "ping", "upload", "tags")
    return {name: answer(honest) for name in names if name not in but}


@pytest.mark.parametrize("what", ["manifest", "config", "layer"])
def test_a_redirect_takes_no_password_along(what: str, store: Store) -> None:
    with Server() as other, Server() as server, client(server) as registry:
        server.answers = everything(basic) | {what: basic(leads_to(other.host))}
        ask("pull", server, registry, store)
        assert set(server.secrets) == {BASIC}
        assert [request.what for request in other.requests] == [what]
        assert other.secrets == []


def test_who_is_led_to_may_not_ask_for_the_password(store: Store) -> None:
    """Neither for the password nor for a token."""
    for said in ('Basic realm="x"', 'Bearer realm="http://{}/token",service="s"'):
        with Server() as other, Server() as server, client(server) as registry, unharmed(store):
            other.answers = {"manifest": status(401, WWW_Authenticate=said.format(other.host))}
            server.answers = everything(basic) | {"manifest": basic(leads_to(other.host))}
            with pytest.raises(Unauthorized):
                ask("pull", server, registry, store)
            assert other.secrets == []
            assert "token" not in {request.what for request in other.requests}


def test_a_redirect_back_is_shown_who_asks(store: Store) -> None:
    """To the registry itself, though it came by way of somebody else."""
    with Server() as other, Server() as server, client(server) as registry:
        other.answers = {"layer": leads_to(server.host)}
        server.answers = everything(basic) | {"layer": basic(once(leads_to(other.host), honest))}
        ask("pull", server, registry, store)
        assert other.secrets == []


def once(first: Answer, then: Answer) -> Answer:
    """Another answer from the second time on."""
    left = [first]
    return lambda line, request: (left.pop() if left else then)(line, request)


def test_a_token_is_shown_to_the_registry_only(store: Store) -> None:
    with Server({"token": body(b'{"token": "secret-token"}')}) as tokens, Server() as other, Server() as server, client(server) as registry:
        said = f'Bearer realm="http://{tokens.host}/token",service="s",scope="repository:app:pull"'

        def token(then: Answer) -> Answer:
            wanted = status(401, WWW_Authenticate=said)
            return lambda line, request: (then if request.headers.get("authorization") == "Bearer secret-token" else wanted)(line, request)

        server.answers = everything(token) | {"layer": token(leads_to(other.host))}
        ask("pull", server, registry, store)
        assert set(tokens.secrets) == {BASIC}
        assert set(server.secrets) == {"Bearer secret-token"}
        assert other.secrets == []


def test_an_upload_elsewhere_takes_no_password_along() -> None:
    with Server() as other, Server() as server, client(server) as registry:
        other.answers = {"upload": status(201)}
        missing = dict.fromkeys(("config", "layer", "lower", "blob"), basic(lacking))
        begun: Answer = lambda line, request: line.answer(202, Location=f"http://{other.host}/v2/app/blobs/uploads/1?state=x")  # noqa: E731
        server.answers = missing | {"upload": basic(begun), "manifest": basic(status(201))}
        ask("push", server, registry, Store.__new__(Store))
        assert {request.method for request in other.requests} == {"PUT"}
        assert other.secrets == []
        assert set(server.secrets) == {BASIC}


def test_a_page_elsewhere_is_not_asked_for() -> None:
    with Server() as other, Server() as server, client(server) as registry:
        server.answers = {"tags": basic(body(b'{"tags": ["a"]}', Link=f'<http://{other.host}/v2/app/tags/list>; rel="next"'))}
        with pytest.raises(ProtocolError):
            registry.tags("app")
        assert other.requests == []


def test_a_mirror_is_shown_nothing(store: Store) -> None:
    """It lies besides: the registry itself is asked then."""
    with Server({"manifest": body(GOOD.manifest, Content_Type="text/html"), "layer": body(b"x")}) as mirror, Server() as server:
        server.answers = everything(basic)
        with client(server, mirrors=[f"http://{mirror.host}"]) as registry:
            ask("pull", server, registry, store)
        assert mirror.requests
        assert mirror.secrets == []
        assert store.get(f"{server.host}/app:1").digest == IMAGE.digest


def test_copying_shows_each_registry_its_own_password() -> None:
    other_basic = "Basic " + base64.b64encode(b"other:word").decode()
    with Server(everything(basic)) as source, Server() as target:
        target.answers = dict.fromkeys(("config", "layer", "lower", "blob"), lacking) | {
            "manifest": lambda line, request: line.answer(201 if request.headers.get("authorization") == other_basic else 401,
            WWW_Authenticate="Basic realm=x"),
            "upload": lambda line, request: line.answer(201 if request.method == "PUT" else 202, Location="/v2/app/blobs/uploads/1"),
        }  # fmt: skip
        with client(source) as one, client(target, auth=("other", "word")) as two:
            copy(f"{source.host}/app:1", f"{target.host}/app:1", registries=Registries(one, two))
        assert set(source.secrets) == {BASIC}
        assert set(target.secrets) == {other_basic}


# TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return certificate(tmp_path_factory.mktemp("certificates"))


def test_nobody_is_led_out_of_tls(signed: tuple[Path, Path, Path], store: Store) -> None:
    """Neither by a redirect, nor to fetch a token, nor to bring a blob."""
    ca, *pair = signed
    with Server() as plain, Server(tls=tuple(pair)) as server, client(server, plain_http=None, ca=ca) as registry:
        begun: Answer = lambda line, request: line.answer(202, Location=f"http://{plain.host}/v2/app/blobs/uploads/1")  # noqa: E731
        missing = dict.fromkeys(("config", "layer", "lower", "blob"), lacking)
        for do, answers in (
            ("pull", {"manifest": leads_to(plain.host)}),
            ("pull", {"layer": leads_to(plain.host)}),
            ("pull", {"manifest": status(401, WWW_Authenticate=f'Bearer realm="http://{plain.host}/token"')}),
            ("tags", {"tags": body(b'{"tags": []}', Link=f'<http://{plain.host}/v2/app/tags/list>; rel="next"')}),
            ("push", missing | {"upload": begun}),
        ):
            server.answers = answers
            with unharmed(store), pytest.raises(ProtocolError):
                ask(do, server, registry, store)
        assert plain.requests == []


def test_a_certificate_nobody_signed(signed: tuple[Path, Path, Path], store: Store) -> None:
    """Also on this machine itself, where plain HTTP would have been tried next."""
    _, *pair = signed
    for plain_http in (None, False):
        with Server(tls=tuple(pair)) as server, client(server, plain_http=plain_http) as registry, unharmed(store):
            with pytest.raises(Untrusted):
                ask("pull", server, registry, store)
            assert server.requests == []


def test_a_certificate_for_somebody_else(signed: tuple[Path, Path, Path], store: Store) -> None:
    ca, *pair = signed
    with Server(tls=tuple(pair), address="127.0.0.2") as server, client(server, ca=ca, plain_http=None) as registry, unharmed(store):
        with pytest.raises(Untrusted):
            ask("pull", server, registry, store)
        assert server.requests == []


def test_several_at_once_end_together(store: Store) -> None:
    """One blob fails while another hangs: nobody waits for the one that hangs."""
    patient = Timeouts(connect=1, read=30, commit=30, window=30)
    answers = {"config": body(IMAGE.config), "lower": hangs(b""), "layer": once(hangs_a_bit, status(403))}
    with Server(answers) as server, client(server, timeouts=patient) as registry, unharmed(store), pytest.raises(Denied):
        ask("pull", server, registry, store)


def hangs_a_bit(line: Line, request: Request) -> None:
    line.server.stopped.wait(0.2)
    line.answer(403)
