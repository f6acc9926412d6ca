"""What the fuzzers found, once: each input, and the fuzzer whose properties it broke."""

from __future__ import annotations

import gc
import gzip
import json
import os
from pathlib import Path

import pytest
from sample_images import Sample, base, descriptor, dumps, index_of, layout_files, named, tar_of

from fuzz import dockerfile, manifest, tar
from fuzz.engine import Fuzzer

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(10)]


def archive() -> bytes:
    """As docker 25 writes it; but its index leads to a manifest that is another one."""
    image = Sample(base(), compress=False)
    config = f"blobs/sha256/{json.loads(image.manifest)['config']['digest'][7:]}"
    index = index_of(named(descriptor("application/vnd.oci.image.manifest.v1+json", image.manifest + b" "), "1"))
    files = layout_files(index, image.blobs)
    files[f"blobs/sha256/{json.loads(index)['manifests'][0]['digest'][7:]}"] = image.manifest[:-1] + b" \n"
    return tar_of({**files, "manifest.json": dumps([{"Config": config, "Layers": [], "RepoTags": ["a:1"]}])})


FOUND: dict[str, tuple[Fuzzer, bytes]] = {
    "a config with a number beyond all numbers": (manifest.FUZZER, b'{"schemaVersion": 1e991, "history": [{"blobSum": "0"}]}'),
    "a manifest with one": (manifest.FUZZER, next(iter(manifest.seeds()))[:-1] + b', "x": [-1e400]}'),
    "an archive whose index leads to other bytes": (tar.FUZZER, archive()),
    "the same, compressed": (tar.FUZZER, gzip.compress(archive())),
    "an ignored name that begins with a byte order mark": (dockerfile.FUZZER, b"# a\n\xef\xbb\xbfescape\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_it_is_as_it_should_be_now(name: str) -> None:
    fuzzer, data = FOUND[name]
    fuzzer.check(data)


def test_an_archive_that_is_refused_is_closed_at_once(tmp_path: Path) -> None:
    """The garbage collector would close it too, some time."""
    (tmp_path / "evil.tar").write_bytes(archive())
    gc.collect()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        tar.opened(archive(), tmp_path / "evil.tar")
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()
