"""An image: a manifest, a config and layers.

    image = Image.open("busybox.oci")             an OCI layout (directory or tar) or a docker-archive
    image.layers, image.config, image.history
    image = image.append(layer).with_config(cmd=["sh"])     a new image; the old one is unchanged
    image.validate()                              raises with every mismatch between the image's parts
    print(image)                                  a picture of the layers

The value holds the bytes of the manifest and of the config as they were stored.  Layers are read from `source` only when they
are used.
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
    """A manifest, a config and the place of the layers.  Two images are equal when the bytes of their manifests are.

    `open`, `load`, `of` and `scratch` make one.

    :param manifest: names the config and the layers; its `data` is the stored bytes
    :param config_data: the bytes of the config, as they were stored
    :param source: where the layers are
    :ivar config: `config_data`, parsed
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
        """Open the image in an OCI layout (directory or tar) or in a docker-archive.

        :param reference: which image, when the file holds several
        :param platform: the platform to choose for, when the file holds several; this machine's by default
        :raises ImageError: the file holds no such image, or cannot be read
        """
        from .files.opening import open_image

        return open_image(path, reference, platform=platform)

    @classmethod
    def load(cls, blobs: Blobs, descriptor: Descriptor) -> Image:
        """Load the image whose manifest `descriptor` points at.  The manifest and the config are read and verified, layers are not.

        :raises ImageError: the manifest or the config cannot be read; the subclass says why
        """
        media.refuse_schema1(descriptor.media_type)
        manifest = Manifest.parse(read(blobs, descriptor), descriptor.media_type)
        return cls(manifest, read(blobs, manifest.config), blobs)

    @classmethod
    def of(cls, config: ImageConfig, layers: Iterable[Layer] = (), *, like: Manifest | None = None, **fields: Any) -> Image:
        """Make an image of a config and layers.  The config's diff_ids are replaced by those of the layers.

        :param like: a manifest to take over: the family of its media types (OCI's or docker's) and its other fields
        :param fields: fields of `Manifest`: annotations, artifact_type, subject
        """
        from . import mutate

        return mutate.assemble(cls, config, tuple(layers), like, fields)

    @classmethod
    def scratch(cls, platform: Platform | str | None = None) -> Image:
        """Make an image without layers."""
        wanted = Platform.parse(platform) if isinstance(platform, str) else platform or Platform.here()
        return cls.of(ImageConfig(platform=wanted))

    def save(
        self, path: StrPath, reference: Reference | str = "", *, docker: bool = False, tar: bool | None = None, plain: bool = False
    ) -> None:
        """Write the image to an OCI layout, byte for byte.

        :param reference: the image's name in the layout
        :param docker: write a docker-archive rather than an OCI layout
        :param plain: write the layers as plain tars: the image's digest changes, its id stays
        :param tar: write a tar rather than a directory; by default a path that ends in ``.tar`` gets a tar
        :raises ImageError: a blob is missing, or does not match its digest
        """
        from . import mutate
        from .files.opening import save_image

        save_image(mutate.plain(self) if plain else self, path, reference, docker=docker, tar=tar)

    @classmethod
    def pull(cls, reference: Reference | str, store: Store | None = None, **options: Any) -> Image:
        """Pull an image from its registry into a store.

        :param store: by default the user's own
        :param options: of `registry.pull`: platform, unpack, progress, registries
        :raises RegistryError: the registry does not deliver the image
        :raises ImageError: the delivered bytes are not a valid image
        """
        found: Image = behind("Image.pull")(reference, store or behind("Image.hold")(), **options)
        return found

    @classmethod
    def build(cls, context: StrPath, *, tag: Reference | str | None = None, **options: Any) -> Image:
        """Build the image that a directory's Dockerfile describes, and keep it in a store.

        :param context: the directory
        :param tag: the image's name
        :param options: of `builder.build`: dockerfile, target, args, tags, store, cache, secrets, network, progress
        :raises DockerfileError: the Dockerfile cannot be read
        :raises BuildError: a step failed; no name was set
        """
        built: Image = behind("Image.build")(context, tags=[*options.pop("tags", ()), *([tag] if tag else [])], **options)
        return built

    def push(self, reference: Reference | str, **options: Any) -> Descriptor:
        """Push the image to a registry, byte for byte, and return the descriptor of the pushed manifest.

        :param options: of `registry.push`: progress, registries, mount_from, chunk
        :raises RegistryError: the registry does not accept the image
        """
        pushed: Descriptor = behind("Image.push")(self, reference, **options)
        return pushed

    @property
    def data(self) -> bytes:
        """The bytes of the manifest, as they were stored."""
        return self.manifest.data

    @property
    def digest(self) -> Digest:
        """The digest of the manifest.  Registries know the image by this digest."""
        return self.manifest.digest

    @property
    def id(self) -> Digest:
        """The digest of the config.  Docker shows this digest as the image's id."""
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
        """The descriptor of this image, for an index that names it."""
        platform = None if self.manifest.is_artifact else self.platform
        return Descriptor.of(self.data, self.media_type, platform=platform, artifact_type=self.manifest.artifact_type)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, bottom first.

        :raises Unsupported: the image is an artifact: its blobs are listed in `manifest.layers`, and `blobs` opens them
        :raises InvalidImage: the config and the manifest disagree about the number of layers
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
        """The chain id of each layer, bottom first: one digest that names a layer and all layers below it."""
        return chain_ids(self.config.diff_ids)

    @property
    def history(self) -> tuple[History, ...]:
        return self.config.history

    @property
    def size(self) -> int:
        """The bytes of all layers as they are stored.  A layer that occurs twice counts once."""
        return sum({layer.digest: layer.size for layer in self.manifest.layers}.values())

    @property
    def blobs(self) -> Blobs:
        """All blobs of the image by digest: manifest, config and layers."""
        from .files.blob_union import BlobUnion

        own = MemoryBlobs({self.digest: self.data, self.id: self.config_data})
        return BlobUnion({self.digest: own, self.id: own}, self.source)

    def validate(self, *, layers: bool = True) -> None:
        """Check the manifest, the config and the layers against each other.

        :param layers: also read the layers, and check their decompressed bytes
        :raises InvalidImage: at least one check failed; `mismatches` lists all that failed
        """
        from .validate import mismatches

        if found := mismatches(self, layers=layers):
            raise InvalidImage(found)

    def extract(self, directory: StrPath, *, ids: Ids | None = None, **options: Any) -> None:
        """Unpack all layers into one plain directory, so that it holds the tree a program in the image would see.

        :param directory: made when it does not exist
        :param ids: the owners of the unpacked files; by default as tar(1): root keeps the owners, any other user becomes the owner
        :param options: of `Layer.unpack_into`: xattrs, limits, skip
        :raises ImageError: a layer cannot be unpacked; files unpacked so far stay in the directory
        """
        os.makedirs(directory, exist_ok=True)
        ids = ids or Ids.usual()
        for layer in self.layers:
            layer.unpack_into(directory, whiteouts="plain", ids=ids, **options)

    @contextlib.contextmanager
    def hold(self, store: Store | None = None, *, xattrs: str | None = None) -> Iterator[tuple[Path, ...]]:
        """Keep the layers unpacked in a store until the `with` block ends, and give their directories.  `LayerFS(image)` uses it.

        Garbage collection leaves held layers alone.

        :param store: by default the store that the image was read from, or else the user's own
        :param xattrs: the namespace of the overlay's attributes: "user" or "trusted"
        :raises Unsupported: the store uses the other namespace
        :raises ImageError: a layer cannot be unpacked
        """
        kind: type[Store] = behind("Image.hold")
        with (store or kind.of(self.source, xattrs) or kind(xattrs=xattrs)).hold(self) as layers:
            yield layers

    def add(self, source: StrPath | bytes | Sequence[StrPath], dest: str, **options: Any) -> Image:
        """Return the image with files added in one more layer, as COPY adds them.  See `builder.add`."""
        made: Image = behind("Image.add")(self, source, dest, **options)
        return made

    def run(self, argv: str | Sequence[str], **options: Any) -> Image:
        """Run a program, and return the image with its changes in one more layer, as RUN does.  See `builder.run`.

        :raises FailedStep: the program did not exit with 0
        """
        made: Image = behind("Image.run")(self, argv, **options)
        return made

    def diff(self, other: Image) -> Comparison:
        """Return the difference to another image: layers, configuration and, on request, files.  See `Comparison`."""
        found: Comparison = behind("Image.diff")(self, other)
        return found

    def append(self, *layers: Layer, history: Iterable[History] | History | str = ()) -> Image:
        """Return the image with more layers on top.  See `mutate.append`."""
        from . import mutate

        return mutate.append(self, *layers, history=history)

    def with_config(self, **changes: Any) -> Image:
        """Return the image with changed fields of `ImageConfig`: ``with_config(cmd=["sh"], env={"A": "b"})``.  See `mutate.with_config`."""
        from . import mutate

        return mutate.with_config(self, **changes)

    def with_annotations(self, annotations: Mapping[str, str | None]) -> Image:
        """Return the image with more annotations; a value of None removes one.  See `mutate.with_annotations`."""
        from . import mutate

        return mutate.with_annotations(self, annotations)

    def with_platform(self, platform: Platform | str) -> Image:
        """Return the image declared for another platform.  See `mutate.with_platform`."""
        from . import mutate

        return mutate.with_platform(self, platform)

    def rebase(self, old: Image, new: Image) -> Image:
        """Return the image with the layers of `new` in place of those of `old`.  See `mutate.rebase`."""
        from . import mutate

        return mutate.rebase(self, old, new)

    def squash(
        self, keep: int = 0, *, blobs: FileBlobs | MemoryBlobs | None = None, compression: str = "gzip", limits: Limits | None = None,
    ) -> Image:  # fmt: skip
        """Return the image with all layers above the lowest `keep` merged into one.  See `mutate.squash`."""
        from . import mutate

        return mutate.squash(self, keep, blobs=blobs, compression=compression, limits=limits)

    def flatten(
        self, *, blobs: FileBlobs | MemoryBlobs | None = None, compression: str = "gzip", limits: Limits | None = None
    ) -> Image:  # fmt: skip
        """Return the image with a single layer, which holds only visible files.  See `mutate.flatten`."""
        from . import mutate

        return mutate.flatten(self, blobs=blobs, compression=compression, limits=limits)

    def picture(self, limit: int | None = None) -> str:
        """Return a picture: one line for each layer, with its size and the files it adds.

        :param limit: bytes; a larger layer is described by its history only.  None reads every layer
        """
        from .picture import text

        return text(self, limit)

    def __repr__(self) -> str:
        """Return the picture without reading any layer, so that showing a value is cheap."""
        return self.picture(0)

    def __str__(self) -> str:
        from .picture import SMALL

        return self.picture(SMALL)

    def _repr_html_(self) -> str:
        from .picture import SMALL, html

        return html(self, SMALL)


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """Return the chain id of each layer, bottom first.

    The lowest layer's chain id is its diff_id.  Any other's is the digest of "CHAIN_ID_BELOW DIFF_ID".

    :see: https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
    """
    found: list[Digest] = []
    for diff_id in diff_ids:
        found.append(Digest.of(f"{found[-1]} {diff_id}".encode()) if found else diff_id)
    return tuple(found)
