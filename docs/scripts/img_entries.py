import os
import tempfile
from pathlib import Path

import containerkit as ck

with tempfile.TemporaryDirectory() as directory:
    root = Path(directory, "root")
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_text("#!/bin/sh\n")
    (root / "bin/tool").chmod(0o4755)  # setuid
    os.link(root / "bin/tool", root / "bin/twin")
    (root / "bin/sh").symlink_to("tool")
    (root / ("long-" * 30)).mkdir()
    (root / ("long-" * 30) / "grüße").touch()
    layer = ck.Layer.from_directory(root)

for entry in layer.entries():
    name = entry.name.decode()
    name = name if len(name) < 30 else f"{name[:10]}...{name[-10:]}"
    more = {key.decode(): len(value) for key, value in entry.pax.items()}
    link = f"-> {entry.linkname.decode()}" if entry.linkname else ""
    print(f"{entry.kind:9} {entry.mode:04o} {entry.size:6}  {name}", link, more or "")
