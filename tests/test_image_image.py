"""Images: reading, cross-checks, pictures, and changes that give new images."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_images import Sample, base, index_of, layout_files, named, tar_of, write_directory, write_tar

from containerkit.image import media
from containerkit.image.blobs import MemoryBlobs
from containerkit.image.config import ImageConfig
from containerkit.image.descriptor import Descriptor, Platform
from containerkit.image.digest import Digest
from containerkit.image.errors import ImageError, InvalidDocument, InvalidImage, LimitExceeded, Missing, Unsupported
from containerkit.image.history import History
from containerkit.image.image import Image, chain_ids
from containerkit.image.index import Index
from containerkit.image.layer import Layer
from containerkit.image.manifest import Manifest
from containerkit.image.validate import mismatches

BASE, APP = base(), tar_of({"app.js": b"x" * 100, "etc/.wh.link": b""})


def layer_of(tar: bytes, compression: str = "gzip") -> Layer:
    return Layer.from_tar(io.BytesIO(tar), compression=compression)


def loaded(sample: Sample) -> Image:
    blobs = MemoryBlobs({Digest.of(blob): blob for blob in sample.blobs})
    return Image.load(blobs, Descriptor.from_json(sample.descriptor))


def contents(image: Image) -> list[list[bytes]]:
    return [[entry.name for entry in layer.entries()] for layer in image.layers]


@pytest.fixture
def image() -> Image:
    config = ImageConfig(platform=Platform("linux", "arm64"), cmd=("sh",))
    made = Image.of(config).append(layer_of(BASE), history="ADD base /")
    return made.append(layer_of(APP), history=[History("ENV A=b", empty_layer=True), History("ADD app.js /app.js")])


# reading


def test_images_with_equal_manifests_are_equal() -> None:
    sample = Sample(BASE, APP, Cmd=["sh"])
    image = loaded(sample)
    assert (image.data, image.config_data, image.digest) == (sample.manifest, sample.config, sample.digest)
    assert (image.id, image.config.cmd, image.annotations) == (Digest.of(sample.config), ("sh",), {"made.by": "hand"})
    assert [layer.diff_id for layer in image.layers] == sample.diff_ids
    assert image.size == sum(map(len, sample.layers))
    image.validate()
    assert image == loaded(sample)
    assert image != loaded(Sample(BASE, Cmd=["sh"]))


@pytest.mark.parametrize("form", ["directory", "tar"])
def test_an_image_is_opened_and_saved(tmp_path: Path, form: str) -> None:
    sample = Sample(BASE, APP)
    files = layout_files(index_of(named(sample.descriptor, "app:1")), sample.blobs)
    path = write_directory(tmp_path / "a", files) if form == "directory" else write_tar(tmp_path / "a.tar", files)  # type: ignore[arg-type]
    image = Image.open(path, "app:1")
    assert image == loaded(sample)
    for name, docker in (("b.tar", False), ("b.oci", False), ("c.tar", True)):
        image.save(tmp_path / name, "app:2", docker=docker)
        again = Image.open(tmp_path / name, "app:2")
        again.validate()
        assert (again.config_data, again.config.diff_ids) == (image.config_data, image.config.diff_ids)
        assert docker or again == image
    with pytest.raises(Missing):
        Image.open(tmp_path / "b.tar", "other")
    with pytest.raises(Missing, match="nothing at"):
        Image.open(tmp_path / "none")
    with pytest.raises(Missing, match="neither an OCI layout nor a docker-archive"):
        Image.open(write_tar(tmp_path / "d.tar", {"x": b""}))


def test_an_image_is_extracted(tmp_path: Path, image: Image) -> None:
    image.extract(tmp_path / "root")
    found = sorted(str(path.relative_to(tmp_path / "root")) for path in (tmp_path / "root").rglob("*"))
    assert found == ["app.js", "big", "etc", "etc/name"]


def test_chain_ids_are_those_of_the_specification() -> None:
    one, two, three = (Digest.of(data) for data in (b"1", b"2", b"3"))
    second = Digest.of(f"{one} {two}".encode())
    assert chain_ids([one, two, three]) == (one, second, Digest.of(f"{second} {three}".encode()))
    assert chain_ids([]) == ()


def test_schema_1_is_refused_with_an_explanation() -> None:
    blobs = MemoryBlobs()
    for document in ({"schemaVersion": 1, "fsLayers": []}, {"schemaVersion": 1, "mediaType": media.DOCKER_SCHEMA1_SIGNED}):
        for media_type in (media.DOCKER_SCHEMA1_SIGNED, media.DOCKER_MANIFEST):
            with pytest.raises(Unsupported, match=r"docker schema 1 is not read.*push the image again"):
                Image.load(blobs, blobs.add(json.dumps(document).encode(), media_type))


def test_a_large_config_is_refused_before_it_is_read() -> None:
    blobs = MemoryBlobs()
    manifest = Manifest(Descriptor(media.OCI_CONFIG, Digest.of(b"x"), (4 << 20) + 1), ())
    with pytest.raises(LimitExceeded, match="4194304 bytes"):
        Image.load(blobs, blobs.add(manifest.data, media.OCI_MANIFEST))


def test_an_artifact_is_read_but_has_no_layers_to_unpack() -> None:
    blobs = MemoryBlobs()
    sbom = blobs.add(b"{}1", "text/spdx+json")
    subject = Descriptor.of(b"s", media.OCI_MANIFEST)
    blobs.add(media.EMPTY_DATA)
    manifest = Manifest(Descriptor.empty(), (sbom,), artifact_type="text/spdx+json", subject=subject)
    artifact = Image.load(blobs, blobs.add(manifest.data, media.OCI_MANIFEST))
    artifact.validate()
    assert artifact.descriptor.artifact_type == "text/spdx+json"
    assert artifact.manifest.subject == subject
    assert "1 blob" in str(artifact)
    with pytest.raises(Unsupported, match="artifact of type 'text/spdx"):
        _ = artifact.layers


# changing


def test_a_change_gives_a_new_image_and_shares_the_layers(image: Image) -> None:
    data = image.data
    changed = image.with_config(cmd=["ls"], env={"A": "b"}, labels={"x": "y"}).with_annotations({"a": "b"}).with_platform("linux/amd64")
    changed.validate()
    assert image.data == data
    assert changed.manifest.layers == image.manifest.layers
    assert (changed.config.cmd, changed.config.env, changed.platform) == (("ls",), ("A=b",), Platform("linux", "amd64"))
    assert changed.with_annotations({"a": None}).with_config(cmd=["ls"]).annotations == {}
    assert image.with_config(cmd=["ls"]).with_config(cmd=["sh"]) == image
    with pytest.raises(InvalidDocument, match="follow from the layers"):
        image.with_config(diff_ids=[])


def test_unknown_fields_survive_a_change() -> None:
    changed = loaded(Sample(BASE)).with_config(cmd=["ls"])
    assert json.loads(changed.config_data)["x-unknown"] == [1, 2]
    assert changed.annotations == {"made.by": "hand"}


def test_append_keeps_history_in_step(image: Image) -> None:
    assert [(entry.created_by, entry.empty_layer) for entry in image.history] == [
        ("ADD base /", False),
        ("ENV A=b", True),
        ("ADD app.js /app.js", False),
    ]
    assert contents(image) == [[entry.name for entry in layer_of(BASE).entries()], [b"app.js", b"etc/.wh.link"]]
    with pytest.raises(InvalidDocument, match="2 entries with a layer for 1 layers"):
        image.append(layer_of(APP), history=[History("a"), History("b")])
    silent = loaded(Sample(BASE)).append(layer_of(APP), history="ADD")
    silent.validate()
    assert silent.history == ()


def test_the_same_twice_with_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    made = [Image.scratch("arm64").append(layer_of(BASE), history="ADD") for _ in range(2)]
    assert made[0].digest == made[1].digest
    assert made[0].config.created == made[0].history[0].created == "1970-01-01T00:00:00Z"


def test_a_docker_manifest_stays_a_docker_manifest(image: Image) -> None:
    like = Manifest(Descriptor.of(b"", media.DOCKER_CONFIG), (), media.DOCKER_MANIFEST)
    docker = Image.of(image.config, image.layers, like=like)
    docker.validate()
    more = docker.append(layer_of(APP, "none"))
    more.validate()
    assert [each.media_type for each in more.manifest.layers] == [media.DOCKER_LAYER_GZIP, media.DOCKER_LAYER_GZIP, media.DOCKER_LAYER]
    with pytest.raises(Unsupported, match="no annotations"):
        docker.with_annotations({"a": "b"})


def test_rebase(image: Image) -> None:
    old = Image.of(ImageConfig(platform=Platform("linux", "arm64"))).append(layer_of(BASE), history="ADD base /")
    patched = tar_of({"etc/name": b"patched"})
    new = Image.scratch("amd64").append(layer_of(patched), layer_of(b"\0" * 1024), history="ADD new").with_annotations({"n": "o"})
    annotated = image.with_annotations(
        {"org.opencontainers.image.base.digest": str(old.digest), "org.opencontainers.image.base.name": "old"}
    )
    moved = annotated.rebase(old, new)
    moved.validate()
    assert [layer.diff_id for layer in moved.layers] == [*new.config.diff_ids, image.config.diff_ids[1]]
    assert [entry.created_by for entry in moved.history] == ["ADD new", "ADD new", "ENV A=b", "ADD app.js /app.js"]
    assert (moved.config.cmd, moved.platform) == (("sh",), new.platform)
    assert moved.annotations == {"org.opencontainers.image.base.digest": str(new.digest)}
    with pytest.raises(ImageError, match="not the lowest ones"):
        image.rebase(new, old)


# an index


def test_an_index_finds_the_image_for_a_platform() -> None:
    images = [Image.scratch(name).append(layer_of(BASE)) for name in ("amd64", "arm64", "arm/v7", "arm/v6")]
    index = Index.of(images[:2], annotations={"a": "b"}).append(Index.of(images[2:]))
    again = Index.load(index.blobs, index.descriptor)
    assert again == index
    assert [image.digest for image in again.images()] == [image.digest for image in images]
    assert again.image("linux/arm64") == images[1]
    assert again.image("linux/arm/v8") == images[2]
    assert again.image("linux/arm/v6") == images[3]
    again.image("linux/arm/v6").validate()
    with pytest.raises(Missing, match="no image for linux/s390x: it has linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64"):
        again.match("s390x")


def test_a_missing_platform_is_read_from_the_config() -> None:
    image = Image.scratch("arm64")
    attestation = image.with_config(cmd=["x"]).descriptor.with_(platform=Platform("unknown", "unknown"))
    blobs = MemoryBlobs({image.digest: image.data, image.id: image.config_data})
    index = Index((attestation, image.descriptor.bare()), source=blobs)
    assert index.match("arm64").digest == image.digest
    with pytest.raises(Missing, match=r"it has linux/arm64$"):
        index.match("amd64")


def test_indexes_in_indexes_are_limited() -> None:
    index = Index.of([Image.scratch()])
    for _ in range(8):
        index = Index.of([index])
    with pytest.raises(LimitExceeded, match="8 levels"):
        list(index.leaves())
    old = Index((Descriptor.of(b"", media.DOCKER_SCHEMA1),))
    with pytest.raises(Unsupported, match="schema 1"):
        old.match()


def test_an_index_is_checked_with_all_it_leads_to() -> None:
    images = [Image.scratch(name).append(layer_of(BASE)) for name in ("amd64", "arm64")]
    Index.of(images).validate()
    wrong = images[1].descriptor.with_(platform=Platform("linux", "s390x"))
    gone = Image.scratch("riscv64").descriptor
    index = Index((images[0].descriptor, wrong, gone), source=Index.of(images).blobs)
    with pytest.raises(InvalidImage) as caught:
        index.validate()
    first, second = caught.value.mismatches
    assert "the config says linux/arm64, its descriptor linux/s390x" in first
    assert second.startswith("linux/riscv64")
    assert "no blob" in second


# everything against everything


Change = Callable[[dict[str, Any], dict[str, Any], list[bytes]], None]


def forged(change: Change) -> Image:
    """Return an image of two layers with a change in its manifest, its config or its blobs."""
    sample = Sample(BASE, APP, compress=True)
    config, manifest, layers = json.loads(sample.config), json.loads(sample.manifest), list(sample.layers)
    change(manifest, config, layers)
    data = json.dumps(config).encode()
    if "kept" not in manifest:
        manifest["config"] |= {"digest": str(Digest.of(data)), "size": len(data)}
    blobs = MemoryBlobs({Digest(each["digest"]): blob for each, blob in zip(manifest["layers"], layers, strict=False) if blob})
    return Image(Manifest.parse(json.dumps(manifest).encode()), data, blobs)


def layer_descriptor(blob: bytes, media_type: str = media.OCI_LAYER_GZIP) -> dict[str, Any]:
    return Descriptor.of(blob, media_type).to_json()


def with_blob(blob: bytes, media_type: str = media.OCI_LAYER_GZIP) -> Change:
    def change(m: dict[str, Any], c: dict[str, Any], b: list[bytes]) -> None:
        m["layers"][0], b[0] = layer_descriptor(blob, media_type), blob

    return change


def damaged(blob: bytes) -> bytes:
    return blob[:-10] + bytes([blob[-10] ^ 1]) + blob[-9:]


ZIPPED = gzip.compress(BASE, mtime=0)
CASES: dict[str, tuple[Change, list[str]]] = {
    "nothing": (lambda m, c, b: None, []),
    "size": (lambda m, c, b: m["layers"][0].update(size=7), ["layer 0 .*size"]),
    "missing": (lambda m, c, b: b.__setitem__(1, b""), ["layer 1 .*no blob"]),
    "damaged": (lambda m, c, b: b.__setitem__(0, damaged(b[0])), ["layer 0 .*digest"]),
    "diff_id": (lambda m, c, b: c["rootfs"]["diff_ids"].reverse(), ["layer 0 .*diff_id", "layer 1 .*diff_id"]),
    "fewer diff_ids": (lambda m, c, b: c["rootfs"]["diff_ids"].pop(), ["2 layers, the config 1 diff_ids"]),
    "more diff_ids": (lambda m, c, b: c["rootfs"]["diff_ids"].append(str(Digest.of(b""))), ["2 layers, the config 3"]),
    "history": (lambda m, c, b: c.update(history=[{"created_by": "x"}, {"empty_layer": True}]), ["1 entries with a layer, but 2"]),
    "type": (lambda m, c, b: m["layers"][0].update(mediaType="text/plain"), ["not the type of a layer"]),
    "family": (lambda m, c, b: m["layers"][1].update(mediaType=media.DOCKER_LAYER_GZIP), [r"layers\[1\]: .* in a manifest of type"]),
    "compression": (lambda m, c, b: m["layers"][1].update(mediaType=media.OCI_LAYER_ZSTD), ["type says zstd, its bytes are gzip"]),
    "plain said to be gzip": (with_blob(BASE), ["type says gzip, its bytes are none"]),
    "gzip said to be plain": (with_blob(ZIPPED, media.OCI_LAYER), ["type says none, its bytes are gzip"]),
    "cut": (with_blob(ZIPPED[:-9]), ["layer 0 .*gzip"]),
    "followed": (with_blob(ZIPPED + b"more"), ["layer 0 .*followed"]),
    "no tar": (with_blob(gzip.compress(b"no tar" * 300)), ["layer 0", "layer 0 .*diff_id"]),
    "xz": (with_blob(b"\xfd7zXZ\0" + bytes(40)), ["type says gzip, its bytes are xz", "layer 0 .*not xz", "layer 0 .*diff_id"]),
    "config": (lambda m, c, b: (m.update(kept=1), c.update(author="me")), ["config: .*bytes", "config: its digest"]),  # type: ignore[dict-item]
    "created": (lambda m, c, b: c.update(created="yesterday"), ["config.created: 'yesterday'"]),
    "env": (lambda m, c, b: c["config"].update(Env=["A=b", "=c", "D"]), [r"Env\[1\]: '=c'", r"Env\[2\]: 'D'"]),
    "port": (lambda m, c, b: c["config"].update(ExposedPorts={"80/tcp": {}, "http": {}}), ["'http' is no port"]),
    "subject": (lambda m, c, b: m.update(subject=layer_descriptor(b"")), ["manifest.subject"]),
    "same blob": (lambda m, c, b: (m["layers"].__setitem__(1, m["layers"][0]), b.__setitem__(1, b[0])), ["same blob", "layer 1 .*diff_id"]),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("case", CASES)
def test_mismatches_are_found(case: str) -> None:
    change, expected = CASES[case]
    found = mismatches(forged(change))
    assert len(found) == len(expected), found
    for text, pattern in zip(found, expected, strict=True):
        assert re.search(pattern, text), found


def test_all_mismatches_are_reported_at_once() -> None:
    def change(m: dict[str, Any], c: dict[str, Any], b: list[bytes]) -> None:
        for name in ("damaged", "created", "history", "family", "env", "port", "subject"):
            CASES[name][0](m, c, b)

    with pytest.raises(InvalidImage) as caught:
        forged(change).validate()
    assert len(caught.value.mismatches) == 8
    assert all(text in str(caught.value) for text in caught.value.mismatches)
    assert len(mismatches(forged(change), layers=False)) == 7


def test_layers_that_do_not_match_their_diff_ids_are_not_paired_up() -> None:
    with pytest.raises(InvalidImage, match="2 layers, the config 1 diff_ids"):
        _ = forged(CASES["fewer diff_ids"][0]).layers


def test_the_descriptor_in_an_index_is_checked() -> None:
    image = Image.scratch("arm64")
    said = image.descriptor
    assert mismatches(image, said=said) == ()
    assert mismatches(image, said=said.with_(platform=Platform("linux", "arm64", "v8"))) == ()
    wrong = said.with_(platform=Platform("linux", "amd64"), size=1, media_type=media.DOCKER_MANIFEST)
    assert [text.split(":")[0] for text in mismatches(image, said=wrong)] == ["manifest", "manifest.mediaType", "platform"]


def test_an_artifact_is_checked_too() -> None:
    blobs = MemoryBlobs()
    config = blobs.add(b"{ }", media.EMPTY)
    found = mismatches(Image.load(blobs, blobs.add(Manifest(config, (Descriptor.of(b"gone", "text/x"),)).data, media.OCI_MANIFEST)))
    assert [text.split(":")[0] for text in found] == ["manifest.config", "manifest.artifactType", "layer 0 (sha256"]


# the picture


def test_the_picture_shows_sizes_and_what_each_layer_adds(image: Image) -> None:
    lines = str(image).splitlines()
    assert lines[0].startswith(f"image sha256:{image.digest.short}  linux/arm64  2 layers  ")
    assert len(lines) == 4
    assert "ADD app.js /app.js" in lines[1]
    assert lines[1].endswith("1 file, 1 removed: /app.js")
    assert lines[2].split() == ["·", "ENV", "A=b"]
    assert "ADD base /" in lines[3]
    assert "3 files: big 120 kB, etc 4 B" in lines[3]
    assert lines[3].count("█") > lines[1].count("█")


def test_the_picture_reads_no_large_layers_and_shows_damaged_ones(image: Image) -> None:
    assert "files" not in image.picture(0) == repr(image)
    assert "files" in image.picture()
    sample = Sample(base("never seen"))
    blob = sample.layers[0]
    broken = Image(loaded(sample).manifest, sample.config, MemoryBlobs({Digest.of(blob): blob[:-1]}))
    assert "cannot be read: " in broken.picture()


def test_a_picture_uses_little_memory(image: Image) -> None:
    bomb = image.append(layer_of(tar_of({"zeros": bytes(80 << 20)})))
    assert "cannot be read: " in str(bomb)
    assert "zeros" in bomb.picture()


def test_the_picture_escapes_control_characters_and_html(image: Image) -> None:
    evil = image.with_config(history=[History("\x1b[2J<script>\u202e", True), *image.history])
    assert "\x1b" not in str(evil)
    assert "\u202e" not in str(evil)
    assert "<script>" not in evil._repr_html_()
    assert "&lt;script&gt;" in evil._repr_html_()
    assert evil._repr_html_().count("<tr>") == 4
