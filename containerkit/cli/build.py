"""The verb build."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ..builder import build
from ..errors import BuildError
from ..image import Descriptor, Image, Platform, Reference, media
from ..image.blobs import Blobs
from ..store.store import Store
from .parser import Parser, store_of
from .steps import HOW, steps

KINDS = ("local", "tar", "oci", "docker", "image")
TAR_NAME = 257  # where a tar that is not compressed says "ustar"


def _declare(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_registry()
    add, flag = parser.add_argument, parser.flag
    add("-t", "--tag", action="append", default=[], metavar="NAME[:TAG]", help="a name for the image; more than once for several")
    add("-f", "--file", metavar="FILE", help="the Dockerfile, - for standard input; PATH/Dockerfile unless given")
    add("--target", metavar="STAGE", help="build this stage; the last one unless given")
    add("--build-arg", action="append", default=[], metavar="NAME[=VALUE]", help="the value of an ARG; without one, of our environment")
    add("--label", action="append", default=[], metavar="NAME=VALUE", help="a label for the image")
    add("--secret", action="append", default=[], metavar="id=NAME[,src=FILE|,env=NAME]", help="what RUN --mount=type=secret may see")
    add(
        "--build-context", action="append", default=[], metavar="NAME=DIR|docker-image://IMAGE", help="another context, for FROM and --from"
    )
    add("--network", choices=["default", "none", "host"], default="default", help="of RUN; this machine's unless none is said")
    add(
        "--userns", choices=["host"], default="", help="host: RUN by root is this machine's root, and may make devices; else it is nobody's"
    )
    add("--platform", metavar="OS/ARCH", help="what machine it is for; this one unless given")
    add("--cache-from", action="append", default=[], metavar="DIR|IMAGE", help="where another build left what it built, with --cache-to")
    add("--cache-to", metavar="DIR|IMAGE", help="leave what is built there")
    flag("--no-cache", help="build everything anew")
    flag("--pull", help="ask the registry for every base image, also for one that is here")
    flag("-q", "--quiet", help="say nothing but the image's id")
    add("--progress", choices=HOW, default="auto", help="how to say what happens: on a terminal tty, plain elsewhere")
    add(
        "-o", "--output", action="append", default=[], metavar="DEST|type=TYPE,dest=DEST", help=f"also write the result: {', '.join(KINDS)}"
    )
    add("--iidfile", metavar="FILE", help="write the image's id there")
    add("--compression", choices=["gzip", "zstd", "none"], default="gzip", help="of new layers")
    for accepted in ("--rm", "--force-rm", "--load"):
        flag(accepted, help="accepted: it is so anyway")
    add("context", metavar="PATH|-", help="the context: a directory or a tar; - for a tar or a Dockerfile on standard input")
    parser.set_defaults(verb=_build)


def _build(options: argparse.Namespace) -> int:
    outputs = [_output(text) for text in options.output]  # before anything is built
    store = store_of(options)
    with contextlib.ExitStack() as stack:
        context, dockerfile = stack.enter_context(_context(options))
        progress = stack.enter_context(steps("quiet" if options.quiet else options.progress))
        image = build(
            context, dockerfile=dockerfile, target=options.target, args=_pairs(options.build_arg, os.environ), tags=options.tag,
            store=store, platform=options.platform, cache=not options.no_cache, cache_from=map(_place, options.cache_from),
            cache_to=options.cache_to and _place(options.cache_to), secrets=dict(map(_secret, options.secret)), network=options.network,
            userns=options.userns, labels=_pairs(options.label), contexts=_pairs(options.build_context), compression=options.compression,
            progress=progress, resolve=_resolver(store, options),
        )  # fmt: skip
    for write in outputs:
        write(image, options.tag)
    _tell(image, options)
    return 0


def _tell(image: Image, options: argparse.Namespace) -> None:
    if options.iidfile:
        Path(options.iidfile).write_text(image.id)
    if options.quiet:
        print(image.id)
        return
    names = "".join(f"\nnamed {Reference.parse(name)}" for name in options.tag)
    print(f"image {image.id}{names}", file=sys.stderr)


# What it is built from ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _context(options: argparse.Namespace) -> Iterator[tuple[str | BinaryIO, str | bytes | None]]:
    """The context and the Dockerfile.  Standard input is a tar, or else a Dockerfile that needs no context, as docker tells them apart."""
    if options.context != "-":
        yield options.context, options.file
    elif options.file == "-":
        raise BuildError("standard input is either the context or the Dockerfile")
    elif _is_tar(sys.stdin.buffer):
        yield sys.stdin.buffer, options.file
    else:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="containerkit-context-") as empty:
            yield empty, sys.stdin.buffer.read()


def _is_tar(stream: BinaryIO) -> bool:
    head = stream.peek(TAR_NAME + 5)  # type: ignore[attr-defined]
    return media.sniff(head) != "none" or head[TAR_NAME : TAR_NAME + 5] == b"ustar"


def _resolver(store: Store, options: argparse.Namespace) -> Callable[[str, Platform | None], Image]:
    """Base images: from the store, and from a registry where they are not there or --pull was said."""

    def resolve(name: str, platform: Platform | None) -> Image:
        if not options.pull:
            with contextlib.suppress(LookupError):
                return store.get(name, platform)
        from ..registry import pull
        from .registry import registries

        with registries(options) as known:
            pull(name, store, platform=platform, registries=known)
        return store.get(Reference.parse(name).digest or name, platform)

    return resolve


def _pairs(words: list[str], ours: Mapping[str, str] | None = None) -> dict[str, str]:
    """:param ours: has the values of names that come without one; one that is not there is left out"""
    pairs = (word.partition("=") for word in words)
    return {name: value if given or ours is None else ours[name] for name, given, value in pairs if given or ours is None or name in ours}


def _fields(text: str, what: str) -> dict[str, str]:
    """``type=oci,dest=x`` as docker writes such things."""
    pairs = [word.partition("=") for word in text.split(",")]
    if not all(given for _, given, _ in pairs):
        raise BuildError(f"{what} {text!r}: expected name=value, with commas between")
    return {name.strip().lower(): value for name, _, value in pairs}


def _place(text: str) -> str:
    """A directory or a reference, also in buildkit's words: ``type=local,src=DIR``, ``type=registry,ref=IMAGE``."""
    if "=" not in text:
        return text
    fields = _fields(text, "a cache")
    names = {"local": ("src", "dest"), "registry": ("ref",)}.get(fields.get("type", ""), ())
    if found := next((fields[name] for name in names if name in fields), ""):
        return found
    raise BuildError(f"a cache {text!r}: only type=local,src=DIR (or dest=DIR) and type=registry,ref=IMAGE are understood")


