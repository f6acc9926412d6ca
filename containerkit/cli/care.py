"""Verbs that look after the store: gc, prune, df, fsck."""

from __future__ import annotations

import argparse
import functools
import sys
from typing import TYPE_CHECKING

from ..rootfs import tree
from ..state import scratch
from . import human, space, table
from .parser import Parser, store_of

if TYPE_CHECKING:
    from ..store.store import Store

COLUMNS = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}
ITEMS = {"Name": "NAME", "Size": "SIZE", "Active": "ACTIVE", "Reclaimable": "RECLAIMABLE"}


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
    if not options.dry_run:
        scratch.sweep()
        if options.cache:
            _prune_mounts(store)
    if options.format:
        import json

        print(json.dumps({"Images": found.images, "Blobs": found.blobs, "Layers": found.layers, "Bytes": found.bytes}))
    else:
        done, counts = "would remove" if options.dry_run else "removed", (len(found.images), len(found.blobs), len(found.layers))
        print("{}: {} images, {} blobs, {} unpacked layers; {} of blobs".format(done, *counts, human.size(found.bytes)))
    return 0


def _declare_prune(parser: Parser, *, images: bool = True, cache: bool = False, system: bool = False) -> None:
    parser.takes_store()
    parser.flag("-a", "--all", help="also images with names that no container runs from" if images else "accepted: all of it goes anyway")
    parser.flag("-f", "--force", help="do not ask")
    parser.set_defaults(verb=_prune, images=images, cache=cache, system=system)


def _prune(options: argparse.Namespace) -> int:
    if not options.force and not _agreed(f"WARNING! This will remove {_what(options)}.\nAre you sure you want to continue? [y/N] "):
        return 0
    store = store_of(options)
    before = {each.digest: each.familiar for each in store.images()}
    taken = space.total(store) if options.cache else 0
    found = store.gc(untagged=options.images, named=options.images and options.all, cache=options.cache)
    scratch.sweep()
    if options.cache:
        _prune_mounts(store)
    if options.system:
        tree.prune_roots()
        space.forget_damaged(store)
    if found.images:
        print("Deleted Images:")
        for digest in found.images:
            print("".join(f"untagged: {name}\n" for name in before.get(digest, ())) + f"deleted: {digest}")
        print()
    freed = max(0, taken - space.total(store)) if options.cache else found.bytes
    print(f"Total reclaimed space: {human.size(freed)}")
    return 0


def _prune_mounts(store: Store) -> None:
    """The directories of RUN --mount=type=cache that nobody uses."""
    from ..builder import prune

    prune(store)


def _what(options: argparse.Namespace) -> str:
    images = "all images that no container runs from" if options.all else "all images without a name"
    roots = "the cached roots of programs that nobody uses, and the damaged blobs that fsck put aside"
    return ", ".join([images] * options.images + ["all that builds remember"] * options.cache + [roots] * options.system)


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
    parser.flag("-v", "--verbose", help="each thing, and what it takes")
    parser.set_defaults(verb=_df)


def _df(options: argparse.Namespace) -> int:
    kinds = space.kinds(store_of(options))
    if options.verbose and not options.format:
        for kind in kinds:
            print(f"{kind.name} space usage:\n")
            table.show([item.row() for item in kind.items], ITEMS)
            print()
    elif options.verbose:
        table.show([{"Type": kind.name, **item.row()} for kind in kinds for item in kind.items], {"Type": "TYPE", **ITEMS}, options.format)
    else:
        table.show([kind.row() for kind in kinds], COLUMNS, options.format)
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
    "gc": _declare_gc, "image-prune": _declare_prune, "system-prune": functools.partial(_declare_prune, cache=True, system=True),
    "builder-prune": functools.partial(_declare_prune, images=False, cache=True), "df": _declare_df, "fsck": _declare_fsck,
}  # fmt: skip
