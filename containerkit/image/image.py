"""An image: layers, and what to do with them.

    image = Image.open("busybox.oci")             an OCI layout (directory or tar) or a docker-archive
    image.layers, image.config, image.history
    image = image.append(layer).with_config(cmd=["sh"])     a new image; the old one is as it was
    image.validate()                              raises with everything that does not fit together
    print(image)                                  a picture of its layers

An image is its manifest's bytes and its config's bytes, as they were stored; its layers stay where they are until they
are read.
:see: https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..base.door import behind
from ..base.frozen import field, frozen
from . import media
from .blobs import Blobs, FileBlobs, MemoryBlobs, read
from .config import ImageConfig
from .descriptor import Descriptor
from .digest import Digest
from .errors import InvalidImage, Unsupported
from .history import History
from .ids import Ids
from .limits import Limits
from .manifest import Manifest
from .platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from ..store.image_diff import Comparison
    from ..store.store import Store
    from .layer import Layer
    from .reference import Reference

__all__ = ["Image", "chain_ids"]

StrPath = str | os.PathLike[str]


@frozen(repr=False)
class Image:
    """Layers, and what to do with them.  Made by `open`, `load`, `of` and `scratch`; equal when the manifests' bytes are.

    :param manifest: which config and layers; its `data` is what was stored
    :param config_data: the bytes of the config, as they were stored
    :param source: where the layers are
    :ivar config: what `config_data` says
    """

    manifest: Manifest
    config_data: bytes
    source: Blobs = field(compare=False)
    config: ImageConfig = field(init=False, compare=False)

    def __post_init__(self) -> None:
        config = ImageConfig() if self.manifest.is_artifact else ImageConfig.parse(self.config_data)
        object.__setattr__(self, "config", config)

    @classmethod
    def open(cls, path: StrPath, reference: Reference | str | None = None, *, platform: Platform | str | None = None) -> Image:
        """The image in an OCI layout (directory or tar) or a docker-archive.

        :param reference: which one, where there are several
        :param platform: for which machine, where there are several; this one's by default
        :raises ImageError: there is none, or it cannot be read
        """
        from .files.opening import open_image

        return open_image(path, reference, platform=platform)

    @classmethod
    def load(cls, blobs: Blobs, descriptor: Descriptor) -> Image:
        """The image whose manifest `descriptor` points at.  Manifest and config are read and verified, layers are not.

        :raises ImageError: they cannot be read; the kind says why
        """
        media.refuse_schema1(descriptor.media_type)
        manifest = Manifest.parse(read(blobs, descriptor), descriptor.media_type)
        return cls(manifest, read(blobs, manifest.config), blobs)

    @classmethod
    def of(cls, config: ImageConfig, layers: Iterable[Layer] = (), *, like: Manifest | None = None, **fields: Any) -> Image:
        """An image of these layers.  The config's diff_ids are taken from them.

        :param like: a manifest that says whose media types to use, OCI's or docker's, and has the other fields
        :param fields: fields of `Manifest`: annotations, artifact_type, subject
        """
        from . import mutate

        return mutate.assemble(cls, config, tuple(layers), like, fields)

    @classmethod
    def scratch(cls, platform: Platform | str | None = None) -> Image:
        """An image without a layer."""
        wanted = Platform.parse(platform) if isinstance(platform, str) else platform or Platform.here()
        return cls.of(ImageConfig(platform=wanted))

    def save(
        self, path: StrPath, reference: Reference | str = "", *, docker: bool = False, tar: bool | None = None, plain: bool = False
    ) -> None:
        """Write it to an OCI layout, byte for byte.

        :param reference: its name there
        :param docker: as a docker-archive rather than an OCI layout
        :param plain: with its layers as plain tars, so that its digest is another; its id stays
        :param tar: a tar or a directory; by the name's ending unless given
        :raises ImageError: something is missing, or not what its digest says
        """
        from . import mutate
        from .files.opening import save_image

        save_image(mutate.plain(self) if plain else self, path, reference, docker=docker, tar=tar)

    @classmethod
    def pull(cls, reference: Reference | str, store: Store | None = None, **options: Any) -> Image:
        """The image of this name, out of its registry into a store.

        :param store: the user's own unless given
        :param options: of `registry.pull`: platform, unpack, progress, registries
        :raises RegistryError: the registry does not give it;  :raises ImageError: what it gives is not what it should be
        """
        found: Image = behind("Image.pull")(reference, store or behind("Image.hold")(), **options)
        return found

    @classmethod
    def build(cls, context: StrPath, *, tag: Reference | str | None = None, **options: Any) -> Image:
        """The image that a directory's Dockerfile describes, built and kept in a store.

        :param context: the directory
        :param tag: its name
        :param options: of `build.build`: dockerfile, target, args, tags, store, cache, secrets, network, progress
        :raises DockerfileError: it cannot be read;  :raises BuildError: a step fails; nothing was named
        """
        built: Image = behind("Image.build")(context, tags=[*options.pop("tags", ()), *([tag] if tag else [])], **options)
        return built

    def push(self, reference: Reference | str, **options: Any) -> Descriptor:
        """Give it to a registry, byte for byte.

        :param options: of `registry.push`: progress, registries, mount_from, chunk
        :raises RegistryError: the registry does not take it
        """
        pushed: Descriptor = behind("Image.push")(self, reference, **options)
        return pushed

    @property
    def data(self) -> bytes:
        """The bytes of the manifest, as they were stored."""
        return self.manifest.data

    @property
    def digest(self) -> Digest:
        """Of the manifest: what registries call the image by."""
        return self.manifest.digest

    @property
    def id(self) -> Digest:
        """Of the config: what docker calls the image by."""
        return self.manifest.config.digest

    @property
    def media_type(self) -> str:
        return self.manifest.media_type

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.manifest.annotations

    @property
    def platform(self) -> Platform:
        return self.config.platform

    @property
    def descriptor(self) -> Descriptor:
        """What an index says about this image."""
        platform = None if self.manifest.is_artifact else self.platform
        return Descriptor.of(self.data, self.media_type, platform=platform, artifact_type=self.manifest.artifact_type)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Bottom first.

        :raises Unsupported: an artifact: its blobs are `manifest.layers`, to be opened from `blobs`
        :raises InvalidImage: the config speaks of more layers than the manifest, or of fewer
        """
        from .layer import Layer

        if self.manifest.is_artifact:
            raise Unsupported(f"an artifact of type {self.manifest.kind!r} has no layers to unpack")
        descriptors, diff_ids = self.manifest.layers, self.config.diff_ids
        if len(descriptors) != len(diff_ids):
            raise InvalidImage([f"the manifest has {len(descriptors)} layers, the config {len(diff_ids)} diff_ids"])
        return tuple(Layer(*pair, self.source) for pair in zip(descriptors, diff_ids, strict=True))

    @property
    def chain_ids(self) -> tuple[Digest, ...]:
        """For each layer the name of all layers up to it: what an unpacked stack of them is kept by."""
        return chain_ids(self.config.diff_ids)

    @property
    def history(self) -> tuple[History, ...]:
        return self.config.history

    @property
    def size(self) -> int:
        """Bytes of the layers as they are stored; one that is there twice counts once."""
        return sum({layer.digest: layer.size for layer in self.manifest.layers}.values())

    @property
    def blobs(self) -> Blobs:
        """Everything the image is made of, by digest: manifest, config and layers."""
        from .files.blob_union import BlobUnion

        own = MemoryBlobs({self.digest: self.data, self.id: self.config_data})
        return BlobUnion({self.digest: own, self.id: own}, self.source)

    def validate(self, *, layers: bool = True) -> None:
        """Check everything against everything.

        :param layers: read the layers too, decompressed
        :raises InvalidImage: something does not fit; its `mismatches` are all there are
        """
        from .validate import mismatches

        if found := mismatches(self, layers=layers):
            raise InvalidImage(found)

    def extract(self, directory: StrPath, *, ids: Ids | None = None, **options: Any) -> None:
        """Unpack it into one plain directory: what its programs would see.

        :param directory: is made if it is not there
        :param ids: whose the files become; as tar(1) has it unless given: as they are for root, the caller's for others
        :param options: of `Layer.unpack_into`: xattrs, limits, skip
        :raises ImageError: a layer cannot be unpacked; what was is left there
        """
        os.makedirs(directory, exist_ok=True)
        ids = ids or Ids.usual()
        for layer in self.layers:
            layer.unpack_into(directory, whiteouts="plain", ids=ids, **options)

    @contextlib.contextmanager
    def hold(self, store: Store | None = None, *, xattrs: str | None = None) -> Iterator[tuple[Path, ...]]:
        """Its layers unpacked in a store, which nobody collects before the `with` ends: what `LayerFS(image)` does.

        :param store: where; unless given the one that the image was read from, or else the user's own
        :param xattrs: which attributes say "opaque"
        :raises Unsupported: the store has the other attributes;  :raises ImageError: a layer cannot be unpacked
        """
        kind: type[Store] = behind("Image.hold")
        with (store or kind.of(self.source, xattrs) or kind(xattrs=xattrs)).hold(self) as layers:
            yield layers

    def add(self, source: StrPath | bytes | Sequence[StrPath], dest: str, **options: Any) -> Image:
        """With more files in one more layer, as COPY adds them.  See `build.add`."""
        made: Image = behind("Image.add")(self, source, dest, **options)
        return made

    def run(self, argv: str | Sequence[str], **options: Any) -> Image:
        """With what a program changes in one more layer, as RUN does it.  See `build.run`.

        :raises FailedStep: it did not exit with 0
        """
        made: Image = behind("Image.run")(self, argv, **options)
        return made

    def diff(self, other: Image) -> Comparison:
        """What differs in another image: layers, configuration and, when asked, files.  See `Comparison`."""
        found: Comparison = behind("Image.diff")(self, other)
        return found

    def append(self, *layers: Layer, history: Iterable[History] | History | str = ()) -> Image:
        """With more layers on top.  See `mutate.append`."""
        from . import mutate

        return mutate.append(self, *layers, history=history)

    def with_config(self, **changes: Any) -> Image:
        """With other fields of its `ImageConfig`: ``with_config(cmd=["sh"], env={"A": "b"})``.  See `mutate.with_config`."""
        from . import mutate

        return mutate.with_config(self, **changes)

    def with_annotations(self, annotations: Mapping[str, str | None]) -> Image:
        """With more annotations; one that is None goes.  See `mutate.with_annotations`."""
        from . import mutate

        return mutate.with_annotations(self, annotations)

    def with_platform(self, platform: Platform | str) -> Image:
        """Said to be for another machine.  See `mutate.with_platform`."""
        from . import mutate

        return mutate.with_platform(self, platform)

    def rebase(self, old: Image, new: Image) -> Image:
        """With the layers of `new` where those of `old` were.  See `mutate.rebase`."""
        from . import mutate

        return mutate.rebase(self, old, new)

    def squash(
        self, keep: int = 0, *, blobs: FileBlobs | MemoryBlobs | None = None, compression: str = "gzip", limits: Limits | None = None,
    ) -> Image:  # fmt: skip
        """With all layers but the lowest `keep` made into one.  See `mutate.squash`."""
        from . import mutate

        return mutate.squash(self, keep, blobs=blobs, compression=compression, limits=limits)

    def flatten(
        self, *, blobs: FileBlobs | MemoryBlobs | None = None, compression: str = "gzip", limits: Limits | None = None
    ) -> Image:  # fmt: skip
        """With one layer, and nothing in it that is not seen.  See `mutate.flatten`."""
        from . import mutate

        return mutate.flatten(self, blobs=blobs, compression=compression, limits=limits)

    def picture(self, limit: int | None = None) -> str:
        """The layers with their sizes and what each adds.

        :param limit: bytes; of larger layers only the history tells.  None reads all
        """
        from .picture import text

        return text(self, limit)

    def __repr__(self) -> str:
        """The picture without a look into the layers, so that showing a value reads nothing."""
        return self.picture(0)

    def __str__(self) -> str:
        from .picture import SMALL

        return self.picture(SMALL)

    def _repr_html_(self) -> str:
        from .picture import SMALL, html

        return html(self, SMALL)


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """The chain id of each layer: of the lowest its diff_id, of another the digest of the one below and its diff_id.

    :see: https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
    """
    found: list[Digest] = []
    for diff_id in diff_ids:
        found.append(Digest.of(f"{found[-1]} {diff_id}".encode()) if found else diff_id)
    return tuple(found)
