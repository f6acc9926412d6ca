"""Images made by an attacker: manifests, indexes, configs, layouts and archives that lie.

Each is opened, put into a store that has an image already, and unpacked there.  It ends with an error that says what it is, in
time, and the store is as it was.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from evil import content, directory, fifo, file, hardlink, pax, record, restocked, stocked, symlink, tar
from sample_images import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    Sample,
    base,
    descriptor,
    dumps,
    image_of,
    index_of,
    layout_files,
    named,
    sha256,
    tar_of,
    write_directory,
    write_tar,
)

from containerkit.image.errors import (
    Escape,
    ImageError,
    InvalidDigest,
    InvalidDocument,
    InvalidImage,
    InvalidLayer,
    InvalidReference,
    LimitExceeded,
    Mismatch,
    Missing,
    Unsupported,
)
from containerkit.image.files.opening import open_source
from containerkit.store.store import Store

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(10)]
zstandard = pytest.importorskip("zstandard", reason="needs zstandard: pip install containerkit[zstd]")

TARS = (base(), tar_of({"one": b"1"}))
GOOD = Sample(base("good"), tar_of({"good": b"1"}), Cmd=["sh"])
GZIP, ZSTD = LAYER + "+gzip", LAYER + "+zstd"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
NOBODY = "sha256:" + "ab" * 32
Change = Callable[[dict[str, Any]], dict[str, Any]]
Files = dict[str, bytes]


# Forging --------------------------------------------------------------------------------------------------------


def same(value: Any) -> Any:
    return value


def path_of(blob: bytes) -> str:
    return f"blobs/sha256/{sha256(blob)[7:]}"


def packed(tar: bytes) -> bytes:
    return gzip.compress(tar, mtime=0)


def forged(
    *, blobs: tuple[bytes, ...] = tuple(map(packed, TARS)), tars: tuple[bytes, ...] = TARS, kind: str = GZIP, layer: Change = same,
    config: Change = same, said_of_config: Change = same, manifest: Change = same, entry: Change = same,
    index: Callable[[bytes], bytes] = same,
    text: Callable[[bytes], bytes] = same,
) -> Files:  # fmt: skip
    """A layout of one image, right but for what is changed; digests are taken after the change.

    :param layer, said_of_config, entry: change descriptors: of the topmost layer, of the config, of the manifest
    :param text, index: change the bytes of the manifest and of index.json
    """
    config_data = dumps(config({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [*map(sha256, tars)]}}))
    layers = [descriptor(kind, blob) for blob in blobs]
    layers[-1] = layer(layers[-1])
    said = said_of_config(descriptor(CONFIG, config_data))
    document = manifest({"schemaVersion": 2, "mediaType": MANIFEST, "config": said, "layers": layers})
    data = text(dumps(document))
    return layout_files(index(index_of(entry(named(descriptor(MANIFEST, data), "evil")))), [data, config_data, *blobs])


def with_(**changes: Any) -> Change:
    return lambda value: {key: new for key, new in (value | changes).items() if new is not ABSENT}


ABSENT = object()


def flipped(place: float) -> Callable[[bytes], bytes]:
    """Another byte at a place from 0 to 1."""

    def flip(data: bytes) -> bytes:
        at = min(int(len(data) * place), len(data) - 1)
        return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]

    return flip


def stored(files: Files, blob: bytes, change: Callable[[bytes], bytes]) -> Files:
    """Other bytes under the blob's name."""
    return files | {path_of(blob): change(files[path_of(blob)])}


def documents(files: Files) -> tuple[bytes, bytes]:
    """Manifest and config."""
    entry = json.loads(files["index.json"])["manifests"][0]
    manifest = files[f"blobs/sha256/{entry['digest'][7:]}"]
    return manifest, files[f"blobs/sha256/{json.loads(manifest)['config']['digest'][7:]}"]


# The corpus -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evil:
    """One evil image.

    :ivar files: of a layout; `write` makes something else of them
    :ivar error: what it ends with
    :ivar at: "open", "put" or "unpack": where that is
    """

    name: str
    files: Files
    error: type[ImageError] | tuple[type[ImageError], ...]
    at: str = "put"
    write: Callable[[Path, Files], Path] | None = None


