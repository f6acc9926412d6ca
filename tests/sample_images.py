"""Images made by hand, byte by byte, so that a test of reading does not depend on our own writing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def dumps(value: Any) -> bytes:
    """Return JSON with unusual spaces, so that writing a document anew changes its bytes."""
    return json.dumps(value, indent=3).encode() + b"\n"


def tar_of(files: Mapping[str, bytes | str | None]) -> bytes:
    """Return a tar: bytes are a file, a string is a link's target, None is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mtime, info.mode = 1_600_000_000, 0o755 if content is None else 0o644
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, content, 0o777
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


class Sample:
    """One image: layers (tars), a config, a manifest, each as bytes.

    :param layers: uncompressed tars
    :param compress: whether the blobs are gzip
    """

    def __init__(self, *layers: bytes, compress: bool = True, arch: str = "amd64", **config: Any) -> None:
        self.tars = layers
        self.layers = [gzip.compress(t, mtime=0) if compress else t for t in layers]
        self.diff_ids = [sha256(t) for t in layers]
        rootfs = {"type": "layers", "diff_ids": self.diff_ids}
        self.config = dumps({"architecture": arch, "os": "linux", "config": config, "rootfs": rootfs, "x-unknown": [1, 2]})
        media = LAYER + ("+gzip" if compress else "")
        self.manifest = dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(CONFIG, self.config),
                "layers": [descriptor(media, blob) for blob in self.layers],
                "annotations": {"made.by": "hand"},
            }
        )
        self.arch = arch

    @property
    def descriptor(self) -> dict[str, Any]:
        return descriptor(MANIFEST, self.manifest)

    @property
    def blobs(self) -> list[bytes]:
        return [self.manifest, self.config, *self.layers]

    @property
    def digest(self) -> str:
        return sha256(self.manifest)


def descriptor(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


def named(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return {**entry, "annotations": {**entry.get("annotations", {}), REF_NAME: name}}


def index_of(*entries: dict[str, Any]) -> bytes:
    return dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def layout_files(index: bytes, blobs: Sequence[bytes]) -> dict[str, bytes]:
    """Return the files of an OCI layout, by path."""
    files = {"oci-layout": dumps({"imageLayoutVersion": "1.0.0"}), "index.json": index}
    return files | {f"blobs/sha256/{sha256(blob)[7:]}": blob for blob in blobs}


def write_directory(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_tar(path: Path, files: Mapping[str, bytes | str | None]) -> Path:
    path.write_bytes(tar_of(files))
    return path


def base(text: str = "base") -> bytes:
    """Return a small layer with a directory, a file and a link."""
    return tar_of({"etc": None, "etc/name": text.encode(), "etc/link": "name", "big": text.encode() * 30_000})


def image_of(sample: Sample) -> Any:
    """Return the sample as an Image, its blobs in memory."""
    from containerkit.image.blobs import MemoryBlobs
    from containerkit.image.descriptor import Descriptor
    from containerkit.image.digest import Digest
    from containerkit.image.image import Image

    return Image.load(MemoryBlobs({Digest.of(blob): blob for blob in sample.blobs}), Descriptor.from_json(sample.descriptor))
