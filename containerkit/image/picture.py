"""A picture of an image: its layers, top first, with their sizes and the files each adds.

The history describes a layer's instruction.  A layer that is small enough is also read, to list its files.
"""

from __future__ import annotations

from collections import Counter

from ..base.frozen import frozen
from .blobs import is_local
from .digest import Digest
from .errors import ImageError
from .history import matched
from .limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .image import Image
    from .layer import Layer

__all__ = ["SMALL", "Row", "html", "rows", "text"]

SMALL = 4 << 20  # the largest layer, in bytes, that is read for a picture
BAR, WIDEST = 10, 60
EIGHTHS = " ▏▎▍▌▋▊▉█"
WHITEOUT = b".wh."
MOST_KNOWN = 1000
_KNOWN: dict[Digest, str] = {}


@frozen
class Row:
    """One line of the picture.

    :ivar size: bytes as stored; None when the instruction made no layer
    :ivar by: the instruction
    :ivar adds: the files in the layer
    """

    size: int | None
    by: str
    adds: str = ""
    digest: Digest | None = None


def rows(image: Image, limit: int | None = SMALL) -> list[Row]:
    """Return the lines, top first.

    :param limit: bytes; a larger layer is described by its history only.  None reads every layer
    """
    if image.manifest.is_artifact:
        return [Row(each.size, each.media_type, "", each.digest) for each in reversed(image.manifest.layers)]
    found = []
    descriptors, diff_ids = image.manifest.layers, image.config.diff_ids
    layers: tuple[Layer, ...] = image.layers if len(descriptors) == len(diff_ids) else ()
    for entry, place in matched(image.history, len(descriptors)):
        words = instruction(entry.created_by or entry.comment)
        if place is None:
            found.append(Row(None, words))
            continue
        descriptor = descriptors[place]
        near = bool(layers) and is_local(layers[place].blobs, descriptor.digest)  # a picture fetches nothing
        read = near and (limit is None or 0 < descriptor.size <= limit)
        found.append(Row(descriptor.size, words, _adds(layers[place], limit) if read else "", descriptor.digest))
    return found[::-1]


def text(image: Image, limit: int | None = SMALL) -> str:
    """Return the picture for a terminal."""
    found = rows(image, limit)
    largest = max((row.size or 0 for row in found), default=0)
    words = max((len(_short(row.by)) for row in found), default=0)
    return "\n".join([title(image), *(_line(row, largest, words) for row in found)])


def html(image: Image, limit: int | None = SMALL) -> str:
    """Return the picture for a notebook, as HTML."""
    import html as html_module

    found = rows(image, limit)
    largest = max((row.size or 0 for row in found), default=0)
    escape = html_module.escape
    lines = [
        f"<tr><td style='text-align:right'>{'' if row.size is None else human(row.size)}</td>"
        f"<td style='width:8em'><div style='background:#4c78a8;height:1em;width:{100 * (row.size or 0) / (largest or 1):.1f}%'></div></td>"
        f"<td style='text-align:left'><code>{escape(row.by)}</code></td><td style='text-align:left'>{escape(row.adds)}</td></tr>"
        for row in found
    ]
    return f"<table><caption style='text-align:left'>{escape(title(image))}</caption>{''.join(lines)}</table>"


def title(image: Image) -> str:
    """Return one line about the image."""
    count = len(image.manifest.layers)
    noun = "blob" if image.manifest.is_artifact else "layer"
    what = printable(image.manifest.kind) if image.manifest.is_artifact else str(image.platform)
    digest = f"{image.digest.algorithm}:{image.digest.short}"
    return f"image {digest}  {what}  {count} {noun}{'' if count == 1 else 's'}  {human(image.size)}"


def instruction(words: str) -> str:
    """Return an instruction from docker's history on one line, without docker's wrapping."""
    words = " ".join(printable(words).split()).removesuffix("# buildkit").removesuffix("# containerkit").strip()
    if words.startswith("/bin/sh -c #(nop)"):
        return words.removeprefix("/bin/sh -c #(nop)").strip()
    return f"RUN {words.removeprefix('/bin/sh -c ')}" if words.startswith("/bin/sh -c ") else words


def printable(words: str) -> str:
    """Return the words without characters that control a terminal."""
    return "".join(char if char.isprintable() else " " for char in words)


def human(size: int) -> str:
    """Return a size in the decimal units that registries and docker use."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _line(row: Row, largest: int, words: int) -> str:
    size = "" if row.size is None else human(row.size)
    line = f"  {_bar(row.size, largest)} {size:>8}  {_short(row.by):{words}}  {row.adds}"
    return line.rstrip()


def _bar(size: int | None, largest: int) -> str:
    if size is None:
        return "·".ljust(BAR)
    eighths = max(1, round(8 * BAR * size / largest)) if largest else 1
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()).ljust(BAR)


def _short(words: str) -> str:
    return words if len(words) <= WIDEST else words[: WIDEST - 1] + "…"


def _adds(layer: Layer, limit: int | None) -> str:
    """Return the files a layer adds, remembered by diff_id so that each layer is read once.

    `limit` also bounds the decompressed size: a layer that grows far beyond it is not read to its end.
    """
    if layer.diff_id not in _KNOWN:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        try:
            _KNOWN[layer.diff_id] = tell(layer, None if limit is None else Limits(bytes=16 * limit))
        except (ImageError, OSError) as error:
            return printable(f"cannot be read: {error}".splitlines()[0])
    return _KNOWN[layer.diff_id]


def tell(layer: Layer, limits: Limits | None = None) -> str:
    """Return the content of a layer in a few words: ``3 files, 2 removed: usr 1.2 MB, etc 310 B``."""
    places: Counter[bytes] = Counter()
    files = removed = 0
    only = b""
    for entry in layer.entries(limits):
        parts = [part for part in entry.name.split(b"/") if part not in (b"", b".")]
        if not parts or entry.kind == "directory":
            continue
        if parts[-1].startswith(WHITEOUT):
            removed += 1
        else:
            files, only = files + 1, b"/".join(parts)
            places[parts[0]] += entry.size
    return _words(files, removed, places, only)


def _words(files: int, removed: int, places: Counter[bytes], only: bytes) -> str:
    counts = [f"{files:,} file{'' if files == 1 else 's'}"] if files else []
    counts += [f"{removed:,} removed"] if removed else []
    shown = [f"{_name(name)} {human(size)}" for name, size in places.most_common(3)]
    where = "/" + _name(only) if files == 1 else ", ".join(shown) + (", …" if len(places) > 3 else "")
    return ", ".join(counts or ["nothing"]) + (f": {where}" if files else "")


def _name(name: bytes) -> str:
    return printable(name.decode(errors="replace"))
