import tempfile
from pathlib import Path

import containerkit as ck
from img_kubia import base

CARELESS = b"""FROM base
COPY key /key
RUN cat /key > /dev/null && rm /key
"""
CAREFUL = b"""FROM base
RUN --mount=type=secret,id=key cat /run/secrets/key > /dev/null
"""
SECRET = b"correct horse"


def leaks(image: ck.Image) -> list[str]:
    """Return the parts of an image in which a stranger can find the secret."""
    found = ["in the config"] if SECRET in image.config_data else []
    for place, layer in enumerate(image.layers):
        with layer.uncompressed() as tar:
            data = b"".join(iter(lambda: tar.read(1 << 20), b""))
        found += [f"in layer {place}"] if SECRET in data else []
    return found


with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as context:
    store = ck.Store(directory)
    store.put(base(), "base")
    Path(context, "key").write_bytes(SECRET)
    careless = ck.Image.build(context, dockerfile=CARELESS, store=store)
    careful = ck.Image.build(context, dockerfile=CAREFUL, store=store, secrets={"key": SECRET})
    with ck.LayerFS(careless) as root:
        print("seen in the container:", root.read("/key"))
    print("careless:", leaks(careless))
    print("careful: ", leaks(careful) or "nothing")
