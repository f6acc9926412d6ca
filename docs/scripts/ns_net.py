import socket

import containerkit as ck
from containerkit import ns

with socket.create_server(("127.0.0.1", 0)) as server:
    connect = f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]} && echo connected"
    print("outside:", ck.run(["bash", "-c", connect]).text.strip())
    refused = ck.run(["bash", "-c", connect], ns.User(), ns.Net())
    print("inside: ", refused.stderr.decode().strip().rpartition(": ")[2])

devices = ["sh", "-c", "cut -d: -f1 /proc/net/dev | tail -n +3"]
print("inside there is", *ck.run(devices, ns.User(), ns.Net()).text.split())