def confusions() -> Iterator[Evil]:
    """One thing pointed at as another."""
    yield Evil("config as a layer", forged(layer=with_(mediaType=CONFIG)), Unsupported, "unpack")
    yield Evil("layer as the config", forged(said_of_config=with_(mediaType=GZIP)), Unsupported, "unpack")
    yield Evil("manifest as the config", forged(said_of_config=with_(mediaType=MANIFEST)), InvalidDocument)
    yield Evil("index as a layer", forged(layer=with_(mediaType=INDEX)), (InvalidDocument, LimitExceeded))
    yield Evil("manifest as an index", forged(entry=with_(mediaType=INDEX)), InvalidDocument)
    yield Evil("manifest as a config", forged(entry=with_(mediaType=CONFIG)), Missing, "unpack")
    yield Evil("manifest as docker's", forged(entry=with_(mediaType=DOCKER_MANIFEST)), InvalidDocument)
    yield Evil(
        "manifest without a type as an index", forged(manifest=with_(mediaType=ABSENT), entry=with_(mediaType=INDEX)), InvalidDocument
    )
    yield Evil("manifest and index in one", forged(manifest=with_(manifests=[])), InvalidDocument)
    yield Evil("manifest and Index in one", forged(manifest=with_(Manifests=[])), InvalidDocument)
    yield Evil("manifest and schema 1 in one", forged(manifest=with_(fsLayers=[])), InvalidDocument)
    yield Evil("schema 1 by type", forged(entry=with_(mediaType=SCHEMA1)), Unsupported)
    yield Evil("schema 1 by number", forged(manifest=with_(schemaVersion=1)), Unsupported)
    yield Evil("schema 1 within", forged(manifest=with_(mediaType=SCHEMA1)), Unsupported)
    yield Evil("schema 3", forged(manifest=with_(schemaVersion=3)), InvalidDocument)
    yield Evil("schema true", forged(manifest=with_(schemaVersion=True)), (InvalidDocument, Unsupported))
    yield Evil("no schema", forged(manifest=with_(schemaVersion=ABSENT)), InvalidDocument)
    yield Evil("type of nothing", forged(layer=with_(mediaType="no type")), InvalidDocument)
    yield Evil("type with a line in it", forged(layer=with_(mediaType="a/b\r\nX: y")), InvalidDocument)
    yield Evil("index.json is a manifest", forged(index=lambda data: documents(forged())[0]), InvalidDocument, "open")


def changed_bytes() -> Iterator[Evil]:
    """Bytes that are not the ones that were promised, in every class of bytes."""
    files = forged()
    manifest, config = documents(files)
    classes = {"manifest": manifest, "config": config, "layer": packed(TARS[1]), "lower layer": packed(TARS[0])}
    for name, blob in classes.items():
        for place in (0.0, 0.5, 1.0):
            yield Evil(f"{name}: another byte at {place}", stored(files, blob, flipped(place)), Mismatch)
        yield Evil(f"{name}: a byte less", stored(files, blob, lambda data: data[:-1]), Mismatch)
        yield Evil(f"{name}: a byte more", stored(files, blob, lambda data: data + b"\0"), Mismatch)
        yield Evil(f"{name}: nothing", stored(files, blob, lambda data: b""), Mismatch)
        yield Evil(f"{name}: not there", {path: data for path, data in files.items() if path != path_of(blob)}, Missing)
    yield Evil("two layers exchanged", forged(blobs=(packed(TARS[1]), packed(TARS[0]))), Mismatch, "unpack")
    for place in (0.0, 0.5, 1.0):
        other = flipped(place)(TARS[1])
        yield Evil(f"tar: another byte at {place}", forged(blobs=(packed(TARS[0]), packed(other))), (Mismatch, InvalidLayer), "unpack")
    yield Evil("tar: a block more", forged(blobs=(packed(TARS[0]), packed(TARS[1] + bytes(512)))), Mismatch, "unpack")
    yield Evil("tar: a block less", forged(blobs=(packed(TARS[0]), packed(TARS[1][:-512]))), Mismatch, "unpack")
    yield Evil("diff_id of the compressed bytes", forged(tars=(TARS[0], packed(TARS[1]))), Mismatch, "unpack")


