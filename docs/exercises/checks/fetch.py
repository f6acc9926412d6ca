"""Servers that work, that break off, and that lie."""

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from types import ModuleType

BLOB = bytes(range(256)) * 400
DIGEST = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
MUCH = 300 * len(BLOB)  # more than the socket buffers hold
Answer = Callable[[http.server.BaseHTTPRequestHandler, int], None]


def check(answer: ModuleType) -> Iterator[str]:
    yield from _right(answer, "a server that works", _whole, 1)
    yield from _right(answer, "the connection is cut twice", _cut(2, True), 3)
    yield from _right(answer, "the connection is cut twice, and the server knows no Range", _cut(2, False), 3)
    yield from _wrong(answer, "the server sends one wrong byte", ValueError, _sent(b"x" + BLOB[1:]))
    yield from _wrong(answer, "the server sends one byte too many", ValueError, _sent(BLOB + b"x"))
    sent: list[int] = []
    yield from _wrong(answer, "the server sends bytes without end", ValueError, _endless(sent))
    if sum(sent) == MUCH:
        yield f"the server sends bytes without end, and you read {MUCH >> 20} MB for a blob of {len(BLOB)} bytes"
    yield from _wrong(answer, "the answer is 404", LookupError, _missing)
    yield from _wrong(answer, "the connection is cut each time", OSError, _cut(100, True))


@contextlib.contextmanager
def _serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Range"] or "all")
            with contextlib.suppress(OSError):
                answer(self, len(asked)) if self.path == f"/v2/lesson/blobs/{DIGEST}" else self.send_error(404)
            self.close_connection = True

        def log_message(self, *words: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def _right(answer: ModuleType, what: str, how: Answer, requests: int) -> Iterator[str]:
    with _serving(how) as (host, asked):
        try:
            said = answer.fetch(host, "lesson", DIGEST, len(BLOB))
        except (OSError, ValueError, LookupError) as error:
            yield f"{what}, and your code raised {type(error).__name__}: {error}"
            return
    if said != BLOB:
        yield f"{what}, and you returned {len(said)} bytes that are not the {len(BLOB)} of the blob"
    elif len(asked) != requests:
        yield f"{what}, and you asked {len(asked)} times instead of {requests}"
    elif any(each == "all" for each in asked[1:]):
        yield f"{what}, and you asked for the whole blob again: name the first missing byte in the header Range"


def _wrong(answer: ModuleType, what: str, kind: type[Exception], how: Answer) -> Iterator[str]:
    with _serving(how) as (host, _):
        try:
            said = answer.fetch(host, "lesson", DIGEST, len(BLOB))
        except kind:
            return
        except Exception as error:
            yield f"{what}: that is a {kind.__name__}, and your code raised {type(error).__name__}: {error}"
        else:
            yield f"{what}: that is a {kind.__name__}, and your code returned {len(said)} bytes"


def _send(handler: http.server.BaseHTTPRequestHandler, status: int, length: int | None, body: bytes) -> None:
    handler.send_response(status)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(body)


def _whole(handler: http.server.BaseHTTPRequestHandler, number: int) -> None:
    _send(handler, 200, len(BLOB), BLOB)


def _sent(body: bytes) -> Answer:
    return lambda handler, number: _send(handler, 200, len(body), body)


def _missing(handler: http.server.BaseHTTPRequestHandler, number: int) -> None:
    _send(handler, 404, 0, b"")


def _cut(times: int, ranges: bool) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler, number: int) -> None:
        said = handler.headers["Range"] if ranges else None
        begin = int(said.removeprefix("bytes=").partition("-")[0]) if said else 0
        rest = BLOB[begin:]
        _send(handler, 206 if said else 200, len(rest), rest[:1000] if number <= times else rest)

    return answer


def _endless(sent: list[int]) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler, number: int) -> None:
        _send(handler, 200, None, b"")
        for _ in range(MUCH // len(BLOB)):
            handler.wfile.write(BLOB)
            sent.append(len(BLOB))

    return answer
