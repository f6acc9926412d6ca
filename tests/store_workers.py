"""Two processes that work in one store, are killed at random moments and begin again.  Run by tests/kernel/test_store.py.

    python store_workers.py STORE LOG KILLS SEED [HOST]

They put, pull from the registry at HOST, build, name, unpack, forget and collect.
Every line of the log is one write: `begin VERB NAME DIGEST` before a call, `done VERB NAME DIGEST` after it, `failed ...`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from typing import NamedTuple

from sample_images import Sample, base, image_of, tar_of

from containerkit import registry
from containerkit.builder import build
from containerkit.image.image import Image
from containerkit.rootfs import elf
from containerkit.store.store import Store

WORKERS = 2
MEAN = float(os.environ.get("CK_MEAN", "0.1"))  # seconds that a worker lives, on average
EPOCH = "1600000000"
LAST = 2  # context
VERBS = ["put", "put", "untag", "untag", "hold", "hold", "gc", "collect", "collect", "build", "build"]


def samples() -> list[Sample]:
    """Return images that share layers, small ones and ones that take a while to unpack."""
    many = tar_of({f"d{n % 20}/f{n}": b"x" * n for n in range(300)})
    stacks = [(base(), many), (base(), tar_of({"a": b"a"})), (base(), many, tar_of({"b": b"b"})), (many,), (base("other"), many)]
    return [Sample(*stack, Cmd=[str(number)]) for number, stack in enumerate(stacks)]


def shell() -> bytes | None:
    """Return a shell that needs no library, if this machine has one."""
    path = shutil.which("busybox")
    if not path or not (found := elf.read(path)) or found.interpreter:
        return None
    with open(path, "rb") as file:
        return file.read()


def context(number: int) -> tuple[bytes, bytes]:
    """Return a context as a tar, and a Dockerfile for it: the last one runs a program if a shell is available."""
    many = {f"src/d{n % 7}/f{n}": f"{n}".encode() * number for n in range(100)}
    lines = b"FROM scratch\nCOPY src /src\nENV A=b\nCOPY own /own\n"
    if number == LAST and (busybox := shell()):
        return tar_of(many | {"own": b"ran", "sh": busybox}), lines + b"COPY --chmod=755 sh /bin/sh\nRUN rm -r /src/d1 && echo $A > /made\n"
    return tar_of(many | {"own": str(number).encode()}), lines


def built(store: Store, number: int, *names: str) -> Image:
    """Build an image whose digest is the same in every build."""
    tar, dockerfile = context(number)
    return build(tar, dockerfile=dockerfile, store=store, tags=names)


class Known(NamedTuple):
    """The images that a worker knows.

    :ivar images: digest -> image
    :ivar far: name -> digest, in the registry
    :ivar near: number of a context -> digest of the image built from it
    """

    images: dict[str, Image]
    far: dict[str, str]
    near: dict[str, str]


def work(directory: str, log: int, number: int, seed: int, known: Known) -> None:
    """Work until the process is killed."""
    choose, (images, far, near) = random.Random(seed), known
    store, verbs = Store(directory), VERBS + ["pull"] * (3 if far else 0)

    def say(*words: object) -> None:
        os.write(log, (" ".join(map(str, words)) + "\n").encode())

    while True:
        name, digest = f"w{number}/app:{choose.randrange(2)}", choose.choice(list(images))
        verb = choose.choice(verbs)
        if verb == "pull":
            name, digest = choose.choice(list(far.items()))
        elif verb == "build":
            source, digest = choose.choice(list(near.items()))
        say("begin", verb, name, digest)
        if verb == "put":
            whole(store.put(images[digest], name), store)
            whole(store.get(name), store)
        elif verb == "pull":
            whole(registry.pull(name, store, unpack=choose.random() < 0.7), store)
            whole(store.get(name), store)
        elif verb == "build":
            assert built(store, int(source), name).digest == digest
            whole(store.get(name), store)
        elif verb == "untag" and name in {n for stored in store.images() for n in stored.familiar}:
            store.untag(name)
        elif verb == "hold":
            with store.hold(images[digest]) as layers:
                assert all(any(layer.iterdir()) for layer in layers)
                time.sleep(choose.random() / 100)
                assert all(any(layer.iterdir()) for layer in layers), "a held layer was collected"
        elif verb in ("gc", "collect"):
            store.gc(untagged=verb == "collect", cache=choose.random() < 0.3)
        say("done", verb, name, digest)


def whole(image: Image, store: Store) -> None:
    """Check this worker's names: no other process changes them, so everything behind them must be there."""
    lost = [d for d in (image.digest, image.id, *(layer.digest for layer in image.manifest.layers)) if not store.blobs.has(d)]
    assert not lost, f"{lost} were collected"


def begin(directory: str, log: int, number: int, seed: int, known: Known) -> int:
    if pid := os.fork():
        return pid
    try:
        work(directory, log, number, seed, known)
    except BaseException:
        os.write(log, f"failed {traceback.format_exc()!r}\n".encode())
    os._exit(1)


def prepare(host: str) -> Known:
    """Fill the registry, and determine the digests of the builds."""
    images: dict[str, Image] = {s.digest: image_of(s) for s in samples()}
    far = {}
    for number, (digest, image) in enumerate(images.items() if host else ()):
        far[f"{host}/s{number}:1"] = digest
        registry.push(image, f"{host}/s{number}:1")
    with tempfile.TemporaryDirectory() as other:
        store = Store(other)
        return Known(images, far, {str(number): built(store, number).digest for number in range(LAST + 1)})


def main(directory: str, path: str, kills: int, seed: int, host: str = "") -> None:
    os.environ["SOURCE_DATE_EPOCH"] = EPOCH
    choose, log = random.Random(seed), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    known = prepare(host)
    pids = {number: begin(directory, log, number, seed + number, known) for number in range(WORKERS)}
    for turn in range(kills):
        time.sleep(choose.expovariate(1 / MEAN))
        number = choose.randrange(WORKERS)
        os.kill(pids[number], signal.SIGKILL)
        os.waitpid(pids[number], 0)
        os.write(log, b"killed\n")
        pids[number] = begin(directory, log, number, seed + WORKERS * (turn + 1) + number, known)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