def sizes() -> Iterator[Evil]:
    real = len(packed(TARS[1]))
    for size in (real + 1, real - 1, 0, 1 << 40, (1 << 63) - 1):
        yield Evil(f"layer said to have {size - real:+} bytes", forged(layer=with_(size=size)), Mismatch)
    for size in (-1, -(1 << 70), 1 << 63, 1 << 64, 10**4000, 1.5, float(real), 1e300, "5", True, None, [], {}):
        yield Evil(f"layer of the size {str(size)[:22]} ({type(size).__name__})", forged(layer=with_(size=size)), InvalidDocument)
    yield Evil("manifest larger than said", forged(entry=lambda e: e | {"size": e["size"] - 1}), Mismatch)
    yield Evil("manifest smaller than said", forged(entry=lambda e: e | {"size": e["size"] + 1}), Mismatch)
    yield Evil("manifest of 5 MB", forged(text=lambda data: data + b" " * (5 << 20)), LimitExceeded)
    yield Evil("manifest said to have 5 MB", forged(entry=with_(size=5 << 20)), (LimitExceeded, Mismatch))
    yield Evil("config of 5 MB", forged(config=with_(more="x" * (5 << 20))), LimitExceeded, "unpack")
    yield Evil("config larger than said", forged(said_of_config=lambda d: d | {"size": d["size"] - 1}), Mismatch)


def digests() -> Iterator[Evil]:
    digest = sha256(packed(TARS[1]))
    for number, text in enumerate((
        "", "sha256", "sha256:", "sha256:abc", digest.upper(), digest + "\n", " " + digest, digest + "0", "SHA256:" + digest[7:],
        digest[7:],
        "md5:d41d8cd98f00b204e9800998ecf8427e", "sha1:" + "a" * 40, "sha384:" + "a" * 96, "sha512:" + "a" * 64, "sha256+b64:" + "a" * 43,
        "blake3:" + "a" * 64, "..:" + "a" * 64, "sha256:../../../../../etc/passwd", "sha256:" + "../" * 21 + "x", "../sha256:" + "a" * 64,
        "sha256:" + "a" * 63 + "/", "sha256:" + "a" * 63 + "\0", "sha256:" + "\uff11" * 64, "/etc/passwd",
    )):  # fmt: skip
        error = (InvalidDigest, InvalidDocument)
        yield Evil(f"layer's digest {number}: {text[:20]!r}", forged(layer=with_(digest=text)), error)
    for other in (None, 5, [digest], {"sha256": digest}):
        yield Evil(f"layer's digest {other!r:.30}", forged(layer=with_(digest=other)), InvalidDocument)
    yield Evil("manifest's digest is a path", forged(entry=with_(digest="sha256:../../index.json")), InvalidDigest, "open")
    yield Evil(
        "diff_id is a path", forged(config=with_(rootfs={"type": "layers", "diff_ids": ["sha256:../x"] * 2})), InvalidDigest, "unpack"
    )


def texts() -> Iterator[Evil]:
    """JSON that readers understand differently, or not at all."""

    def twice(key: str) -> Callable[[bytes], bytes]:
        return lambda data: data.replace(b"{", b'{"' + key.encode() + b'": [],', 1)

    for name, change in {
        "layers twice": twice("layers"), "config twice": twice("config"), "Layers too": twice("Layers"),
        "mediaType twice": twice("mediaType"),
        "long s in layers": twice("layer\u017f"), "escaped key twice": twice("\\u006cayers"),
        "a byte order mark": lambda data: b"\xef\xbb\xbf" + data, "UTF-16": lambda data: data.decode().encode("utf-16"),
        "UTF-32": lambda data: data.decode().encode("utf-32"), "Latin 1": lambda data: data.replace(b"{", b'{"a": "\xe9",', 1),
        "half a surrogate": lambda data: data.replace(b"{", b'{"a": "\\ud800",', 1),
        "NaN": lambda data: data.replace(b"{", b'{"a": NaN,', 1),
        "Infinity": lambda data: data.replace(b"{", b'{"a": [-Infinity],', 1), "1e999": lambda data: data.replace(b"{", b'{"a": 1e999,', 1),
        "5000 digits": lambda data: data.replace(b"{", b'{"a": ' + b"9" * 5000 + b",", 1),
        "a comma too many": lambda data: data.rstrip()[:-1] + b",}", "two documents": lambda data: data + data,
        "no bytes": lambda data: b"",
        "a zero byte at its end": lambda data: data + b"\0", "a comment": lambda data: data.replace(b"{", b"{/* */", 1),
        "single quotes": lambda data: data.replace(b'"', b"'"), "a list": lambda data: b"[" + data + b"]", "null": lambda data: b"null",
        "a number": lambda data: b"2", "a string": lambda data: json.dumps(data.decode()).encode(),
    }.items():  # fmt: skip
        kinds = (InvalidDocument, LimitExceeded)
        yield Evil(f"manifest: {name}", forged(text=change), kinds)
        if "layers" not in name and "Layers" not in name and "config" not in name:
            yield Evil(f"index.json: {name}", forged(index=change), kinds, "open")
    for depth in (100, 1000, 100_000):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            text = f'{{"a": {opening * depth}1{closing * depth},'.encode()
            change = lambda data, text=text: data.replace(b"{", text, 1)  # noqa: E731
            yield Evil(f"manifest: {depth} {opening[0]} inside each other", forged(text=change), LimitExceeded)


