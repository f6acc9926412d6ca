import tempfile

import containerkit as ck
from img_kubia import small
from reg_server import registry

with registry() as server, tempfile.TemporaryDirectory() as directory:
    small().push(f"{server.host}/lesson/kubia:1")
    try:
        ck.Image.pull(f"{server.host}/lesson/kubia:2", ck.Store(directory))
    except ck.RegistryError as error:
        print(f"{type(error).__name__}: {error}".replace(server.host, "HOST"))
