"""The verbs about images in the store: images, history, inspect, tag, rmi, ls-layers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from ..errors import ImageError
from ..image import Image, Reference, media
from ..image.history import matched
from ..store.store import Store
from . import human, table
from .listing import listed, rows, shorten
from .parser import Parser, store_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLUMNS = {"Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "Platform": "PLATFORM", "ID": "IMAGE ID"}
COLUMNS |= {"CreatedSince": "CREATED", "Size": "SIZE"}
SIZES = {"CompressedSize": "COMPRESSED", "DiskSize": "ON DISK"}
HISTORY = {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT"}
LAYERS = {"Layer": "LAYER", "DiffID": "DIFF ID", "ChainID": "CHAIN ID", "Size": "SIZE", "Unpacked": "UNPACKED", "Images": "IMAGES"}
WIDEST = 45  # characters of an instruction, as in docker


# images ---------------------------------------------------------------------------------------------------------


def _declare_images(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_format()
    parser.flag("-a", "--all", help="also show the images for other machines")
    parser.flag("-q", "--quiet", help="print only ids")
    parser.flag("--digests", help="also show the digests of the manifests")
    parser.flag("--no-trunc", help="do not shorten ids")
    parser.flag("-s", "--size", help="also show the sizes of the compressed layers, and of the image on disk")
    parser.add_argument(
        "-f", "--filter", action="append", default=[], metavar="NAME=VALUE", help="reference, dangling, label, before, since"
    )
    parser.add_argument(
        "pattern", nargs="?", default="", metavar="REPOSITORY[:TAG]", help="only images of this name; * stands for a part of a path"
    )
    parser.set_defaults(verb=_images)


def _images(options: argparse.Namespace) -> int:
    store = store_of(options)
    sizes = options.size or ".Disk" in (options.format or "")
    images = listed(store, platforms=options.all)
    found = rows(store, images, pattern=options.pattern, filters=options.filter, full=options.no_trunc, sizes=sizes)
    if options.quiet and not options.format:
        print("".join(f"{row['ID']}\n" for row in found), end="")
        return 0
    hidden = set() if options.digests else {"Digest"}
    hidden |= set() if options.all else {"Platform"}
    columns = {field: title for field, title in COLUMNS.items() if field not in hidden}
    table.show(found, columns | (SIZES if options.size else {}), options.format)
    return 0


# history --------------------------------------------------------------------------------------------------------


def _declare_history(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_format()
    parser.flag("-q", "--quiet", help="print only ids")
    parser.flag("--no-trunc", help="do not shorten instructions and ids")
    parser.flag("-H", "--human", default=True, help="format sizes and times for people; --human=false prints bytes and RFC 3339")
    parser.add_argument("--platform", metavar="OS/ARCH", help="the image for this machine, if the name stands for several")
    parser.add_argument("image", metavar="IMAGE")
    parser.set_defaults(verb=_history)


def _history(options: argparse.Namespace) -> int:
    store = store_of(options)
    found = list(_entries(store, store.get(options.image, options.platform), options))
    if options.quiet and not options.format:
        print("\n".join(row["ID"] for row in found))
    else:
        created = {} if options.human else {"CreatedSince": "CREATED AT"}
        table.show(found, HISTORY | created, options.format)
    return 0


def _entries(store: Store, image: Image, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the rows, the newest first.  An entry without a layer has 0 bytes."""
    layers = image.layers
    for number, (entry, layer) in enumerate(reversed(matched(image.history, len(layers)))):
        size, words = 0 if layer is None else store.sizes.of(layers[layer]), " ".join(entry.created_by.split())
        yield {
            "ID": "<missing>" if number else shorten(options.no_trunc)(image.id),
            "CreatedSince": human.ago(entry.created) if options.human else entry.created, "CreatedAt": entry.created,
            "CreatedBy": words if options.no_trunc or len(words) <= WIDEST else words[: WIDEST - 1] + "…",
            "Size": human.size(size) if options.human else str(size), "Comment": entry.comment,
        }  # fmt: skip


# inspect --------------------------------------------------------------------------------------------------------


