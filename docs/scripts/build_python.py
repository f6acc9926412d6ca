import tempfile

import containerkit as ck
from containerkit.builder import add, run
from img_kubia import base

with tempfile.TemporaryDirectory() as directory:
    image = ck.Store(directory).put(base())
    for language, word in {"en": "hello", "fr": "salut", "de": "hallo"}.items():
        image = add(image, f"{word}\n".encode(), f"/words/{language}")
    image = run(image, "cat /words/* > /all; ls /words", network="none")
    image = image.with_config(cmd=["cat", "/all"])
    print(image)
    print(image.layers[-1].open("/all").read().decode())
