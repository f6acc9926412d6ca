import http.client
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import containerkit as ck
from containerkit.registry import Registry
from img_kubia import small
from reg_server import registry


class Proxy(BaseHTTPRequestHandler):
    """A proxy before the registry.  It refuses HEAD and mounts, and ignores Range."""

    protocol_version = "HTTP/1.1"
    port = 0

    def forward(self) -> None:
        if self.command == "HEAD" or "mount=" in self.path:
            self.answer(405, {}, b"")
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = {name: value for name, value in self.headers.items() if name != "Range"}
        behind = http.client.HTTPConnection("127.0.0.1", self.port)
        behind.request(self.command, self.path, body, asked)
        answer = behind.getresponse()
        self.answer(answer.status, dict(answer.headers), answer.read())
        behind.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = forward

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        what = "/".join(self.path.partition("?")[0].split("/")[4:6])  # without names and digests
        seen.append(f"{words[2]}  {self.command:4} {what.partition('/sha256')[0]}")


seen: list[str] = []
with registry() as server, ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
    Proxy.port = int(server.host.partition(":")[2])
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{proxy.server_address[1]}"
    with tempfile.TemporaryDirectory() as directory, Registry(host, plain_http=True) as through:
        image = small()
        image.push(f"{host}/lesson/kubia:1", registries=through)
        pushed = [*seen]
        store = ck.Store(directory)
        same = image == ck.Image.pull(f"{host}/lesson/kubia:1", store, registries=through)
    proxy.shutdown()
print("a push:")
for line in sorted(set(pushed), key=pushed.index):
    print(f"  {line}  {pushed.count(line)} times")
print("it arrived, and came back the same:", same)
assert same
assert any(line.startswith("405  HEAD") for line in pushed)
