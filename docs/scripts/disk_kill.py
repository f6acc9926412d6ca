import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import containerkit as ck

# The worker puts one image after the other, prints each one's name, and collects garbage.
WORKER = """
import sys
import containerkit as ck
from img_kubia import base, one_file
store, image = ck.Store(sys.argv[1]), base()
for number in range(1000):
    name = f"app:{sys.argv[2]}.{number}"
    store.layers(store.put(image.append(one_file("app", name.encode())), name))
    print(name, flush=True)
    store.gc()
"""
random.seed(7)
with tempfile.TemporaryDirectory() as directory:
    said: list[str] = []
    for turn in range(4):
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, directory, f"{turn}.{number}"],
                cwd=Path(__file__).parent,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(2)
        ]
        said.append(workers[0].stdout.readline().strip())
        time.sleep(random.uniform(0, 0.6))
        for worker in workers:
            worker.kill()
            said += worker.communicate()[0].split()
    store = ck.Store(directory)
    names = {name for stored in store.images() for name in stored.familiar}
    print("killed 8 processes, which acknowledged", len(said), "images")
    missing, wrong = set(said) - names, [str(problem) for problem in store.fsck()]
    print("missing:", missing or "none")
    print("wrong:  ", wrong or "nothing")
    assert said
    assert not missing
    assert not wrong
