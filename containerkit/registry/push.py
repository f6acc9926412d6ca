"""Push and copy: send an image to a registry, from a store, a layout or another registry.

    push(image, "127.0.0.1:5000/app:1")
    copy("docker.io/library/nginx:1.27", "127.0.0.1:5000/nginx:1.27")     every platform; nothing touches the disk

Blobs go first, several at a time; then the manifests that name them; then the indexes.  A blob that the registry has is not sent,
and a blob that another of its repositories has is mounted from there.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable

from ..base.frozen import frozen
from ..image import media
from ..image.blobs import Blobs
from ..image.content import Found, reach
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.errors import Mismatch, Missing
from ..image.image import Image
from ..image.index import Index
from ..image.origins import note_origin, origins_of
from ..image.platform import Platform
from ..image.reference import Reference
from .client import Registry
from .errors import Denied, NotFound, Refused, Unauthorized
from .manifest_cache import CachingBlobs
from .progress import Callback, Reporter
from .pull import WORKERS
from .registries import Registries, using
from .task_group import TaskGroup

__all__ = ["copy", "push"]

MOST = 3  # repositories that are tried for one blob, the latest ones


def push(
    image: Image | Index, reference: str | Reference, *, progress: Callback | None = None,
    registries: Registries | Registry | None = None, workers: int = WORKERS, mount_from: Iterable[str] = (), chunk: int | None = None,
) -> Descriptor:  # fmt: skip
    """Upload an image, or an index with all its images, to a registry, and name it there.

    :param reference: the name; with a digest it must be the image's own
    :param progress: is called with each `Progress`
    :param registries: the clients, or one client, with their settings
    :param workers: blobs at a time
    :param mount_from: repositories of the same registry that may have blobs of the image.  The store knows those that this user pulled
        a blob from or pushed it to; no other repository is asked
    :param chunk: bytes of one part of a blob; in one piece unless given
    :return: the descriptor of the image
    :raises Missing: a part of the image is not here;  :raises RegistryError: the registry does not accept it
    """
    wanted = Reference.parse(reference)
    with using(registries) as known:
        goal = _Goal(known[wanted.registry], wanted, Reporter(progress), image.source, tuple(mount_from), chunk)
        return _push(image.blobs, image.descriptor.bare(), goal, workers)


def copy(
    source: str | Reference, target: str | Reference, *, platform: Platform | str | None = None, progress: Callback | None = None,
    registries: Registries | Registry | None = None, workers: int = WORKERS, chunk: int | None = None,
) -> Descriptor:  # fmt: skip
    """Copy an image from one registry to another, or to another name of the same one, byte for byte.

    :param platform: only the image for this platform, from an index; the whole index unless given
    :param registries: the clients, or one client, with their settings.  The other parameters are those of `push`
    :return: the descriptor of the image
    :raises RegistryError: a request to one of the registries failed
    """
    wanted, place = Reference.parse(source), Reference.parse(target)
    with using(registries) as known:
        blobs = known[wanted.registry].blobs(wanted.repository)
        root, data = known[wanted.registry].manifest(wanted)
        kept = CachingBlobs(blobs)
        kept.keep(root, data)
        if platform and media.kind(root.media_type) == "index":
            root = Index.load(kept, root).match(platform)
        return _push(kept, root.bare(), _Goal(known[place.registry], place, Reporter(progress), kept, (), chunk), workers)


@frozen
class _Goal:
    """The destination of a push.

    :param near: knows the repositories that have a blob
    :param mounts: repositories that the caller expects to have blobs
    """

    registry: Registry
    wanted: Reference
    tell: Reporter
    near: Blobs
    mounts: tuple[str, ...]
    chunk: int | None

    def others(self, digest: Digest) -> list[str]:
        """List other repositories of this registry that have a blob.  A registry learns no name that is not its own."""
        near = [each.repository for each in origins_of(self.near, digest) if each.registry == self.registry.host]
        names = dict.fromkeys((*self.mounts, *near[:MOST]))
        return [name for name in names if name != self.wanted.repository]


def _push(blobs: Blobs, root: Descriptor, goal: _Goal, workers: int) -> Descriptor:
    wanted, registry, tell = goal.wanted, goal.registry, goal.tell
    if wanted.digest not in (None, root.digest):
        raise Mismatch(f"digest of the image pushed as {wanted}", wanted.digest, root.digest)
    found = list(reach(blobs, root))  # read and check everything before anything is sent
    _complete(blobs, found, wanted, registry)
    leaves = [each.descriptor for each in found if each.data is None]
    for leaf in leaves:
        tell(leaf, "waiting")
    with TaskGroup(workers) as work:
        work.run([functools.partial(_blob, leaf, blobs, goal) for leaf in leaves])
    for each in found:
        if each.data is not None:
            is_root = each.descriptor.digest == root.digest
            place = wanted if is_root and wanted.tag else wanted.with_digest(each.descriptor.digest)
            registry.push_manifest(place, each.data, each.descriptor.media_type)
            tell(each.descriptor, "done", each.descriptor.size)
    note_origin(goal.near, (leaf.digest for leaf in leaves), wanted)
    tell(str(wanted), "done")
    return root


def _complete(blobs: Blobs, found: list[Found], wanted: Reference, registry: Registry) -> None:
    """Check that every image of an index is here or at the registry: registries accept no index without its images.

    :raises Missing: an image is in neither
    """
    here = {each.descriptor.digest for each in found}
    for each in found:
        if each.data is None or media.kind(each.descriptor.media_type) != "index":
            continue
        for child in Index.parse(each.data, each.descriptor.media_type).manifests:
            if child.digest not in here and not registry.has_manifest(wanted.repository, child.digest):
                what = f"the image for {child.platform}" if child.platform else f"the manifest {child.digest.short}"
                raise Missing(f"{what} is not here, and the index cannot be pushed without it; push one image of it instead")


def _blob(descriptor: Descriptor, blobs: Blobs, goal: _Goal) -> None:
    """Push one blob, and report its outcome."""
    registry, repository = goal.registry, goal.wanted.repository
    goal.tell(descriptor, "uploading")
    count, others = goal.tell.counter(descriptor, "uploading"), goal.others(descriptor.digest)
    mount = others[0] if len(others) == 1 else _first_with(descriptor, others, registry)
    outcome = registry.push_blob(repository, descriptor, blobs, mount_from=mount, chunk=goal.chunk, count=count)
    goal.tell(descriptor, outcome, descriptor.size)


def _first_with(descriptor: Descriptor, repositories: Iterable[str], registry: Registry) -> str:
    """Return the first repository that has a blob, or "".  A repository that we may not read counts as without the blob."""
    for repository in repositories:
        with contextlib.suppress(Denied, NotFound, Refused, Unauthorized):
            if registry.has_blob(repository, descriptor.digest):
                return repository
    return ""
