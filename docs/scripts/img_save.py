import tarfile
import tempfile
from pathlib import Path

import containerkit as ck
from img_kubia import small

image = small()
with tempfile.TemporaryDirectory() as directory:
    layout, archive = Path(directory, "kubia.oci"), Path(directory, "kubia.tar")
    image.save(layout, "kubia:1")
    image.save(archive, "kubia:1", docker=True)
    for path in sorted(layout.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(layout))
            print(f"{path.stat().st_size:9}  {name[:30]}")
    print("\nas `docker save` writes it:")
    with tarfile.open(archive) as tar:
        for member in tar:
            print(f"{member.size:9}  {member.name[:30]}")
    again, docker = ck.Image.open(layout), ck.Image.open(archive)
    again.validate()
    docker.validate()
    print("\nthe same image, byte for byte:", again == image)
    print("the same by its id:           ", docker.id == image.id)
