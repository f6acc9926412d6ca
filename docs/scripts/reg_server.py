"""The registry of chapter 9: the real one, in a directory of its own, during a `with` block."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Server:
    host: str
    directory: Path  # where it keeps its blobs
    log: Path

    def asked(self) -> Iterator[str]:
        """Yield a line for each request and answer since the last call."""
        time.sleep(0.2)  # the registry logs a request after its answer
        lines = [line for line in self.log.read_text().splitlines() if '" "' in line]
        self.log.write_text("")
        for line in lines:
            _, request, answer, *_ = line.split('"')
            yield f"{answer.split()[0]}  {request.removesuffix(' HTTP/1.1')}"


@contextlib.contextmanager
def registry(**settings: object) -> Iterator[Server]:
    program = shutil.which("docker-registry")
    if not program:
        print("There is no registry here.  On Debian: apt-get install docker-registry")
        sys.exit()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        server = Server(f"127.0.0.1:{free_port()}", place / "data", place / "log")
        storage = {"filesystem": {"rootdirectory": str(server.directory)}}
        config = {"version": "0.1", "storage": storage, "http": {"addr": server.host}, **settings}
        (place / "config").write_text(json.dumps(config))
        own = {name: value for name, value in os.environ.items() if "REGISTRY" not in name}
        with open(server.log, "a") as log:
            argv = [program, "serve", place / "config"]
            process = subprocess.Popen(argv, stdout=log, stderr=log, env=own)
        try:
            while process.poll() is None and not answers(server.host):
                time.sleep(0.02)
            yield server
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def answers(host: str) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", int(host.partition(":")[2]))).close()
        return True
    return False


if __name__ == "__main__":
    with registry() as server:
        print("a registry at", server.host)