def fields() -> Iterator[Evil]:
    """Documents whose fields make no sense."""
    for key, value in {
        "layers": None, "config": None, "annotations": {"a": 1}, "artifactType": 7, "mediaType": ["x"], "subject": [], "annotations ": "",
    }.items():  # fmt: skip
        if key.strip() == key:
            yield Evil(f"manifest.{key} is {value!r}", forged(manifest=with_(**{key: value})), InvalidDocument)
    yield Evil("manifest.layers is an object", forged(manifest=with_(layers={"0": {}})), InvalidDocument)
    yield Evil("a layer is a text", forged(manifest=with_(layers=[NOBODY])), InvalidDocument)
    yield Evil("a layer is null", forged(manifest=with_(layers=[None])), InvalidDocument)
    yield Evil(
        "subject with a digest that is none", forged(manifest=with_(subject=descriptor(MANIFEST, b"") | {"digest": "x"})), InvalidDigest
    )
    small = {"mediaType": "a/b", "digest": NOBODY, "size": 1}
    yield Evil("5000 layers", forged(manifest=with_(layers=[small] * 5000)), InvalidDocument)
    yield Evil("100000 layers", forged(manifest=with_(layers=[small] * 100_000)), LimitExceeded)
    yield Evil("more layers than diff_ids", forged(manifest=lambda m: m | {"layers": m["layers"] * 2}), InvalidImage, "unpack")
    yield Evil("fewer layers than diff_ids", forged(manifest=lambda m: m | {"layers": m["layers"][:1]}), InvalidImage, "unpack")
    yield Evil("no layers but diff_ids", forged(manifest=with_(layers=[])), InvalidImage, "unpack")
    layers = {"type": "layers"}
    yield Evil("no diff_ids", forged(config=with_(rootfs=layers)), InvalidImage, "unpack")
    yield Evil("no rootfs", forged(config=with_(rootfs=ABSENT)), InvalidImage, "unpack")
    for name, change in {
        "rootfs of another type": with_(rootfs={"type": "windows", "diff_ids": []}), "rootfs is a list": with_(rootfs=[]),
        "RootFS beside rootfs": with_(RootFS=layers), "Env is a text": with_(config={"Env": "A=b"}),
        "env beside Env": with_(config={"Env": [], "env": []}),
        "Cmd of numbers": with_(config={"Cmd": [1]}), "Labels of lists": with_(config={"Labels": {"a": []}}),
        "config is a list": with_(config=[]),
        "history is an object": with_(history={}), "history of texts": with_(history=["RUN x"]), "os is a path": with_(os="../../linux"),
        "architecture with a zero byte": with_(architecture="amd64\0"), "empty_layer is 1": with_(history=[{"empty_layer": 1}]),
    }.items():  # fmt: skip
        yield Evil(f"config: {name}", forged(config=change), InvalidDocument, "unpack")
    data = {"data": "eA=="}
    yield Evil("data of another digest", forged(layer=with_(**data, size=1)), Mismatch)
    yield Evil("data of another size", forged(layer=with_(**data)), Mismatch)
    yield Evil("data that is no base64", forged(layer=with_(data="!")), InvalidDocument)
    yield Evil("data of another manifest", forged(entry=with_(**data)), Mismatch, "open")
    yield Evil("name that is none", forged(entry=lambda e: named(e, "../../UPPER")), InvalidReference)
    nothing = with_(mediaType=FOREIGN, digest=NOBODY, size=7, urls=["http://127.0.0.1:1/layer", "file:///etc/passwd"])
    yield Evil("foreign layer from elsewhere", forged(layer=nothing), Missing, "unpack")


