import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / Path(*digest.split(":"))


def wrong(layout: Path, descriptor: dict[str, Any]) -> bool:
    path = blob(layout, descriptor["digest"])
    if not path.is_file() or path.stat().st_size != descriptor["size"]:
        return True
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return descriptor["digest"] != f"sha256:{found}"


def damaged(layout: Path, descriptors: list[dict[str, Any]]) -> Iterator[str]:
    return (each["digest"] for each in descriptors if wrong(layout, each))


def intact(layout: Path) -> set[str]:
    found: set[str] = set()
    for entry in json.loads((layout / "index.json").read_bytes())["manifests"]:
        if wrong(layout, entry):
            found.add(entry["digest"])
            continue
        manifest = json.loads(blob(layout, entry["digest"]).read_bytes())
        found |= {*damaged(layout, [manifest["config"], *manifest["layers"]])}
    return found
