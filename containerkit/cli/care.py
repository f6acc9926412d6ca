"""Verbs that look after the store: gc, prune, df, fsck."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

from ..image import Digest
from ..image.store import Collected, Store
from . import human, table
from .parser import Parser, store_of

COLUMNS = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}


def _declare_gc(parser: Parser) -> None:
    parser.takes_store()
    parser.add_argument("--format", choices=["json"], help="for other programs")
    parser.flag("--untagged", help="also images that have lost their names")
    parser.flag("-a", "--all", help="also images with names that no container runs from")
    parser.set_defaults(verb=_gc)


def _gc(options: argparse.Namespace) -> int:
    collected = _collected(store_of(options), named=options.all, untagged=options.untagged or options.all)
    if options.format:
        print(json.dumps({"Images": collected.images, "Blobs": collected.blobs, "Layers": collected.layers, "Bytes": collected.bytes}))
    else:
        counts = (len(collected.images), len(collected.blobs), len(collected.layers))
        print("removed: {} images, {} blobs, {} unpacked layers; {} of blobs".format(*counts, human.size(collected.bytes)))
    return 0


def _collected(store: Store, *, named: bool, untagged: bool) -> Collected:
    """What somebody holds keeps its names."""
    gone: list[Digest] = []
    if named:
        held = store.leases.pinned()
        gone = [each.digest for each in store.images() if each.names and each.digest not in held]
        for digest in gone:
            store.remove(digest)
    collected = store.gc(untagged=untagged)
    return replace(collected, images=(*gone, *collected.images))


def _declare_prune(parser: Parser) -> None:
    parser.takes_store()
    parser.flag("-a", "--all", help="also images with names that no container runs from")
    parser.flag("-f", "--force", help="do not ask")
    parser.set_defaults(verb=_prune)


def _prune(options: argparse.Namespace) -> int:
    what = "all images that no container runs from" if options.all else "all images without a name"
    if not options.force and not _agreed(f"WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] "):
        return 0
    store = store_of(options)
    before = {each.digest: each.familiar for each in store.images()}
    collected = _collected(store, named=options.all, untagged=True)
    left = {each.digest for each in store.images()}
    gone = [f"untagged: {name}" for digest, names in before.items() if digest not in left for name in names]
    gone += [f"deleted: {digest}" for digest in before if digest not in left]
    print("".join(f"{line}\n" for line in ["Deleted Images:" if gone else "", *gone, ""] if line or gone), end="")
    print(f"Total reclaimed space: {human.size(collected.bytes)}")
    return 0


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
    rows = [
        ("Images", len(images), sum(each.digest in held for each in images), usage.blob_bytes, usage.reclaimable, f" ({share}%)"),
        ("Unpacked layers", usage.layers, sum(chain in held for chain in store.trees), usage.layer_bytes, usage.layer_bytes, ""),
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


VERBS = {"gc": _declare_gc, "prune": _declare_prune, "df": _declare_df, "fsck": _declare_fsck}
