import contextlib
import socket
import tempfile
import threading

import containerkit as ck
from containerkit.registry import Registry, Retries
from img_kubia import kubia
from reg_server import registry

MOST = 24_000_000  # bytes before the connection is cut


def carry(source: socket.socket, target: socket.socket) -> None:
    left = MOST
    with contextlib.suppress(OSError):
        while left > 0 and (data := source.recv(min(left, 1 << 16))):
            target.sendall(data)
            left -= len(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
            end.close()


def bad_line(listener: socket.socket, port: int) -> None:
    """A proxy between the client and the registry."""
    with contextlib.suppress(OSError):
        while True:
            near = listener.accept()[0]
            far = socket.create_connection(("127.0.0.1", port))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=carry, args=pair, daemon=True).start()


image = kubia()
with registry() as server, socket.create_server(("127.0.0.1", 0)) as line:
    image.push(f"{server.host}/lesson/kubia:1")
    [*server.asked()]
    port = int(server.host.partition(":")[2])
    threading.Thread(target=bad_line, args=(line, port), daemon=True).start()
    host = f"127.0.0.1:{line.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as directory:
        through = Registry(host, plain_http=True, retries=Retries(first=0.1))
        name = f"{host}/lesson/kubia:1"
        same = image == ck.Image.pull(name, ck.Store(directory), registries=through)
    print(f"a layer of {image.layers[1].size:,} bytes, over a connection cut after {MOST:,}:")
    for asked in server.asked():
        if image.layers[1].digest in asked:
            print(asked[:55] + "...")
print("it arrived:", same)
