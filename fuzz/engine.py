"""Run one fuzzer under libFuzzer, through atheris.

with instrumented(__name__):
    from containerkit.image import ...      # their branches are counted
if __name__ == "__main__":
    run(Fuzzer(check, seeds, mutate, words))
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from containerkit.base import extras
from containerkit.errors import Unavailable

LOOKED_AT = ("containerkit.image", "containerkit.dockerfile")
MOST = 16 << 10  # bytes of an input
PLAIN = 4  # one mutation in this many is libFuzzer's own and may break the form


@dataclass(frozen=True, slots=True)
class Fuzzer:
    """One fuzzer.

    :param check: raises if an input lacks a property
    :param seeds: the first inputs
    :param mutate: changes an input in its own language; `raw` changes any bytes as libFuzzer does
    :param words: of the language, for libFuzzer's dictionary
    """

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    mutate: Callable[[bytes, random.Random, Callable[[bytes], bytes]], bytes]
    words: Sequence[bytes] = ()


def atheris() -> Any:
    """Return the library atheris.  :raises Unavailable: it is not installed"""
    try:
        import atheris as found
    except ImportError:
        raise Unavailable("fuzzing", probed="import atheris", remedy=extras.command("fuzz")) from None
    return found


def instrumented(name: str) -> contextlib.AbstractContextManager[None]:
    """Return a context whose imports count their branches.  It does nothing outside of a fuzzer, as tests import the modules too."""
    if name != "__main__":
        return contextlib.nullcontext()
    found: contextlib.AbstractContextManager[None] = atheris().instrument_imports(include=list(LOOKED_AT), enable_loader_override=False)
    return found


def run(fuzzer: Fuzzer, argv: Sequence[str] = ()) -> NoReturn:
    """Fuzz in a process of its own, since libFuzzer ends the process without returning to Python.

    :param argv: libFuzzer's options, and files to try instead
    :raises SystemExit: with libFuzzer's exit code: 77 for a failed input, 70 for one that took too long
    """
    argv = list(argv or sys.argv)
    atheris()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="ck-fuzz-", dir=memory) as scratch:
        if not (child := os.fork()):
            tempfile.tempdir = scratch
            forever(fuzzer, argv, Path(scratch))
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


def forever(fuzzer: Fuzzer, argv: list[str], scratch: Path) -> NoReturn:
    """Hand the process over to libFuzzer."""
    library = atheris()

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        def raw(piece: bytes) -> bytes:
            return bytes(library.Mutate(piece, max(len(piece) + 32, 64)))

        chance = random.Random(seed)
        changed = raw(data) if not chance.randrange(PLAIN) else fuzzer.mutate(data, chance, raw)
        return changed[:most]

    if not any(os.path.exists(each) for each in argv[1:]):
        argv += begin(fuzzer, scratch)
    library.Setup([argv[0], f"-max_len={MOST}", "-len_control=0", *argv[1:]], fuzzer.check, custom_mutator=mutate)
    library.Fuzz()
    os._exit(0)


def begin(fuzzer: Fuzzer, scratch: Path) -> list[str]:
    """Write seeds and words to files for libFuzzer, and return the options that name them."""
    corpus, words = scratch / "corpus", scratch / "words"
    corpus.mkdir()
    for seed in fuzzer.seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in fuzzer.words if word))
    return [f"-dict={words}", str(corpus)]
