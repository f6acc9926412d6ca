WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


def below(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(f"{top}/")


def hidden_by(entry: str) -> str:
    directory, _, name = entry.rpartition("/")
    if name == OPAQUE:
        return directory
    prefix = f"{directory}/" if directory else ""
    return prefix + name.removeprefix(WHITEOUT)


def above(entry: str) -> set[str]:
    parts = entry.split("/")
    return {"/".join(parts[:count]) for count in range(1, len(parts))}


def seen(layers: list[list[str]]) -> set[str]:
    found: set[str] = set()
    for layer in layers:
        files = {entry for entry in layer if not entry.rpartition("/")[2].startswith(WHITEOUT)}
        directories = {path for entry in files for path in above(entry)}
        gone = {hidden_by(entry) for entry in layer}
        found = {path for path in found if not any(below(path, top) for top in gone)}
        found = found - directories | files
    return found
