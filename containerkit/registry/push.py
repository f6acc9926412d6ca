"""Pushing and copying: into a registry, what a store, a layout or another registry has.

    push(image, "127.0.0.1:5000/app:1")
    copy("docker.io/library/nginx:1.27", "127.0.0.1:5000/nginx:1.27")     every platform; nothing touches the disk

Blobs go first, several at a time; then manifests; then what names them.  What the registry has does not go at all, and what
another repository of it has goes by its name only.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable

from ..image import media
from ..image._content import Found, reach
from ..image.blobs import Blobs
from ..image.descriptor import Descriptor
from ..image.errors import Mismatch, Missing
from ..image.image import Image
from ..image.index import Index
from ..image.platform import Platform
from ..image.reference import Reference
from ._kept import Kept
from ._work import Work
from .client import Registry
from .errors import Denied, NotFound, Unauthorized
from .progress import Callback, Reporter
from .pull import WORKERS
from .registries import Registries, using
from .remote import RemoteBlobs

__all__ = ["copy", "push"]


def push(
    image: Image | Index, reference: str | Reference, *, progress: Callback | None = None,
    registries: Registries | Registry | None = None, workers: int = WORKERS, mount_from: Iterable[str] = (), chunk: int | None = None,
) -> Descriptor:  # fmt: skip
    """Brings an image, or an index and all that it has, into a registry, and gives it a name there.

    :param reference: the name; with a digest it must be the image's own
    :param progress: is told how far it is
    :param registries: how registries are talked to
    :param workers: blobs at a time
    :param mount_from: repositories of the same registry that may have its blobs.  The one it was pulled from, where it comes straight
        from a registry, need not be said
    :param chunk: bytes of one part of a blob; in one piece unless given
    :return: what was pushed
    :raises Missing: a part of it is not here;  :raises RegistryError: the registry does not take it
    """
    wanted = Reference.parse(reference)
    source = image.source
    with using(registries) as known:
        mounts = [*mount_from, *_repository(source, known[wanted.registry])]
        return _push(image.blobs, image.descriptor.bare(), wanted, known[wanted.registry], Reporter(progress), workers, mounts, chunk)


def copy(
    source: str | Reference, target: str | Reference, *, platform: Platform | str | None = None, progress: Callback | None = None,
    registries: Registries | Registry | None = None, workers: int = WORKERS, chunk: int | None = None,
) -> Descriptor:  # fmt: skip
    """Copies an image from one registry to another, or to another name of the same one, byte for byte.

    :param platform: only the image for this platform, out of an index; all of it unless given
    :param registries: how registries are talked to.  The other parameters are those of `push`
    :return: what was copied
    :raises RegistryError: one of the registries does not do its part
    """
    wanted, place = Reference.parse(source), Reference.parse(target)
    with using(registries) as known:
        blobs = known[wanted.registry].blobs(wanted.repository)
        root, data = known[wanted.registry].manifest(wanted)
        kept = Kept(blobs)
        kept.keep(root, data)
        if platform and media.kind(root.media_type) == "index":
            root = Index.load(kept, root).match(platform)
        mounts = _repository(blobs, known[place.registry])
        return _push(kept, root.bare(), place, known[place.registry], Reporter(progress), workers, mounts, chunk)


def _repository(blobs: Blobs, registry: Registry) -> list[str]:
    """The repository of this registry where the blobs come from."""
    return [blobs.repository] if isinstance(blobs, RemoteBlobs) and blobs.registry.host == registry.host else []


def _push(
    blobs: Blobs, root: Descriptor, wanted: Reference, registry: Registry, tell: Reporter, workers: int, mounts: Iterable[str],
    chunk: int | None,
) -> Descriptor:  # fmt: skip
    if wanted.digest not in (None, root.digest):
        raise Mismatch(f"digest of what is pushed as {wanted}", wanted.digest, root.digest)
    found = list(reach(blobs, root))  # all of it is looked at before any of it goes
    _complete(blobs, found, wanted, registry)
    others = tuple(dict.fromkeys(name for name in mounts if name != wanted.repository))
    leaves = [each.descriptor for each in found if each.data is None]
    for leaf in leaves:
        tell(leaf, "waiting")
    with Work(workers) as work:
        work.run([functools.partial(_blob, leaf, blobs, wanted.repository, registry, tell, others, chunk) for leaf in leaves])
    for each in found:
        if each.data is not None:
            is_root = each.descriptor.digest == root.digest
            place = wanted if is_root and wanted.tag else wanted.with_digest(each.descriptor.digest)
            registry.push_manifest(place, each.data, each.descriptor.media_type)
            tell(each.descriptor, "done", each.descriptor.size)
    tell(str(wanted), "done")
    return root


def _complete(blobs: Blobs, found: list[Found], wanted: Reference, registry: Registry) -> None:
    """Registries take no index without its images.

    :raises Missing: one is neither here nor there
    """
    here = {each.descriptor.digest for each in found}
    for each in found:
        if each.data is None or media.kind(each.descriptor.media_type) != "index":
            continue
        for child in Index.parse(each.data, each.descriptor.media_type).manifests:
            if child.digest not in here and not registry.has_manifest(wanted.repository, child.digest):
                what = f"the image for {child.platform}" if child.platform else f"the manifest {child.digest.short}"
                raise Missing(f"{what} is not here, and the index cannot be pushed without it; push one image of it instead")


def _blob(
    descriptor: Descriptor, blobs: Blobs, repository: str, registry: Registry, tell: Reporter, mounts: tuple[str, ...], chunk: int | None,
) -> None:  # fmt: skip
    """`Registry.push_blob` tells what came of it."""
    tell(descriptor, "uploading")
    count = tell.counter(descriptor, "uploading")
    mount = mounts[0] if len(mounts) == 1 else _first_with(descriptor, mounts, registry)
    outcome = registry.push_blob(repository, descriptor, blobs, mount_from=mount, chunk=chunk, count=count)
    tell(descriptor, outcome, descriptor.size)


def _first_with(descriptor: Descriptor, repositories: Iterable[str], registry: Registry) -> str:
    """The repository that has a blob, "" for none.  One that may not be looked into has none."""
    for repository in repositories:
        with contextlib.suppress(Denied, NotFound, Unauthorized):
            if registry.has_blob(repository, descriptor.digest):
                return repository
    return ""
