"""Manifests, indexes and configs: kept byte for byte with all fields, and refused when they can be read in two ways."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerkit.image import media
from containerkit.image.blobs import MemoryBlobs
from containerkit.image.config import ImageConfig
from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
from containerkit.image.errors import ImageError, InvalidDocument, LimitExceeded, Unsupported
from containerkit.image.history import History, matched
from containerkit.image.image import Image
from containerkit.image.index import Index
from containerkit.image.manifest import Manifest
from containerkit.image.platform import Platform
from containerkit.image.validate import mismatches

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
UNKNOWN = st.dictionaries(TEXTS.map("x-{}".format), st.integers() | TEXTS | st.lists(TEXTS, max_size=2) | st.none(), max_size=3)
STRINGS = st.dictionaries(TEXTS, TEXTS, max_size=3)


def described(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data), **more}


LAYERS = st.lists(st.binary(max_size=4).map(lambda data: described(data, media.OCI_LAYER_GZIP)), max_size=3)
OCI = st.fixed_dictionaries(
    {"schemaVersion": st.just(2), "config": st.just(described(b"{}", media.OCI_CONFIG)), "layers": LAYERS},
    optional={
        "mediaType": st.just(media.OCI_MANIFEST),
        "annotations": STRINGS.filter(bool),
        "artifactType": st.just("application/vnd.x"),
        "subject": st.just(described(b"s", media.OCI_MANIFEST)),
    },
)
INDEXES = st.fixed_dictionaries(
    {
        "schemaVersion": st.just(2),
        "manifests": st.lists(
            st.binary(max_size=4).map(lambda d: described(d, media.OCI_MANIFEST, platform={"os": "linux", "architecture": "arm64"})),
            max_size=3,
        ),
    },
    optional={"mediaType": st.just(media.OCI_INDEX), "annotations": STRINGS.filter(bool)},
)
CONFIGS = st.fixed_dictionaries(
    {"os": st.just("linux"), "architecture": st.just("arm64"), "rootfs": st.just({"type": "layers", "diff_ids": [str(Digest.of(b""))]})},
    optional={
        "created": st.just("2020-01-01T00:00:00Z"),
        "variant": st.just("v8"),
        "history": st.lists(UNKNOWN.map(lambda more: more | {"created_by": "RUN x", "empty_layer": True}), min_size=1, max_size=2),
        "config": st.builds(
            lambda known, more: known | more,
            st.fixed_dictionaries(
                {"Env": st.just(["A=b"])},
                optional={
                    "Entrypoint": st.lists(TEXTS, max_size=2),
                    "Cmd": st.lists(TEXTS, max_size=2),
                    "Labels": STRINGS.filter(bool),
                    "ExposedPorts": st.just({"80/tcp": {}}),
                    "Volumes": st.just({"/data": {}}),
                    "User": st.just("1000:1000"),
                    "WorkingDir": st.just("/work"),
                    "Healthcheck": st.just({"Test": ["CMD", "true"], "Interval": 3}),
                    "OnBuild": st.just(["RUN y"]),
                    "Shell": st.just(["/bin/bash", "-c"]),
                    "StopSignal": st.just("SIGINT"),
                },
            ),
            UNKNOWN,
        ),
    },
)
MEANS: list[tuple[Callable[[bytes], Any], st.SearchStrategy[dict[str, Any]]]] = [
    (Manifest.parse, OCI),
    (Index.parse, INDEXES),
    (ImageConfig.parse, CONFIGS),
]


@pytest.mark.parametrize(("parse", "documents"), MEANS, ids=["manifest", "index", "config"])
@settings(deadline=None)
@given(draw=st.data())
def test_unknown_fields_are_kept(parse: Any, documents: Any, draw: st.DataObject) -> None:
    document = draw.draw(documents) | draw.draw(UNKNOWN)
    said = parse(json.dumps(document).encode()).to_json()
    assert said == ({"mediaType": said.get("mediaType")} if "mediaType" in said else {}) | document
    assert parse(json.dumps(said).encode()).to_json() == said


@pytest.mark.parametrize(("parse", "documents"), MEANS[:2], ids=["manifest", "index"])
@settings(deadline=None)
@given(draw=st.data())
def test_bytes_are_kept_as_they_are(parse: Any, documents: Any, draw: st.DataObject) -> None:
    document = draw.draw(documents)
    data = json.dumps(document, indent=draw.draw(st.integers(0, 4)), sort_keys=draw.draw(st.booleans())).encode() + b"\n"
    assert parse(data).data == data
    assert parse(data).digest == Digest.of(data)


CONFIG = described(b"{}", media.OCI_CONFIG)
RIGHT: dict[str, Any] = {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": CONFIG, "layers": []}
RIGHT_INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}


@pytest.mark.parametrize(
    ("change", "said", "kind", "words"),
    [
        ({"schemaVersion": 1}, "", Unsupported, "schema 1 is not read"),
        ({"schemaVersion": 1, "mediaType": media.DOCKER_SCHEMA1_SIGNED}, "", Unsupported, "schema 1 is not read"),
        ({}, media.DOCKER_SCHEMA1, Unsupported, "schema 1 is not read"),
        ({"schemaVersion": None}, "", InvalidDocument, "expected 2, found None"),
        ({"schemaVersion": "2"}, "", InvalidDocument, "expected 2, found '2'"),
        ({"schemaVersion": 3}, "", InvalidDocument, "expected 2, found 3"),
        ({"mediaType": media.OCI_INDEX}, "", InvalidDocument, "not the type of a manifest"),
        ({"mediaType": "text/plain"}, "", InvalidDocument, "not the type of a manifest"),
        ({}, media.DOCKER_MANIFEST, InvalidDocument, "its descriptor says"),
        ({}, media.OCI_INDEX, InvalidDocument, "its descriptor says"),
        ({"manifests": []}, "", InvalidDocument, "two different things"),
        ({"Manifests": []}, "", InvalidDocument, "two different things"),
        ({"fsLayers": []}, "", InvalidDocument, "two different things"),
        ({"config": None}, "", InvalidDocument, r"manifest\.config: missing"),
        ({"config": []}, "", InvalidDocument, r"manifest\.config: expected an object"),
        ({"layers": None}, "", InvalidDocument, r"manifest\.layers: missing"),
        ({"layers": {}}, "", InvalidDocument, r"manifest\.layers: expected a list"),
        ({"layers": [CONFIG, 1]}, "", InvalidDocument, r"manifest\.layers\[1\]: expected an object"),
        ({"layers": [CONFIG | {"size": "x"}]}, "", InvalidDocument, r"manifest\.layers\[0\]\.size: expected a number"),
        ({"Layers": []}, "", InvalidDocument, "looks like 'layers'"),
        ({"layers": [CONFIG] * 4097}, "", InvalidDocument, "more than 4096"),
        ({"annotations": {"a": None}}, "", InvalidDocument, "expected a string"),
        ({"x": "y" * (4 << 20)}, "", LimitExceeded, "4194304 bytes"),
    ],
)
def test_malformed_manifests_are_refused(change: dict[str, Any], said: str, kind: type[ImageError], words: str) -> None:
    assert Manifest.parse(json.dumps(RIGHT).encode()).layers == ()
    with pytest.raises(kind, match=words):
        Manifest.parse(json.dumps(RIGHT | change).encode(), said)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": []}, "two different things"),
        ({"config": CONFIG}, "two different things"),
        ({"mediaType": media.OCI_MANIFEST}, "not the type of an index"),
        ({"manifests": [{}]}, r"index\.manifests\[0\]\.mediaType: missing"),
    ],
)
def test_malformed_indexes_are_refused(change: dict[str, Any], words: str) -> None:
    assert Index.parse(json.dumps(RIGHT_INDEX).encode()).manifests == ()
    with pytest.raises(InvalidDocument, match=words):
        Index.parse(json.dumps(RIGHT_INDEX | change).encode())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rootfs": {"type": "windows", "diff_ids": []}}, "expected 'layers'"),
        ({"rootfs": []}, r"config\.rootfs: expected an object"),
        ({"config": {"Env": "A=b"}}, r"config\.config\.Env: expected a list"),
        ({"config": {"Env": [1]}}, r"config\.config\.Env: expected strings"),
        ({"config": {"env": [], "Env": []}}, "looks like 'Env'"),
        ({"history": [1]}, r"config\.history\[0\]: expected an object"),
        ({"history": [{"empty_layer": "yes"}]}, r"config\.history\[0\]\.empty_layer: expected true or false"),
        ({"os": "li nux"}, "platform: os"),
    ],
)
def test_malformed_configs_are_refused(change: dict[str, Any], words: str) -> None:
    right = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}
    assert ImageConfig.parse(json.dumps(right).encode()).diff_ids == ()
    with pytest.raises(InvalidDocument, match=words):
        ImageConfig.parse(json.dumps(right | change).encode())


def test_null_is_absent_as_docker_writes_it() -> None:
    inner = {"Cmd": None, "Entrypoint": [], "Volumes": None, "Labels": None, "OnBuild": None, "Env": None}
    config = ImageConfig.parse(json.dumps({"os": "linux", "architecture": "amd64", "config": inner, "history": None}).encode())
    assert (config.cmd, config.entrypoint, config.volumes, config.labels, config.env, config.history) == (None, (), (), {}, (), ())
    assert config.to_json()["config"] == {"Entrypoint": []}


def test_a_config_in_python() -> None:
    config = ImageConfig(platform=Platform("linux", "arm64"), cmd=["sh"], env={"A": "b", "C": "d=e"})  # type: ignore[arg-type]
    assert config.cmd == config.command == ("sh",)
    assert config.env == ("A=b", "C=d=e")
    assert config.environment == {"A": "b", "C": "d=e"}
    assert config.with_(entrypoint=["echo"]).command == ("echo", "sh")
    with pytest.raises(InvalidDocument, match="no 'comand'; it has"):
        config.with_(comand=[])
    with pytest.raises(InvalidDocument, match="cmd: expected a list of strings"):
        config.with_(cmd="sh -c ls")


def test_history_pairs_entries_with_layers() -> None:
    one, empty, two = History("ADD a"), History("ENV b", empty_layer=True), History("RUN c")
    assert matched([one, empty, two], 2) == [(one, 0), (empty, None), (two, 1)]
    assert matched([one, two], 1) == [(one, 0), (two, None)]
    assert matched([], 2) == [(History(), 0), (History(), 1)]


def test_an_artifact_is_told_from_an_image() -> None:
    image = Manifest(Descriptor.of(b"{}", media.OCI_CONFIG), ())
    artifact = Manifest(
        Descriptor.empty(), (Descriptor.of(b"x", "text/spdx"),), artifact_type="text/spdx", subject=Descriptor.of(b"", media.OCI_MANIFEST)
    )
    old = Manifest(Descriptor.of(b"{}", "application/vnd.cncf.helm.config.v1+json"), ())
    assert [each.is_artifact for each in (image, artifact, old)] == [False, True, True]
    assert (artifact.kind, old.kind) == ("text/spdx", "application/vnd.cncf.helm.config.v1+json")
    assert Manifest.parse(artifact.data) == artifact


ODD = st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | st.just([])
ODD |= st.just({}) | st.sampled_from(
    [media.OCI_INDEX, media.DOCKER_SCHEMA1, "sha256:" + "0" * 64, "a/b", "\0", "../x", [[]], [{}], {"": None}]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, below in inner for found in [(*path, key), *places(below, (*path, key))]]


@pytest.mark.parametrize(("parse", "documents"), MEANS, ids=["manifest", "index", "config"])
@settings(deadline=None)
@given(draw=st.data())
def test_a_document_with_odd_values_is_read_or_refused(parse: Any, documents: Any, draw: st.DataObject) -> None:
    document = json.loads(json.dumps(draw.draw(documents)))
    *above, last = draw.draw(st.sampled_from(places(document)))
    target = document
    for key in above:
        target = target[key]
    target[last] = draw.draw(ODD)
    with contextlib.suppress(ImageError):
        found = parse(json.dumps(document).encode())
        assert parse(json.dumps(found.to_json()).encode()).to_json() == found.to_json()
        if isinstance(found, Manifest):
            mismatches(Image(found, b"{}", MemoryBlobs()))


@pytest.mark.parametrize(("parse", "documents"), MEANS, ids=["manifest", "index", "config"])
@settings(deadline=None)
@given(draw=st.data())
def test_damaged_bytes_are_read_or_refused(parse: Any, documents: Any, draw: st.DataObject) -> None:
    data = bytearray(json.dumps(draw.draw(documents)).encode())
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(ImageError):
        parse(bytes(data))