def _secret(text: str) -> tuple[str, str | bytes]:
    fields = _fields(text, "--secret")
    name, file, variable = fields.get("id", ""), fields.get("src") or fields.get("source"), fields.get("env")
    if unknown := fields.keys() - {"id", "src", "source", "env", "type"}:
        raise BuildError(f"--secret {text!r}: there is no {min(unknown)!r}")
    if not name or (file and variable) or fields.get("type", "file") not in ("file", "env"):
        raise BuildError(f"--secret {text!r}: expected id=NAME,src=FILE or id=NAME,env=NAME")
    if variable or (not file and fields.get("type") == "env") or (not file and name in os.environ):
        return name, os.environb.get(os.fsencode(variable or name)) or _unset(variable or name)
    return name, file or name


def _unset(name: str) -> bytes:
    raise BuildError(f"--secret: there is no variable {name} in our environment")


# What comes of it -----------------------------------------------------------------------------------------------


def _output(text: str) -> Callable[[Image, list[str]], None]:
    """Something that writes the image.  :raises BuildError: not understood; said before anything is built"""
    fields = _fields(text, "--output") if "=" in text else {"type": "tar" if text == "-" else "local", "dest": text}
    kind, place = fields.get("type", ""), fields.get("dest", "")
    if kind not in KINDS:
        raise BuildError(f"--output type={kind}: there are {', '.join(KINDS)}")
    if kind == "image":
        return lambda image, names: None
    if not place and kind != "local":
        place = "-"
    if not place or (place == "-" and (kind == "local" or sys.stdout.isatty())):
        raise BuildError(f"--output {text!r}: it wants dest=, and a tar is not for a terminal")
    return {"local": _to_directory, "tar": _to_tar, "oci": _to_oci, "docker": _to_docker}[kind](place)


Writer = Callable[[Image, list[str]], None]


def _to_directory(place: str) -> Writer:
    """The files belong to who builds, unless that is root."""
    return lambda image, names: image.extract(place)


def _to_tar(place: str) -> Writer:
    from ..image import merge
    from ..image.tar.blobs_tar import appearing

    def write(image: Image, names: list[str]) -> None:
        with appearing(place) if place != "-" else contextlib.nullcontext(sys.stdout.buffer) as file:
            merge.write(image.layers, file.write)

    return write


def _to_oci(place: str) -> Writer:
    """A directory where the name ends in a slash."""
    from ..image.files import layout

    target = sys.stdout.buffer if place == "-" else place
    return lambda image, names: layout.write(target, _named(image, names), tar=not place.endswith("/"))


def _to_docker(place: str) -> Writer:
    from ..image.files import archive

    return lambda image, names: archive.write(sys.stdout.buffer if place == "-" else place, _named(image, names))


def _named(image: Image, names: list[str]) -> list[tuple[Descriptor, Blobs]]:
    from ..image.files.named_images import named

    return [(named(image.descriptor, str(Reference.parse(name)) if name else ""), image.blobs) for name in names or [""]]


VERBS = {"build": _declare}
