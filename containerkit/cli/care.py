"""Verbs that look after the store: gc, prune, df, fsck."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from typing import TYPE_CHECKING

from .. import changes
from . import human, table
from .parser import Parser, store_of

if TYPE_CHECKING:
    from ..image.store import Store

COLUMNS = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}


def _declare_gc(parser: Parser) -> None:
    parser.takes_store()
    parser.add_argument("--format", choices=["json"], help="for other programs")
    parser.flag("--untagged", help="also images that have lost their names")
    parser.flag("-a", "--all", help="also images with names that no container runs from")
    parser.flag("--cache", help="also what builds remember")
    parser.flag("--dry-run", help="only tell")
    parser.set_defaults(verb=_gc)


def _gc(options: argparse.Namespace) -> int:
    store = store_of(options)
    found = store.gc(untagged=options.untagged, named=options.all, cache=options.cache, dry_run=options.dry_run)
    if options.cache and not options.dry_run:
        _prune_mounts(store)
    if options.format:
        print(json.dumps({"Images": found.images, "Blobs": found.blobs, "Layers": found.layers, "Bytes": found.bytes}))
    else:
        done, counts = "would remove" if options.dry_run else "removed", (len(found.images), len(found.blobs), len(found.layers))
        print("{}: {} images, {} blobs, {} unpacked layers; {} of blobs".format(done, *counts, human.size(found.bytes)))
    return 0


def _declare_prune(parser: Parser, *, images: bool = True, cache: bool = False) -> None:
    parser.takes_store()
    parser.flag("-a", "--all", help="also images with names that no container runs from" if images else "accepted: all of it goes anyway")
    parser.flag("-f", "--force", help="do not ask")
    parser.set_defaults(verb=_prune, images=images, cache=cache)


def _prune(options: argparse.Namespace) -> int:
    if not options.force and not _agreed(f"WARNING! This will remove {_what(options)}.\nAre you sure you want to continue? [y/N] "):
        return 0
    store = store_of(options)
    before = {each.digest: each.familiar for each in store.images()}
    found = store.gc(untagged=options.images, named=options.images and options.all, cache=options.cache)
    if options.cache:
        _prune_mounts(store)
    if found.images:
        print("Deleted Images:")
        for digest in found.images:
            print("".join(f"untagged: {name}\n" for name in before.get(digest, ())) + f"deleted: {digest}")
        print()
    print(f"Total reclaimed space: {human.size(found.bytes)}")
    return 0


def _prune_mounts(store: Store) -> None:
    """The directories of RUN --mount=type=cache that nobody uses."""
    from ..build import prune

    prune(store)


def _what(options: argparse.Namespace) -> str:
    images = "all images that no container runs from" if options.all else "all images without a name"
    return " and ".join([images] * options.images + ["all that builds remember"] * options.cache)


def _agreed(question: str) -> bool:
    """Silence is no."""
    print(question, end="", flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print()
    return answer.strip().lower() in ("y", "yes")


def _declare_df(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_format()
    parser.set_defaults(verb=_df)


def _df(options: argparse.Namespace) -> int:
    store = store_of(options)
    usage, held, images = store.usage(), store.leases.pinned(), store.images()
    share = 100 * usage.reclaimable // usage.blob_bytes if usage.blob_bytes else 0
    stale = sum(changes.usage(store.trees.path(chain)).bytes for chain in store.gc(dry_run=True).layers)
    rows = [
        ("Images", len(images), sum(each.digest in held for each in images), usage.blob_bytes, usage.reclaimable, f" ({share}%)"),
        ("Unpacked layers", usage.layers, sum(chain in held for chain in store.trees), usage.layer_bytes, stale, ""),
    ]
    shown = [
        {"Type": kind, "TotalCount": total, "Active": active, "Size": human.size(size), "Bytes": size,
         "Reclaimable": human.size(free) + more} for kind, total, active, size, free, more in rows
    ]  # fmt: skip
    table.show(shown, COLUMNS, options.format)
    return 0


def _declare_fsck(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_format()
    parser.flag("--repair", help="put damaged blobs aside, remove damaged layers")
    parser.flag("--layers", default=True, help="unpack every layer once more and compare; --layers=false does not")
    parser.set_defaults(verb=_fsck)


def _fsck(options: argparse.Namespace) -> int:
    """1 where something is wrong and was not repaired."""
    found = store_of(options).fsck(repair=options.repair, layers=options.layers)
    if options.format:
        rows = ({"What": each.what, "Name": each.name, "Detail": each.detail, "Repaired": each.repaired} for each in found)
        table.show(rows, {"What": "WHAT", "Name": "NAME", "Detail": "DETAIL", "Repaired": "REPAIRED"}, options.format)
    else:
        print("".join(f"{problem}\n" for problem in found) or "all is as it should be\n", end="")
    return int(any(not problem.repaired for problem in found))


VERBS = {
    "gc": _declare_gc, "image-prune": _declare_prune, "system-prune": functools.partial(_declare_prune, cache=True),
    "builder-prune": functools.partial(_declare_prune, images=False, cache=True), "df": _declare_df, "fsck": _declare_fsck,
}  # fmt: skip
