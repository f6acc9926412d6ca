import http.client
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import containerkit as ck
from img_kubia import APP, node
from reg_server import registry

STORY = """
build -t kubia .
images
history kubia
tag kubia HOST/lesson/kubia:1
push HOST/lesson/kubia:1
--store ELSEWHERE pull -q HOST/lesson/kubia:1
"""
RUN = "--store ELSEWHERE run --init -h kubia --network host -e PORT=0 HOST/lesson/kubia:1"

with registry() as server, tempfile.TemporaryDirectory() as directory:
    here, elsewhere = Path(directory, "here"), Path(directory, "elsewhere")
    ck.Store(here).put(node(), "node")

    def argv(line: str) -> list[str]:
        print("$ containerkit", line, flush=True)
        line = line.replace("HOST", server.host).replace("ELSEWHERE", str(elsewhere))
        return [sys.executable, "-m", "containerkit", "--store", str(here), *shlex.split(line)]

    def told(line: str) -> str:
        return line.replace(server.host, "HOST").rstrip()[:92]

    for line in STORY.split("\n")[1:-1]:
        done = subprocess.run(
            argv(line), cwd=APP.parent, stdout=-1, stderr=-2, text=True, check=True
        )
        print(*map(told, done.stdout.splitlines()), "", sep="\n")

    with subprocess.Popen(argv(RUN), stdout=-1, text=True) as running:
        port = running.stdout.readline().split()[-1]
        server = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
        server.request("GET", "/")
        print("$ curl 127.0.0.1:PORT\n" + server.getresponse().read().decode())
        server.close()
        running.terminate()