def indexes() -> Iterator[Evil]:
    image = forged()
    manifest, _ = documents(image)
    inner = index_of(descriptor(MANIFEST, manifest))
    nest = [inner]
    for _ in range(10):
        nest.append(index_of(*[descriptor(INDEX, nest[-1])] * 50))
    files = image | layout_files(index_of(named(descriptor(INDEX, nest[-1]), "evil")), nest)
    yield Evil("indexes in indexes", files, LimitExceeded)
    circle = index_of({"mediaType": INDEX, "digest": NOBODY, "size": 0})
    circle = circle.replace(b'"size": 0', b'"size": %d' % (len(circle) + 2))
    files = layout_files(index_of({"mediaType": INDEX, "digest": NOBODY, "size": len(circle)}), []) | {f"blobs/sha256/{NOBODY[7:]}": circle}
    yield Evil("index that names itself", files, Mismatch)
    small = {"mediaType": MANIFEST, "digest": NOBODY, "size": 1}
    many = json.dumps({"schemaVersion": 2, "manifests": [small] * 100_000}).encode()
    yield Evil("100000 manifests in index.json", forged(index=lambda data: many), LimitExceeded, "open")
    each = [{"mediaType": "a/b", "digest": f"sha256:{number:064x}", "size": 1} for number in range(35_000)]
    many = json.dumps({"schemaVersion": 2, "manifests": each}, separators=(",", ":")).encode()
    assert len(many) < 4 << 20
    yield Evil(
        "35000 things that are not here", layout_files(index_of(descriptor(INDEX, many)), [many]), (Missing, LimitExceeded), "unpack"
    )
    yield Evil("index of 35000 names", layout_files(many, []), Missing, "put")
    yield Evil(
        "index with layers",
        layout_files(index_of(descriptor(INDEX, i := dumps({"schemaVersion": 2, "manifests": [], "layers": []}))), [i]),
        InvalidDocument,
    )
    yield Evil("index pointed at as a manifest", layout_files(index_of(descriptor(MANIFEST, inner)), [inner]), InvalidDocument)
    yield Evil("index for no platform", image | layout_files(index_of(), []), Missing)
    strange = descriptor(MANIFEST, manifest) | {"platform": {"os": "linux\n", "architecture": "amd64"}}
    yield Evil("platform with a line in it", image | layout_files(index_of(strange), []), InvalidDocument, "open")
    elsewhere = [descriptor(MANIFEST, manifest) | {"platform": {"os": name, "architecture": "s390x"}} for name in ("plan9", "zos")]
    outer = index_of(*elsewhere)
    yield Evil("for other machines only", image | layout_files(index_of(descriptor(INDEX, outer)), [outer]), Missing, "unpack")