def _declare_inspect(parser: Parser) -> None:
    parser.takes_store()
    parser.add_argument("-f", "--format", metavar="json|TEMPLATE", help="json on one line, or a template such as '{{.Config.Env}}'")
    parser.add_argument("--platform", metavar="OS/ARCH", help="the image for this machine, if the name stands for several")
    parser.add_argument("--type", choices=["image"], help="accepted, as docker does")
    parser.flag("-s", "--size", help="accepted, without effect: sizes are always shown")
    parser.flag("--raw", help="print the manifest or the index byte for byte")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.set_defaults(verb=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    """Print every image that is found, even if another is missing."""
    import json

    from .template import Template

    store = store_of(options)
    found: list[Any] = []
    missing = _each(options.images, lambda name: found.append(_inspected(store, name, options)))
    if options.raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(b"".join(found))
    elif options.format and options.format != "json":
        template = Template(options.format)
        print("\n".join(template.fill(each) for each in found))
    else:
        print(json.dumps(found) if options.format else json.dumps(found, indent=4))
    return missing


def _inspected(store: Store, name: str, options: argparse.Namespace) -> object:
    from .inspect import document

    entry = store.find(name)
    if options.raw:
        with store.blobs.open(entry) as file:
            return file.read()
    names = next((each.names for each in store.images() if each.digest == entry.digest), ())
    image = store.get(name, options.platform)
    return document(image, entry, names, store.size(image))


# tag and rmi ----------------------------------------------------------------------------------------------------


def _declare_tag(parser: Parser) -> None:
    parser.takes_store()
    parser.add_argument("source", metavar="SOURCE_IMAGE[:TAG]")
    parser.add_argument("target", metavar="TARGET_IMAGE[:TAG]")
    parser.set_defaults(verb=_tag)


def _tag(options: argparse.Namespace) -> int:
    store_of(options).tag(options.source, options.target)
    return 0


def _declare_rmi(parser: Parser) -> None:
    parser.takes_store()
    parser.flag("-f", "--force", help="remove an image with several names by its id; ignore a missing image")
    parser.flag("--no-prune", help="keep the image's layers until gc removes them")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.set_defaults(verb=_rmi)


def _rmi(options: argparse.Namespace) -> int:
    """Remove a name, and with its last name the image.  An image that a container runs from stays until the container has ended."""
    store = store_of(options)
    missing = _each(options.images, lambda name: _remove(store, name, options.force), quiet=options.force)
    if not options.no_prune:
        store.gc()
    return missing


def _remove(store: Store, name: str, force: bool) -> None:
    entry = store.find(name)
    names = next(each.names for each in store.images() if each.digest == entry.digest)
    id = store.get(entry.digest).id if media.kind(entry.media_type) == "manifest" else entry.digest
    if (called := _called(name, names)) and len(names) > 1:
        store.untag(called)
        print(f"Untagged: {Reference.parse(called).familiar}")
        return
    if len(names) > 1 and not force:
        said = ", ".join(Reference.parse(each).familiar for each in names)
        raise ImageError(f"conflict: cannot remove {name} (must be forced): it has several names: {said}")
    for each in store.remove(entry.digest):
        print(f"Untagged: {Reference.parse(each).familiar}")
    print(f"Deleted: {id}")


def _called(name: str, names: tuple[str, ...]) -> str:
    """Return the image's name that `name` means; "" if it is an id or a digest."""
    try:
        full = str(Reference.parse(name))
    except ImageError:
        return ""
    return full if full in names else ""


def _each(names: list[str], act: Callable[[str], object], *, quiet: bool = False) -> int:
    """Act on each name, going on after an error.  :return: 1 if one of them failed"""
    code = 0
    for name in names:
        try:
            act(name)
        except ImageError as error:
            if quiet and isinstance(error, LookupError):
                continue
            human.complain(str(error))
            code = 1
    return code


# ls-layers ------------------------------------------------------------------------------------------------------


def _declare_layers(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_format()
    parser.flag("-q", "--quiet", help="print only diff ids")
    parser.flag("--no-trunc", help="do not shorten ids")
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help="only the layers of this image, the lowest first; all layers unless given"
    )
    parser.set_defaults(verb=_layers)


def _layers(options: argparse.Namespace) -> int:
    store = store_of(options)
    found = _shared(store, shorten(options.no_trunc))
    wanted = [store.get(name) for name in options.images]
    chains = dict.fromkeys(chain for image in wanted for chain in image.chain_ids) if wanted else found
    if options.quiet and not options.format:
        print("".join(f"{found[chain]['DiffID']}\n" for chain in chains), end="")
    else:
        table.show([_words(found[chain], options.format) for chain in chains], LAYERS, options.format)
    return 0


def _shared(store: Store, short: Callable[[Any], str]) -> dict[str, dict[str, Any]]:
    """Return a row for each chain id: the top layer of the chain, and the images that contain it."""
    found: dict[str, dict[str, Any]] = {}
    unpacked = set(store.trees)
    for each in listed(store, platforms=True):
        if each.image is None or each.image.manifest.is_artifact:
            continue
        for layer, chain in zip(each.image.layers, each.image.chain_ids, strict=True):
            row = found.setdefault(
                chain,
                {"Layer": short(layer.digest), "DiffID": short(layer.diff_id), "ChainID": short(chain), "Size": human.size(layer.size),
                 "Bytes": layer.size, "MediaType": layer.media_type, "Unpacked": chain in unpacked, "Images": []},
            )  # fmt: skip
            row["Images"] += [name for name in each.stored.familiar or [each.id.short] if name not in row["Images"]]
    return found


def _words(row: dict[str, Any], format: str | None) -> dict[str, Any]:
    """Return a row for people, unless the format is for another program."""
    if format and format != "table":
        return row
    return row | {"Unpacked": "yes" if row["Unpacked"] else "no", "Images": ", ".join(row["Images"])}


VERBS = {
    "images": _declare_images, "history": _declare_history, "inspect": _declare_inspect, "tag": _declare_tag, "rmi": _declare_rmi,
    "ls-layers": _declare_layers,
}  # fmt: skip
