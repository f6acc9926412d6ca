import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import ns

base = ck.rootfs.from_programs(["sh", "cat", "ls", "wc"])
with tempfile.TemporaryDirectory() as directory:
    layers = [Path(directory, f"{number:03}") for number in range(200)]
    for number, layer in enumerate(layers):
        layer.mkdir()
        (layer / "top").write_text(f"layer {number}\n")
        (layer / f"only-{number}").touch()
    with ck.LayerFS(base, *layers) as root:
        print(root)
        plan = ck.plan(ns.User(), ns.Mount(), root, run=["sh", "-c", "cat /top; ls -d /only-0 /only-199; ls -d /only-* | wc -l"])
        print(sum("lowerdir+" in str(step) for step in plan.timeline.steps), "layers in the plan, and one on top for the changes")
        print(plan.run().text)
    try:
        ck.LayerFS(*[base] * 501)
    except ck.PlanError as error:
        print(error)
