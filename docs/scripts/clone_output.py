import containerkit as ck

flood = ["sh", "-c", "while :; do echo more; done"]

result = ck.run(flood, output_limit=1000, timeout=0.5)
print(
    len(result.stdout),
    "bytes kept, truncated:",
    result.truncated,
    "- stopped by",
    result.stopped_by,
)

result = ck.run(flood, output_limit=1000, over_limit="kill")
print(
    len(result.stdout),
    "bytes kept, truncated:",
    result.truncated,
    "- stopped by",
    result.stopped_by,
)

seen = 0


def count(piece: bytes) -> None:
    global seen
    seen += len(piece)


result = ck.run(["head", "-c", "1000000", "/dev/zero"], stdout=count)
print(seen, "bytes went through a function,", len(result.stdout), "are kept")