def compressions() -> Iterator[Evil]:
    """Layers whose digests are right, and that are damaged before they are a tar."""

    def with_blob(blob: bytes, kind: str = GZIP, tar: bytes = TARS[1]) -> Files:
        return forged(blobs=(packed(TARS[0]), blob), tars=(TARS[0], tar), layer=with_(mediaType=kind))

    plain, gz, zst = TARS[1], packed(TARS[1]), zstandard.compress(TARS[1])
    blobs = {"plain": (plain, LAYER), "gzip": (gz, GZIP), "zstd": (zst, ZSTD)}
    for name, (blob, own) in blobs.items():
        for other, (_, kind) in blobs.items():
            if kind != own:
                yield Evil(f"{name} said to be {other}", with_blob(blob, kind), Mismatch, "unpack")
    yield Evil("xz said to be gzip", with_blob(b"\xfd7zXZ\0" + bytes(99)), (Mismatch, Unsupported), "unpack")
    yield Evil("xz said to be plain", with_blob(b"\xfd7zXZ\0" + bytes(99), LAYER), (Mismatch, Unsupported), "unpack")
    for name, blob, kind in (("gzip", gz, GZIP), ("zstd", zst, ZSTD)):
        for cut in (1, 4, 8, len(blob) // 2, len(blob) - 11):
            yield Evil(f"{name} cut by {cut}", with_blob(blob[:-cut], kind), (InvalidLayer, Mismatch), "unpack")
        yield Evil(f"{name} and then something else", with_blob(blob + b"else", kind), InvalidLayer, "unpack")
        yield Evil(f"{name} damaged", with_blob(flipped(0.6)(blob), kind), (InvalidLayer, Mismatch), "unpack")
        yield Evil(f"{name} twice", with_blob(blob + blob, kind), Mismatch, "unpack")
    zeros = bytes(64 << 20)
    yield Evil("gzip bomb", with_blob(gzip.compress(zeros, 9), tar=zeros), LimitExceeded, "unpack")
    yield Evil("gzip bomb of many members", with_blob(gzip.compress(zeros[: 1 << 20], 9) * 64, tar=zeros), LimitExceeded, "unpack")
    yield Evil("gzip of endless empty members", with_blob(packed(b"") * 100_000, tar=b""), LimitExceeded, "unpack")
    yield Evil("zstd bomb", with_blob(zstandard.compress(zeros), ZSTD, zeros), LimitExceeded, "unpack")
    yield Evil("zstd bomb of many frames", with_blob(zstandard.compress(zeros[: 1 << 20]) * 64, ZSTD, zeros), LimitExceeded, "unpack")
    wide = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27)).compressobj()
    blob = wide.compress(plain) + wide.flush()
    yield Evil("zstd that looks far back", with_blob(blob, ZSTD), LimitExceeded, "unpack")
    skipped = b"\x50\x2a\x4d\x18\xff\xff\xff\x7f"
    yield Evil("zstd that skips more than there is", with_blob(zst + skipped, ZSTD), (InvalidLayer, Mismatch), "unpack")
    yield Evil("no tar", with_blob(packed(b"no tar" * 200), tar=b"no tar" * 200), InvalidLayer, "unpack")
    climbing = tar(file(b"../../../../blobs/sha256/evil"))
    yield Evil("tar that climbs out", with_blob(packed(climbing), tar=climbing), Escape, "unpack")
    wrong = tar(directory(b"d/"), file(b"d/x"), file(b".wh.x/y"))
    yield Evil("tar with a file in a whiteout", with_blob(packed(wrong), tar=wrong), InvalidLayer, "unpack")


def places() -> Iterator[Evil]:
    """Layouts whose files are no files."""
    good = forged()
    manifest, config = documents(good)
    names = {"manifest": path_of(manifest), "config": path_of(config), "layer": path_of(packed(TARS[1]))}
    for what, name in names.items():
        for how in (linked, circled, piped, emptied, socketed):
            error = (Missing, Mismatch) if how is emptied else Missing
            yield Evil(f"{what} {how.__doc__}", good, error, "put", lambda path, files, how=how, name=name: how(path, files, name))
    for name in ("index.json", "oci-layout"):
        for how in (linked, circled, piped, emptied, socketed):
            yield Evil(f"{name} {how.__doc__}", good, (Missing, InvalidDocument), "open", lambda p, f, how=how, name=name: how(p, f, name))
    yield Evil("oci-layout of the future", good | {"oci-layout": dumps({"imageLayoutVersion": "2.0.0"})}, Unsupported, "open")
    yield Evil("oci-layout without a version", good | {"oci-layout": b"{}"}, InvalidDocument, "open")
    yield Evil("oci-layout of 5 MB", good | {"oci-layout": b" " * (5 << 20)}, LimitExceeded, "open")
    yield Evil("index.json of 5 MB", forged(index=lambda data: data + b" " * (5 << 20)), LimitExceeded, "open")
    yield Evil("nothing at all", {}, Missing, "open")


def moved(path: Path, files: Files, name: str) -> Path:
    """The layout, without one of its files; that is beside it."""
    made = write_directory(path / "evil", files)
    os.rename(made / name, path / "elsewhere")
    return made


def linked(path: Path, files: Files, name: str) -> Path:
    """is a link to elsewhere"""
    made = moved(path, files, name)
    (made / name).symlink_to(path / "elsewhere")
    return made


def circled(path: Path, files: Files, name: str) -> Path:
    """is a link to itself"""
    made = moved(path, files, name)
    (made / name).symlink_to(os.path.basename(name))
    return made


def piped(path: Path, files: Files, name: str) -> Path:
    """is a fifo"""
    made = moved(path, files, name)
    os.mkfifo(made / name)
    return made


def emptied(path: Path, files: Files, name: str) -> Path:
    """is a directory"""
    made = moved(path, files, name)
    (made / name).mkdir()
    return made


