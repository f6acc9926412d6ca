import tempfile

import containerkit as ck
from img_kubia import one_file, small
from reg_server import registry

with registry() as server, tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    store.put(small(b"secret\n"), f"{server.host}/acme/unannounced:1")  # never pushed
    store.put(small(), "kubia:1").push(f"{server.host}/lesson/kubia:1")
    [*server.asked()]
    fork = store.get("kubia:1").append(one_file("more.js", b"more\n"))
    fork.push(f"{server.host}/lesson/fork:1")
    asked = [*server.asked()]
    for line in asked:
        if "from=" in line:
            print(line.partition("?")[0], "from", line.partition("from=")[2])
    told = "\n".join(asked)
    print("the push named lesson/kubia:     ", "from=lesson/kubia" in told)
    print("the push named acme/unannounced:", "unannounced" in told)
    assert "from=lesson/kubia" in told
    assert "unannounced" not in told
