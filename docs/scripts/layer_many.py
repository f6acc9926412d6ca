import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import ns

LOOK = "cat /top; ls -d /only-0 /only-49; ls -d /only-* | wc -l"

base = ck.rootfs.from_programs(["sh", "cat", "ls", "wc"])
with tempfile.TemporaryDirectory() as directory:
    layers = [Path(directory, f"{number:03}") for number in range(50)]
    for number, layer in enumerate(layers):
        layer.mkdir()
        (layer / "top").write_text(f"layer {number}\n")
        (layer / f"only-{number}").touch()
    with ck.LayerFS(base, *layers) as root:
        plan = ck.plan(ns.User(), ns.Mount(), root, run=["sh", "-c", LOOK])
        print(len(root.lowers), "lower layers")
        print(plan.run(check=True).text)
    try:
        ck.LayerFS(base, *layers * 10)
    except ck.PlanError as error:
        print(error)