def socketed(path: Path, files: Files, name: str) -> Path:
    """is a socket"""
    made = moved(path, files, name)
    here = os.getcwd()
    os.chdir(made / os.path.dirname(name))
    try:
        with socket.socket(socket.AF_UNIX) as made_there:
            made_there.bind("s")
        os.rename("s", os.path.basename(name))
    finally:
        os.chdir(here)
    return made


def archives() -> Iterator[Evil]:
    """Tars: docker-archives, and layouts in a tar."""
    config = dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [*map(sha256, TARS)]}})
    parts = {"config.json": config, "0/layer.tar": TARS[0], "1/layer.tar": TARS[1]}

    def images(**changes: Any) -> Files:
        item = {"Config": "config.json", "Layers": ["0/layer.tar", "1/layer.tar"], "RepoTags": ["evil:1"]} | changes
        return parts | {"manifest.json": dumps([item])}

    good = images()
    for name, files, error, at in (
        ("config above it", images(Config="../config.json"), Escape, "open"),
        ("config of the host", images(Config="/etc/passwd"), Escape, "open"),
        ("config not there", images(Config="none"), Missing, "open"),
        ("config is a layer", images(Config="0/layer.tar"), InvalidDocument, "open"),
        ("layer above it", images(Layers=["0/layer.tar", "../1/layer.tar"]), Escape, "open"),
        ("layer of the host", images(Layers=["0/layer.tar", "/etc/passwd"]), Escape, "open"),
        ("layer is the config", images(Layers=["0/layer.tar", "config.json"]), Mismatch, "put"),
        ("one layer for two", images(Layers=["0/layer.tar"] * 2), Mismatch, "put"),
        ("layers exchanged", images(Layers=["1/layer.tar", "0/layer.tar"]), Mismatch, "put"),
        ("a layer too many", images(Layers=["0/layer.tar"] * 3), InvalidImage, "open"),
        ("no layers", images(Layers=[]), InvalidImage, "open"),
        ("layers of numbers", images(Layers=[0, 1]), InvalidDocument, "open"),
        ("name that is none", images(RepoTags=["../../UPPER:x"]), InvalidReference, "open"),
        ("names in an object", images(RepoTags={"a": "b"}), InvalidDocument, "open"),
        ("layer changed", good | {"1/layer.tar": flipped(0.1)(TARS[1])}, Mismatch, "put"),
        ("layer changed at its end", good | {"1/layer.tar": flipped(1.0)(TARS[1])}, Mismatch, "put"),
        ("config changed", good | {"config.json": flipped(0.5)(config)}, InvalidDocument, "open"),
        ("packed layer of other bytes", good | {"1/layer.tar": packed(TARS[0])}, Mismatch, "unpack"),
        ("packed with xz", good | {"1/layer.tar": b"\xfd7zXZ\0" + bytes(506)}, Unsupported, "open"),
        ("manifest.json twice in one", good | {"manifest.json": good["manifest.json"] * 2}, InvalidDocument, "open"),
        ("manifest.json out of its list", good | {"manifest.json": b'[], "images": []'}, InvalidDocument, "open"),
        ("manifest.json of 5 MB", good | {"manifest.json": b" " * (5 << 20)}, LimitExceeded, "open"),
        ("nothing named", good | {"manifest.json": b"[]"}, Missing, "put"),
        ("schema 1", {"repositories": b"{}", "x/layer.tar": TARS[0], "x/json": b"{}"}, Unsupported, "open"),
    ):  # fmt: skip
        yield Evil(f"archive: {name}", files, error, at, lambda path, files: write_tar(path / "evil.tar", files))
    whole = tar_of(good)

    def raw(name: str, data: bytes, error: Any, at: str = "open") -> Evil:
        return Evil(f"archive: {name}", {"data": data}, error, at, written)

    for cut in (1, 300, 512, 1024, 20_000, len(whole) // 2):
        yield raw(f"cut after {cut}", whole[:cut], ImageError)
    yield raw("empty", b"", Missing)
    yield raw("gzip cut", packed(whole)[:-9], InvalidLayer)
    yield raw("xz", b"\xfd7zXZ\0" + bytes(99), InvalidLayer)
    yield raw("no tar", b"no tar " * 500, InvalidLayer)
    head = tar(*(file(name.encode(), data) for name, data in parts.items()))[:-1024]
    yield raw("manifest.json there twice", head + file(b"manifest.json", b"[]") + tar(file(b"./manifest.json", b"[]")), InvalidLayer)
    yield raw("manifest.json is a link out", head + tar(symlink(b"manifest.json", b"../../../../etc/passwd")), (Escape, Missing))
    yield raw("manifest.json is a link to itself", head + tar(symlink(b"manifest.json", b"manifest.json")), Missing)
    yield raw("manifest.json is a hard link to the host", head + tar(hardlink(b"manifest.json", b"/etc/passwd")), (Escape, Missing))
    yield raw("manifest.json is a fifo", head + tar(fifo(b"manifest.json")), Missing)
    sparse = record(b"GNU.sparse.size", b"9") + record(b"GNU.sparse.map", b"0,2")
    yield raw("manifest.json is sparse", head + pax(sparse) + tar(file(b"manifest.json", b"[]")), InvalidLayer)
    yield raw("100001 files", b"".join(file(b"%d" % number, b"") for number in range(100_001)) + bytes(1024), LimitExceeded)


def written(path: Path, files: Files) -> Path:
    (path / "evil.tar").write_bytes(files["data"])
    return path / "evil.tar"


GENERATORS = (confusions, changed_bytes, sizes, digests, texts, fields, indexes, compressions, places, archives)
ALL = [evil for generator in GENERATORS for evil in generator()]
CORPUS = {evil.name: evil for evil in ALL}


# What has to hold -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full() -> Iterator[Path]:
    with stocked(image_of(GOOD)) as directory:
        yield directory


@pytest.fixture
def store(full: Path) -> Iterator[Store]:
    with restocked(full) as made:
        yield made


def swallow(path: Path, store: Store, reached: list[str]) -> None:
    """What `load` and `run` do; `reached` says how far it came."""
    reached.append("open")
    source = open_source(path)
    with contextlib.ExitStack() as stack:
        stack.callback(getattr(source, "close", lambda: None))
        reached.append("put")
        entry = source.find()
        store.add(entry, source.blobs, *source.names, "evil")
    reached.append("unpack")
    with store.hold("evil"):
        reached.append("done")


def test_there_are_enough_of_them() -> None:
    assert len(CORPUS) == len(ALL) > 250


def test_what_is_changed_is_right_before(tmp_path: Path, store: Store) -> None:
    """Or the corpus would show nothing."""
    reached: list[str] = []
    swallow(write_directory(tmp_path / "fine", forged()), store, reached)
    assert reached[-1] == "done"


@pytest.mark.parametrize("name", CORPUS)
def test_it_is_refused_and_the_store_is_as_it_was(name: str, tmp_path: Path, store: Store) -> None:
    evil = CORPUS[name]
    path = evil.write(tmp_path, evil.files) if evil.write else write_directory(tmp_path / "evil", evil.files)
    path.mkdir(exist_ok=True) if not evil.files else None
    before, names, threads = content(store), store.names, set(threading.enumerate())
    outside = sorted(os.listdir(tmp_path))
    reached: list[str] = []
    with pytest.raises(ImageError) as caught:
        swallow(path, store, reached)
    assert isinstance(caught.value, evil.error), repr(caught.value)
    assert reached[-1] == evil.at, repr(caught.value)
    assert len(str(caught.value)) < 2000
    if evil.at == "unpack":  # it was let in: every byte was as promised, until it was to be unpacked
        store.remove("evil")
    assert store.names == names
    assert not [path for path in content(store) if path.startswith("staging/")]
    assert store.fsck() == ()
    store.gc()  # blobs that were right, and that nothing names
    assert content(store) == before
    assert sorted(os.listdir(tmp_path)) == outside
    assert set(threading.enumerate()) == threads


def test_what_an_image_is_about_is_not_followed(tmp_path: Path, store: Store) -> None:
    """A subject may be missing, or be whatever its own subject is about."""
    about = {"mediaType": MANIFEST, "digest": NOBODY, "size": 7}
    reached: list[str] = []
    swallow(write_directory(tmp_path / "evil", forged(manifest=with_(subject=about))), store, reached)
    assert reached[-1] == "done"


def test_urls_are_not_followed(tmp_path: Path, store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/layer"
        files = forged(layer=with_(mediaType=FOREIGN, digest=NOBODY, size=7, urls=[url]))
        with pytest.raises(Missing):
            swallow(write_directory(tmp_path / "evil", files), store, [])
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()
