"""Exchange of build caches: records and their layers, as an artifact in a layout or a registry.

    build(".", cache_to="/shared/cache")            an OCI layout: a directory, or a tar when the path ends in .tar
    build(".", cache_from=["registry:5000/cache"])   a reference

A record from elsewhere is trusted as an image is: its layers are verified against their digests, but that a layer is the result of
its key is only the writer's claim.
:see: https://github.com/opencontainers/image-spec/blob/main/artifacts-guidance.md
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..base import late
from ..image.descriptor import Descriptor
from ..image.documents import Fields, dump, parse
from ..image.errors import InvalidDocument, Missing
from ..image.files.blob_union import BlobUnion
from ..image.files.layout import Layout
from ..image.files.opening import open_source
from ..image.image import Image
from ..image.manifest import Manifest
from ..store.store import Store
from .cache import Cache, Record
from .workspace import Workspace

__all__ = ["TYPE", "export_cache", "import_cache"]

TYPE = "application/vnd.containerkit.build.cache.v1"
RECORDS = TYPE + "+json"
NAME = "build-cache"
KEY = late.pattern(r"[0-9a-f]{64}", re.ASCII)

StrPath = str | os.PathLike[str]


def export_cache(target: StrPath, records: Mapping[str, Record], store: Store) -> None:
    """Write records and their layers to a layout, or push them.

    :param target: a path if it is absolute, begins with ``.`` or exists; else a reference
    :raises ImageError, RegistryError: the target cannot be written
    """
    image = _artifact(records, store)
    if _is_path(target):
        image.save(target, NAME)
    else:
        from ..registry import push

        push(image, os.fspath(target))


def import_cache(source: StrPath, workshop: Workspace, cache: Cache) -> int:
    """Import the records of a layout or of a reference.

    :param source: in the form of the target of `export_cache`
    :return: the number of records; 0 when the source does not exist
    :raises ImageError, RegistryError: the source exists but cannot be read
    """
    try:
        image = _opened(source) if _is_path(source) else _pulled(source, workshop.store)
    except LookupError:
        return 0
    records = _records(image)
    workshop.hold([layer.digest for layer in image.manifest.layers])
    with workshop.store.session() as session:
        for descriptor in image.manifest.layers:
            if not session.has(descriptor):
                with image.source.open(descriptor) as stream:
                    session.add(descriptor, stream)
    for key, record in records.items():
        cache.put(key, record)
    return len(records)


def _is_path(where: StrPath) -> bool:
    return isinstance(where, os.PathLike) or where.startswith(("/", ".")) or os.path.exists(where)


def _artifact(records: Mapping[str, Record], store: Store) -> Image:
    data = dump({"records": {key: record.to_json() for key, record in sorted(records.items())}})
    layers = {record.layer[0].digest: record.layer[0] for record in records.values() if record.layer}
    config = Descriptor.of(data, RECORDS)
    manifest = Manifest(config, tuple(layers[digest] for digest in sorted(layers)), artifact_type=TYPE)
    return Image(manifest, data, BlobUnion({}, store.blobs))


def _opened(path: StrPath) -> Image:
    if not os.path.exists(path):
        raise Missing(f"there is nothing at {os.fspath(path)}")
    source = Layout.open(path) if Path(path).is_dir() else open_source(path)
    return Image.load(source.blobs, source.manifest(NAME))


def _pulled(reference: StrPath, store: Store) -> Image:
    from ..registry import pull

    found = pull(os.fspath(reference), store)
    assert isinstance(found, Image)
    return found


def _records(image: Image) -> dict[str, Record]:
    """Return the records whose layer is in the artifact.

    :raises InvalidDocument: the artifact is no build cache
    """
    if image.manifest.kind != TYPE:
        raise InvalidDocument(f"expected an artifact of type {TYPE}, found {image.manifest.kind or 'an image'}")
    fields = Fields(Fields(parse(image.config_data, "cache"), "cache").take("records", dict), "cache.records")
    layers = {layer.digest: layer for layer in image.manifest.layers}
    found = {}
    for key in parse(image.config_data, "cache")["records"]:
        try:
            record = Record.from_json(fields.take(key, dict))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidDocument(f"cache.records.{key}: {error}") from error
        if not KEY.fullmatch(key):
            raise InvalidDocument(f"cache.records: {key[:80]!r} is not a key")
        if record.layer is None or layers.get(record.layer[0].digest) == record.layer[0]:
            found[key] = record
    return found
