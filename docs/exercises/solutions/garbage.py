import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read(layout: Path, digest: str) -> dict[str, Any]:
    path = layout / "blobs" / Path(*digest.split(":"))
    if not path.exists():
        raise LookupError(f"{digest} is missing")
    return json.loads(path.read_bytes())


def reached(layout: Path, entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        yield entry["digest"]
        document = read(layout, entry["digest"])
        if entry["mediaType"].endswith("image.index.v1+json"):
            yield from reached(layout, document["manifests"])
        else:
            yield document["config"]["digest"]
            yield from (layer["digest"] for layer in document["layers"])


def garbage(layout: Path) -> set[str]:
    index = json.loads((layout / "index.json").read_bytes())
    needed = {*reached(layout, index["manifests"])}
    blobs = {f"{path.parent.name}:{path.name}" for path in layout.glob("blobs/*/*")}
    return blobs - needed
