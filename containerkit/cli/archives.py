"""The verbs between the store and files: save, load, import, export, diff."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ImageError
from ..image import Descriptor, History, Image, ImageConfig, Layer, Platform, Reference, media, merge, mutate
from ..image.blobs import Blobs, TemporaryBlobs
from ..image.errors import InvalidReference
from ..image.files.named_images import NamedImages, name_of, named
from ..image.files.opening import open_source
from ..image.history import now
from ..image.picture import printable
from ..layers import changes
from ..layers.changes import Change
from ..state.scratch import Scratch
from ..store.store import Store
from . import table
from .parser import Parser, store_of

FORMATS = ["docker-archive", "oci-archive", "oci-dir"]
LETTERS = {"added": "A", "modified": "C", "deleted": "D"}


# save -----------------------------------------------------------------------------------------------------------


def _declare_save(parser: Parser) -> None:
    parser.takes_store()
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write to this file instead of standard output, which must not be a terminal"
    )
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="docker-archive unless given, which is an OCI layout too")
    parser.add_argument("--platform", metavar="OS/ARCH", help="the image for this machine, if the name stands for several")
    parser.flag("--uncompressed", help="write uncompressed layers, for docker before 23, which cannot load zstd")
    parser.flag("-q", "--quiet", help="accepted, without effect: save prints nothing")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.set_defaults(verb=_save)


def _save(options: argparse.Namespace) -> int:
    """Take one image out of an index for a docker-archive, or if the user asks for one; the other formats keep the index."""
    store = store_of(options)
    docker = options.format == "docker-archive"
    one = docker or options.uncompressed
    items = [_item(store, name, options.platform, one=one) for name in options.images]
    if options.uncompressed:
        items = [_plain(*item) for item in items]
    if options.output is None and sys.stdout.isatty():
        raise ImageError("standard output is a terminal: use -o FILE, or redirect the output")
    if options.format == "oci-dir" and options.output is None:
        raise ImageError("a directory cannot go to standard output: use -o DIR")
    sys.stdout.flush()
    if docker:
        from ..image.files import archive

        archive.write(options.output or sys.stdout.buffer, items)
    else:
        from ..image.files import layout

        layout.write(options.output or sys.stdout.buffer, items, tar=options.format == "oci-archive")
    return 0


def _item(store: Store, name: str, platform: str | None, *, one: bool) -> tuple[Descriptor, Blobs]:
    entry = store.find(name)
    if platform or (one and media.kind(entry.media_type) == "index"):
        entry = store.get(name, platform).descriptor
    with contextlib.suppress(ImageError):  # an id is no name; a text that could be both was found as one of them above
        full = Reference.parse(name)
        names = {known for each in store.images() for known in each.names}
        return named(entry, str(full) if str(full) in names else ""), store.blobs
    return named(entry, ""), store.blobs


def _plain(entry: Descriptor, blobs: Blobs) -> tuple[Descriptor, Blobs]:
    image = mutate.plain(Image.load(blobs, entry))
    return named(image.descriptor, name_of(entry)), image.blobs


# load -----------------------------------------------------------------------------------------------------------


def _declare_load(parser: Parser) -> None:
    parser.takes_store()
    parser.add_argument("-i", "--input", metavar="FILE", help="a tar or a directory; standard input unless given")
    parser.flag("-q", "--quiet", help="accepted, without effect: load shows no progress")
    parser.add_argument("--platform", metavar="OS/ARCH", help="only the image for this machine, out of an index")
    parser.set_defaults(verb=_load)


def _load(options: argparse.Namespace) -> int:
    store = store_of(options)
    with _input(options.input) as path, contextlib.ExitStack() as stack:
        source = open_source(path)
        stack.callback(getattr(source, "close", lambda: None))
        for entry, names in _entries(source):
            if options.platform:
                entry = source.manifest(entry.digest, Platform.parse(options.platform))
            store.add(entry, source.blobs, *names)
            said = [f"Loaded image: {Reference.parse(name).familiar}" for name in names]
            print(*(said or [f"Loaded image ID: {_id(store, entry)}"]), sep="\n")
    return 0


@contextlib.contextmanager
def _input(name: str | None) -> Iterator[str]:
    """Yield the name of the input file.  Standard input is copied to a file first: a tar's index may be at its end."""

    if name not in (None, "-"):
        yield str(name)
        return
    if sys.stdin.isatty():
        raise ImageError("standard input is a terminal: use -i FILE, or redirect the input")
    with contextlib.closing(Scratch("load")) as scratch:
        import shutil

        with open(scratch.path / "archive", "xb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield str(scratch.path / "archive")


def _entries(source: NamedImages) -> list[tuple[Descriptor, list[str]]]:
    """List every named entry of an archive once, with its names.  A layout's name that is no image name is skipped."""
    found: dict[str, tuple[Descriptor, list[str]]] = {}
    for entry in source.entries:
        names = found.setdefault(entry.digest, (named(entry, ""), []))[1]
        with contextlib.suppress(InvalidReference):
            names += [str(Reference.parse(name))] if (name := name_of(entry)) else []
    return list(found.values())


def _id(store: Store, entry: Descriptor) -> str:
    return str(store.get(entry.digest).id if media.kind(entry.media_type) == "manifest" else entry.digest)


# import and export ----------------------------------------------------------------------------------------------


def _declare_import(parser: Parser) -> None:
    parser.takes_store()
    parser.add_argument(
        "-c",
        "--change",
        action="append",
        default=[],
        metavar="INSTRUCTION",
        help="apply an instruction of a Dockerfile, such as 'CMD [\"sh\"]'",
    )
    parser.add_argument("-m", "--message", default="", metavar="TEXT", help="a comment in the image's history")
    parser.add_argument("--platform", metavar="OS/ARCH", help="the machine that the image is for; this one unless given")
    parser.flag("-q", "--quiet", help="accepted, without effect: import shows no progress")
    parser.add_argument("file", metavar="FILE|-", help="a tar of a root directory, compressed or not; - for standard input")
    parser.add_argument("name", nargs="?", metavar="REPOSITORY[:TAG]")
    parser.set_defaults(verb=_import)


def _import(options: argparse.Namespace) -> int:
    store = store_of(options)
    with contextlib.ExitStack() as stack:
        file = sys.stdin.buffer if options.file == "-" else stack.enter_context(open(options.file, "rb"))
        layer = Layer.from_tar(file, TemporaryBlobs())
        said = f"Imported from {'-' if options.file == '-' else Path(options.file).name}"
        image = _imported(layer, options, said)
        print(store.put(image, *filter(None, [options.name])).id)
    return 0


def _imported(layer: Layer, options: argparse.Namespace, said: str) -> Image:
    platform = Platform.parse(options.platform) if options.platform else Platform.here()
    history = History(created=now(), comment=options.message or said)
    config = ImageConfig(platform=platform, created=now(), history=(history,))
    return Image.of(_configured(config, options.change), [layer])


def _configured(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    from ..builder.settings import configured

    return configured(config, *changes)


def _declare_export(parser: Parser) -> None:
    parser.takes_store()
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write to this file instead of standard output, which must not be a terminal"
    )
    parser.add_argument("--platform", metavar="OS/ARCH", help="the image for this machine, if the name stands for several")
    parser.add_argument("image", metavar="IMAGE")
    parser.set_defaults(verb=_export)


def _export(options: argparse.Namespace) -> int:
    """Write all layers as one tar, without the files that upper layers hide."""
    from ..image.tar.blobs_tar import appearing

    image = store_of(options).get(options.image, options.platform)
    if options.output is None and sys.stdout.isatty():
        raise ImageError("standard output is a terminal: use -o FILE, or redirect the output")
    with appearing(options.output) if options.output else contextlib.nullcontext(sys.stdout.buffer) as file:
        merge.write(image.layers, file.write)
    return 0


# diff -----------------------------------------------------------------------------------------------------------


def _declare_diff(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_format()
    parser.add_argument("image", metavar="IMAGE", help="show the changes of this image's last layer, or the first of two images to compare")
    parser.add_argument("other", nargs="?", metavar="IMAGE", help="show the changes from the first image to this one")
    parser.set_defaults(verb=_diff)


def _diff(options: argparse.Namespace) -> int:
    rows = ({"Kind": LETTERS[each.kind], "Path": each.path} for each in _changes(store_of(options), options))
    if options.format:
        table.show(rows, {"Kind": "KIND", "Path": "PATH"}, options.format)
    else:
        for row in rows:
            print(row["Kind"], printable(row["Path"]))
    return 0


def _changes(store: Store, options: argparse.Namespace) -> Iterator[Change]:
    image = store.get(options.image)
    if options.other:
        yield from image.diff(store.get(options.other)).changes(store)
        return
    with store.hold(image) as layers:
        yield from changes.changes(layers[-1], layers[:-1]) if layers else ()


VERBS = {
    "save": _declare_save, "load": _declare_load, "import": _declare_import, "export": _declare_export, "diff": _declare_diff,
}  # fmt: skip
