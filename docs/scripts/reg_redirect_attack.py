import contextlib
import http.server
import threading
from collections.abc import Iterator

import containerkit as ck
from containerkit.registry import Registry


@contextlib.contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(http.server.BaseHTTPRequestHandler):
    def reply(self, code: int, name: str, value: str) -> None:
        print(f"{type(self).__name__:9} gets", self.headers["Authorization"])
        self.send_response(code)
        self.send_header(name, value)
        self.end_headers()

    def log_message(self, *words: object) -> None: ...


class Collector(Quiet):
    def do_GET(self) -> None:
        self.reply(404, "Content-Length", "0")


with serving(Collector) as elsewhere:

    class Lesson(Quiet):
        def do_GET(self) -> None:
            if self.headers["Authorization"]:
                self.reply(307, "Location", f"http://{elsewhere}{self.path}")
            else:
                self.reply(401, "WWW-Authenticate", "Basic")

    with serving(Lesson) as host:
        client = Registry(host, plain_http=True, auth=("student", "secret"))
        try:
            client.manifest("lesson/kubia:1")
        except ck.RegistryError as error:
            print(type(error).__name__)
