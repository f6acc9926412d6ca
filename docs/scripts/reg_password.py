import tempfile
from pathlib import Path

import containerkit as ck
from containerkit.registry import Registry, login
from img_kubia import small
from reg_server import registry

HASH = "student:$2b$05$rDBGjPkGCKKfkt1eWZN8YummXtLgIxvL8tIEt0ZiG/1M6wo6Qq/Oa\n"  # bcrypt

with tempfile.TemporaryDirectory() as directory:
    passwords, keys = Path(directory, "htpasswd"), Path(directory, "config.json")
    passwords.write_text(HASH)
    with registry(auth={"htpasswd": {"realm": "lesson", "path": str(passwords)}}) as server:
        name = f"{server.host}/lesson/kubia:1"
        try:
            small().push(name)
        except ck.RegistryError as error:
            print(f"{type(error).__name__}: {error}".replace(server.host, "HOST")[:75])
        login(server.host, "student", "correct horse", path=keys)
        print(keys.read_text().replace(server.host, "HOST"))
        who = Registry(server.host, auth=("student", "correct horse"))
        small().push(name, registries=who)
        print("pushed; tags:", *who.tags("lesson/kubia"))
