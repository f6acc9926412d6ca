import containerkit as ck

flood = ["sh", "-c", "while :; do echo more; done"]


def show(result: ck.Result) -> None:
    kept = f"{len(result.stdout)} bytes kept, truncated: {result.truncated}"
    print(f"{kept}, stopped by {result.stopped_by}")


cut = ck.run(flood, output_limit=1000, timeout=0.5)
show(cut)
show(ck.run(flood, output_limit=1000, over_limit="kill"))
assert cut.truncated
assert len(cut.stdout) == 1000

seen = 0


def count(piece: bytes) -> None:
    global seen
    seen += len(piece)


result = ck.run(["head", "-c", "1000000", "/dev/zero"], stdout=count)
print(seen, "bytes went through a function,", len(result.stdout), "are kept")
assert seen == 1_000_000
