"""Descriptors, media types, and blobs that are verified while they are read."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerkit.image import media
from containerkit.image.blobs import Blobs, FileBlobs, MemoryBlobs, read
from containerkit.image.descriptor import Descriptor, Platform
from containerkit.image.digest import Digest
from containerkit.image.errors import ImageError, InvalidDigest, InvalidDocument, LimitExceeded, Mismatch, Missing, Unsupported
from containerkit.image.files.blob_union import BlobUnion

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
STRINGS = st.dictionaries(TEXTS, TEXTS, max_size=3)
UNKNOWN = st.dictionaries(TEXTS.map("x-{}".format), st.none() | st.integers() | TEXTS | st.lists(TEXTS, max_size=2), max_size=3)
DESCRIPTORS = st.builds(
    lambda data, more, inside: Descriptor.of(data, **more).with_(data=data if inside else None),
    st.binary(min_size=1, max_size=20),
    st.fixed_dictionaries(
        {"media_type": st.sampled_from([media.OCI_LAYER_GZIP, media.DOCKER_MANIFEST, "text/plain"])},
        optional={
            "annotations": STRINGS,
            "platform": st.builds(Platform),
            "artifact_type": st.just("application/x"),
            "urls": st.lists(TEXTS, max_size=2).map(tuple),
            "extra": UNKNOWN,
            "algorithm": st.just("sha512"),
        },
    ),
    st.booleans(),
)
RIGHT: dict[str, Any] = {"mediaType": "text/plain", "digest": str(Digest.of(b"hi")), "size": 2}


@settings(deadline=None)
@given(DESCRIPTORS)
def test_unknown_fields_survive_json(descriptor: Descriptor) -> None:
    text = json.loads(json.dumps(descriptor.to_json()))
    assert Descriptor.from_json(text) == descriptor
    assert Descriptor.from_json(text).to_json() == text
    assert hash(descriptor) == hash(Descriptor.from_json(text))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"mediaType": None}, InvalidDocument, "mediaType: missing"),
        ({"mediaType": "text"}, InvalidDocument, "not a media type"),
        ({"mediaType": "text/plain; charset=utf-8"}, InvalidDocument, "not a media type"),
        ({"mediaType": "text/plain\n"}, InvalidDocument, "not a media type"),
        ({"digest": "sha256:12"}, InvalidDigest, "64 hex digits"),
        ({"digest": 1}, InvalidDocument, "digest: expected a string"),
        ({"size": -1}, InvalidDocument, "size: -1 is out of range"),
        ({"size": "2"}, InvalidDocument, "size: expected a number"),
        ({"size": 2.0}, InvalidDocument, "size: expected a number"),
        ({"size": True}, InvalidDocument, "size: expected a number"),
        ({"Size": 3}, InvalidDocument, "looks like 'size'"),
        ({"annotations": {"a": 1}}, InvalidDocument, r"annotations\.a: expected a string"),
        ({"data": "!!"}, InvalidDocument, "not base64"),
        ({"data": "aGk"}, InvalidDocument, "not base64"),
        ({"data": "aGV5"}, Mismatch, "size"),
        ({"data": "aG8="}, Mismatch, "digest"),
        ({"urls": "http://x"}, InvalidDocument, "urls: expected a list"),
        ({"platform": []}, InvalidDocument, "platform: expected an object"),
        ({"platform": {"os": "linux"}}, InvalidDocument, r"platform\.architecture: missing"),
    ],
)
def test_malformed_descriptors_are_refused(change: dict[str, Any], kind: type[ImageError], words: str) -> None:
    assert Descriptor.from_json(RIGHT).size == 2
    with pytest.raises(kind, match=words):
        Descriptor.from_json(RIGHT | change)


def test_the_empty_descriptor_is_the_one_of_the_specification() -> None:
    empty = Descriptor.empty()
    assert empty.digest == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert (empty.size, empty.data, empty.media_type) == (2, b"{}", "application/vnd.oci.empty.v1+json")


def test_a_descriptor_is_frozen() -> None:
    annotations = {"a": "b"}
    descriptor = Descriptor.of(b"", "text/plain", annotations=annotations)
    annotations["a"] = "c"
    assert descriptor.annotations == {"a": "b"}
    with pytest.raises(TypeError):
        descriptor.annotations["a"] = "c"  # type: ignore[index]


@pytest.mark.parametrize(
    ("media_type", "kind", "compression"),
    [
        (media.OCI_LAYER, "layer", "none"),
        (media.OCI_LAYER_GZIP, "layer", "gzip"),
        (media.OCI_LAYER_ZSTD, "layer", "zstd"),
        (media.DOCKER_LAYER_GZIP, "layer", "gzip"),
        (media.DOCKER_FOREIGN_GZIP, "layer", "gzip"),
        (media.OCI_MANIFEST, "manifest", ""),
        (media.DOCKER_LIST, "index", ""),
        (media.DOCKER_CONFIG, "config", ""),
        (media.EMPTY, "empty", ""),
        ("text/plain", "", ""),
        (media.DOCKER_SCHEMA1, "", ""),
    ],
)
def test_the_kind_of_each_media_type(media_type: str, kind: str, compression: str) -> None:
    assert media.kind(media_type) == kind
    if compression:
        assert media.compression(media_type) == compression
    else:
        with pytest.raises(Unsupported, match="not the type of a layer"):
            media.compression(media_type)


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_the_type_of_a_layer(compression: str, docker: bool) -> None:
    found = media.layer(compression, docker=docker)
    assert (media.compression(found), media.is_docker(found), media.is_foreign(found)) == (compression, docker, False)


def test_magic() -> None:
    heads = {b"\x1f\x8b\x08\0": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x5a\x2a\x4d\x18": "zstd", b"\xfd7zXZ\0": "xz", b"BZh9": "bzip2"}
    assert {head: media.sniff(head) for head in heads} == heads
    assert media.sniff(b"") == media.sniff(b"etc/") == media.sniff(b"\x1f") == "none"
    with pytest.raises(Unsupported, match="xz"):
        media.layer("xz")


@pytest.fixture(params=["memory", "file"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryBlobs | FileBlobs:
    return MemoryBlobs() if request.param == "memory" else FileBlobs(tmp_path)


def test_blobs_are_kept_by_digest(blobs: MemoryBlobs | FileBlobs) -> None:
    descriptor = blobs.add(b"hello", "text/plain")
    assert descriptor == Descriptor.of(b"hello", "text/plain")
    assert isinstance(blobs, Blobs)
    assert read(blobs, descriptor) == b"hello"
    assert list(blobs) == [descriptor.digest]
    assert blobs.has(descriptor.digest)
    assert not blobs.has(Digest.of(b"other"))
    with pytest.raises(Missing, match="no blob"):
        blobs.open(Descriptor.of(b"other", "text/plain"))
    with pytest.raises(Mismatch, match="size"):
        read(blobs, descriptor.with_(size=4))
    with pytest.raises(LimitExceeded, match="4 bytes"):
        read(blobs, descriptor, limit=4)


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    descriptor = blobs.add(b"hello")
    Path(blobs.path(descriptor.digest)).write_bytes(b"hellO")
    with pytest.raises(Mismatch, match="digest"):
        read(blobs, descriptor)


@pytest.mark.parametrize("trick", ["link", "fifo", "directory", "socket"])
def test_links_and_directories_are_no_blobs(tmp_path: Path, trick: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = FileBlobs(tmp_path)
    descriptor = blobs.add(b"hello")
    path = Path(blobs.path(descriptor.digest))
    path.rename(tmp_path / "secret")
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as listening:
        ways: dict[str, Any] = {
            "link": lambda: path.symlink_to(tmp_path / "secret"),
            "fifo": lambda: os.mkfifo(path),
            "directory": path.mkdir,
            "socket": lambda: listening.bind(path.name),
        }
        ways[trick]()
        assert not blobs.has(descriptor.digest)
        with pytest.raises(Missing):
            blobs.open(descriptor)


def test_nothing_is_left_of_a_blob_that_was_not_committed(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    with blobs.writer() as writer:
        writer.write(b"half")
    with blobs.writer() as writer:
        writer.write(b"other")
        with pytest.raises(Mismatch, match="being written"):
            writer.commit(expected=Descriptor.of(b"half", "text/plain"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with blobs.writer("sha512") as writer:
        writer.write(b"ha")
        writer.write(b"lf")
        assert writer.commit("text/plain", sync=True) == Descriptor.of(b"half", "text/plain", algorithm="sha512")


def test_a_union_of_blob_sources() -> None:
    first, second, third = MemoryBlobs(), MemoryBlobs(), MemoryBlobs()
    one, two, three = first.add(b"1"), second.add(b"2"), third.add(b"3")
    sources = BlobUnion({one.digest: first}, second, third)
    assert [read(sources, each) for each in (one, two, three)] == [b"1", b"2", b"3"]
    assert not sources.has(Digest.of(b"4"))
    with pytest.raises(Missing):
        sources.open(Descriptor.of(b"4", "text/plain"))
