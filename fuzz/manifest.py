"""Documents: manifests, indexes, configs.

A parsed document keeps its bytes; one that is written anew from its fields parses back equal; no bytes are both a manifest and an index.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from .engine import Fuzzer, instrumented, run

with instrumented(__name__):
    from containerkit.image import media
    from containerkit.image.config import ImageConfig
    from containerkit.image.content import below
    from containerkit.image.descriptor import Descriptor
    from containerkit.image.documents import dump, parse
    from containerkit.image.errors import ImageError
    from containerkit.image.image import Image
    from containerkit.image.index import Index
    from containerkit.image.manifest import Manifest
    from containerkit.image.validate import mismatches

DIGEST = "sha256:" + "0123456789abcdef" * 4
MANIFESTS = {"manifest": (media.OCI_MANIFEST, media.DOCKER_MANIFEST), "index": (media.OCI_INDEX, media.DOCKER_LIST)}
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, -1, 1.5, 1e400, 1 << 62, 1 << 63, 1 << 64, "", " ", "0", "\0", "\u212aey", "\ud800", [], {}, [[]], [{}],
    {"": ""}, DIGEST, DIGEST.upper(), "sha256:..", "md5:d41d8cd98f00b204e9800998ecf8427e", "linux", "layers", "e30=", "e30",
    media.OCI_MANIFEST, media.OCI_INDEX, media.OCI_CONFIG, media.OCI_LAYER_ZSTD, media.DOCKER_SCHEMA1_SIGNED, media.DOCKER_LIST,
    media.EMPTY,
)  # fmt: skip
KEYS = (
    "schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations", "manifests", "digest", "size", "platform",
    "urls", "data", "fsLayers", "history", "os", "architecture", "variant", "os.version", "os.features", "rootfs", "type", "diff_ids",
    "created", "created_by", "empty_layer", "author", "comment", "Env", "Cmd", "Entrypoint", "Labels", "Volumes", "ExposedPorts",
    "Healthcheck", "User", "WorkingDir", "StopSignal", "OnBuild", "Shell", "Config", "Layers", "RepoTags", "MediaType", "SIZE",
    "\u017fize", "",
)  # fmt: skip
WORDS = (
    '{"', '":', '","', "[", "]", "{}", "null", "true", "NaN", "-Infinity", "1e999", "\\ud800", "\\u0000", '"sha256:', '"sha512:',
    *(f'"{key}":' for key in KEYS), media.OCI_MANIFEST, media.OCI_INDEX, media.DOCKER_SCHEMA1,
)  # fmt: skip


def check(data: bytes) -> None:
    """Check the properties of any bytes."""
    found = [each for each in (of("manifest", Manifest.parse, data), of("index", Index.parse, data)) if each is not None]
    assert len(found) < 2, "these bytes are a manifest and an index"
    of_config(data)


def of(kind: str, read: Callable[[bytes, str], Any], data: bytes) -> Manifest | Index | None:
    """Parse a manifest or an index; return None if it is refused."""
    try:
        found: Manifest | Index = read(data, "")
    except ImageError:
        for said in MANIFESTS[kind]:
            assert not readable(read, data, said) or b"mediaType" not in data, "whoever points at it makes it readable"
        return None
    assert found.data == data, "the bytes are not kept"
    assert found.media_type in MANIFESTS[kind]
    again = read(dump(found.to_json()), found.media_type)
    assert again.to_json() == found.to_json(), "written anew it is something else"
    pointed = Descriptor.of(data, found.media_type)
    children = [found.config, *found.layers] if isinstance(found, Manifest) else list(found.manifests)
    assert below(pointed, data) == children, "two readers find different things in it"
    for said in {each for types in MANIFESTS.values() for each in types} - {found.media_type}:
        if b'"mediaType"' in data and parse(data, kind).get("mediaType"):
            assert not readable(read, data, said), "it can be pointed at as something else"
    for child in children:
        assert Descriptor.from_json(child.to_json()) == child
    return found


def readable(read: Callable[[bytes, str], Any], data: bytes, said: str) -> bool:
    try:
        read(data, said)
    except ImageError:
        return False
    return True


def of_config(data: bytes) -> None:
    try:
        found = ImageConfig.parse(data)
    except ImageError:
        return
    again = ImageConfig.parse(found.dump())
    assert again == found, "written anew it is something else"
    assert again.dump() == found.dump()
    image = Image.of(found.with_(diff_ids=(), history=()))
    assert Image(image.manifest, image.config_data, image.source).config == image.config
    mismatches(image, layers=False)
    str(image)


def seeds() -> Iterator[bytes]:
    """Yield a document of each kind, with every field."""
    layer = {"mediaType": media.OCI_LAYER_GZIP, "digest": DIGEST, "size": 1234, "annotations": {"a": "b"}, "urls": ["https://a.example/b"]}
    config = {"mediaType": media.OCI_CONFIG, "digest": DIGEST, "size": 2345}
    pair = {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": config, "layers": [layer, layer]}
    yield encoded(pair)
    yield encoded({key: value for key, value in pair.items() if key != "mediaType"})
    empty = {"mediaType": media.EMPTY, "digest": str(Descriptor.empty().digest), "size": 2, "data": "e30="}
    about = {"mediaType": media.OCI_MANIFEST, "digest": DIGEST, "size": 7}
    yield encoded(pair | {"artifactType": "a/b", "config": empty, "layers": [empty], "subject": about, "annotations": {"c": "d"}})
    docker = config | {"mediaType": media.DOCKER_CONFIG}
    yield encoded(pair | {"mediaType": media.DOCKER_MANIFEST, "config": docker, "layers": [layer | {"mediaType": media.DOCKER_LAYER_GZIP}]})
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8", "os.version": "1", "os.features": ["x"]}
    yield encoded(
        {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [about | {"platform": platform}, about], "subject": about}
    )
    yield encoded({"schemaVersion": 2, "mediaType": media.DOCKER_LIST, "manifests": [about | {"mediaType": media.DOCKER_MANIFEST}]})
    inner = {
        "User": "1:1",
        "Env": ["A=b"],
        "Cmd": ["sh"],
        "Entrypoint": [],
        "WorkingDir": "/w",
        "Labels": {"l": "v"},
        "Volumes": {"/v": {}},
    }
    inner |= {
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGTERM",
        "Shell": ["sh", "-c"],
        "OnBuild": ["RUN x"],
        "Healthcheck": {"Test": ["NONE"]},
    }
    history = [{"created": "2026-01-02T03:04:05Z", "created_by": "ADD x", "comment": "c"}, {"empty_layer": True, "author": "a"}]
    rest = {"created": "2026-01-02T03:04:05.678Z", "author": "a", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}, "history": history}
    yield encoded({**platform, **rest, "config": inner, "x-more": {"a": [1, 2.5, None]}})
    yield encoded({"schemaVersion": 1, "fsLayers": [{"blobSum": DIGEST}], "history": [{"v1Compatibility": "{}"}]})
    yield b"{}"


def encoded(value: Any) -> bytes:
    """Encode a value as JSON.  Half a surrogate, which is no Unicode, is written as an escape."""
    return json.dumps(value, allow_nan=True).encode()


def mutate(data: bytes, chance: random.Random, raw: Callable[[bytes], bytes]) -> bytes:
    """Change the tree of a JSON document; change other bytes as bytes."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return raw(data)
    for _ in range(chance.randint(1, 3)):
        value = changed(value, chance, raw)
    written = encoded(value)
    if chance.randrange(8):
        return written
    key = f'"{chance.choice(KEYS)}": {json.dumps(chance.choice(ODD))},'.encode()  # a key that may be repeated
    return written.replace(b"{", b"{" + key, 1)


def changed(value: Any, chance: random.Random, raw: Callable[[bytes], bytes]) -> Any:
    """Replace, remove, repeat or rename one value in the tree."""
    places = list(below_of(value))
    if not places:
        return chance.choice(ODD)
    holder, key = chance.choice(places)
    other = copy.deepcopy((pick := chance.choice(places))[0][pick[1]])
    match chance.randrange(6):
        case 0 | 1:
            holder[key] = copy.deepcopy(chance.choice(ODD))
        case 2:
            holder[key] = other
        case 3:
            del holder[key]
        case 4 if isinstance(holder, dict):
            holder[chance.choice(KEYS)] = other
        case 4:
            holder.insert(key, other)
        case 5 if isinstance(holder[key], str):
            holder[key] = raw(holder[key].encode(errors="replace")).decode(errors="replace")
        case 5 if isinstance(holder, dict):
            holder[chance.choice((key.upper(), key.title(), key + " ", chance.choice(KEYS)))] = holder.pop(key)
    return value


def below_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the position of every value in a tree: its container, and its key or index."""
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from below_of(inner)


FUZZER = Fuzzer(check, seeds, mutate, tuple(word.encode() for word in WORDS))

if __name__ == "__main__":
    run(FUZZER)
