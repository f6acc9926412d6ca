"""Two processes at work in one store, killed at random moments and begun again.  Run by tests/kernel/test_store.py.

    python store_workers.py STORE LOG KILLS SEED

Every line of the log is one write: `begin VERB NAME DIGEST` before a call, `done VERB NAME DIGEST` after it, `failed ...`.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback

from sample_images import Sample, base, image_of, tar_of

from containerkit.image.image import Image
from containerkit.image.store import Store

WORKERS = 2
MEAN = 0.04  # seconds that a worker lives, on average


def samples() -> list[Sample]:
    """Images that share layers, small ones and ones that take a while to unpack."""
    many = tar_of({f"d{n % 20}/f{n}": b"x" * n for n in range(300)})
    stacks = [(base(), many), (base(), tar_of({"a": b"a"})), (base(), many, tar_of({"b": b"b"})), (many,), (base("other"), many)]
    return [Sample(*stack, Cmd=[str(number)]) for number, stack in enumerate(stacks)]


def work(directory: str, log: int, number: int, seed: int) -> None:
    """Puts, names, unpacks, forgets and collects, until it is killed."""
    choose, images = random.Random(seed), {s.digest: image_of(s) for s in samples()}
    store = Store(directory)

    def say(*words: object) -> None:
        os.write(log, (" ".join(map(str, words)) + "\n").encode())

    while True:
        name, digest = f"w{number}/app:{choose.randrange(2)}", choose.choice(list(images))
        verb = choose.choice(["put", "put", "put", "untag", "untag", "hold", "hold", "gc", "collect", "collect"])
        say("begin", verb, name, digest)
        if verb == "put":
            whole(store.put(images[digest], name), store)
            whole(store.get(name), store)
        elif verb == "untag" and name in {n for stored in store.images() for n in stored.familiar}:
            store.untag(name)
        elif verb == "hold":
            with store.hold(images[digest]) as layers:
                assert all(any(layer.iterdir()) for layer in layers)
                time.sleep(choose.random() / 100)
                assert all(any(layer.iterdir()) for layer in layers), "a held layer was collected"
        elif verb in ("gc", "collect"):
            store.gc(untagged=verb == "collect")
        say("done", verb, name, digest)


def whole(image: Image, store: Store) -> None:
    """Nobody else changes the names of this worker, so all that they lead to is there."""
    lost = [d for d in (image.digest, image.id, *(layer.digest for layer in image.manifest.layers)) if not store.blobs.has(d)]
    assert not lost, f"{lost} were collected"


def begin(directory: str, log: int, number: int, seed: int) -> int:
    if pid := os.fork():
        return pid
    try:
        work(directory, log, number, seed)
    except BaseException:
        os.write(log, f"failed {traceback.format_exc()!r}\n".encode())
    os._exit(1)


def main(directory: str, path: str, kills: int, seed: int) -> None:
    choose, log = random.Random(seed), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pids = {number: begin(directory, log, number, seed + number) for number in range(WORKERS)}
    for turn in range(kills):
        time.sleep(choose.expovariate(1 / MEAN))
        number = choose.randrange(WORKERS)
        os.kill(pids[number], signal.SIGKILL)
        os.waitpid(pids[number], 0)
        os.write(log, b"killed\n")
        pids[number] = begin(directory, log, number, seed + WORKERS * (turn + 1) + number)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
