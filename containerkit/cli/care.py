"""The verbs that look after the store: gc, prune, df, fsck."""

from __future__ import annotations

import argparse
import functools
import sys

from ..rootfs import tree
from ..state import scratch
from . import human, space, table
from .parser import Parser, store_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..store.store import Store

COLUMNS = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}
ITEMS = {"Name": "NAME", "Size": "SIZE", "Active": "ACTIVE", "Reclaimable": "RECLAIMABLE"}


def _declare_gc(parser: Parser) -> None:
    parser.takes_store()
    parser.add_argument("--format", choices=["json"], help="print one JSON object")
    parser.flag("--untagged", help="also remove images without a name")
    parser.flag("-a", "--all", help="also remove named images that no container runs from")
    parser.flag("--cache", help="also remove the build cache")
    parser.flag("--dry-run", help="print what would be removed, and remove nothing")
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
    parser.flag(
        "-a",
        "--all",
        help="also remove named images that no container runs from" if images else "accepted: all of the cache is removed anyway",
    )
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
    """Remove the directories of RUN --mount=type=cache that no build uses."""
    from ..builder import prune

    prune(store)


def _what(options: argparse.Namespace) -> str:
    images = "all images that no container runs from" if options.all else "all images without a name"
    roots = "the cached roots that no program uses, and the damaged blobs that fsck moved aside"
    return ", ".join([images] * options.images + ["the whole build cache"] * options.cache + [roots] * options.system)


def _agreed(question: str) -> bool:
    """Ask the user.  No answer counts as no."""
    print(question, end="", flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print()
    return answer.strip().lower() in ("y", "yes")


def _declare_df(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_format()
    parser.flag("-v", "--verbose", help="list each item with its size")
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
    parser.flag("--repair", help="move damaged blobs aside, remove damaged layers")
    parser.flag("--layers", default=True, help="unpack every layer again and compare; --layers=false skips this")
    parser.set_defaults(verb=_fsck)


def _fsck(options: argparse.Namespace) -> int:
    """Check the store.  Return 1 if a problem was found and not repaired."""
    found = store_of(options).fsck(repair=options.repair, layers=options.layers)
    if options.format:
        rows = ({"What": each.what, "Name": each.name, "Detail": each.detail, "Repaired": each.repaired} for each in found)
        table.show(rows, {"What": "WHAT", "Name": "NAME", "Detail": "DETAIL", "Repaired": "REPAIRED"}, options.format)
    else:
        print("".join(f"{problem}\n" for problem in found) or "no problems found\n", end="")
    return int(any(not problem.repaired for problem in found))


VERBS = {
    "gc": _declare_gc, "image-prune": _declare_prune, "system-prune": functools.partial(_declare_prune, cache=True, system=True),
    "builder-prune": functools.partial(_declare_prune, images=False, cache=True), "df": _declare_df, "fsck": _declare_fsck,
}  # fmt: skip
