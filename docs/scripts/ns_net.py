import socket

import containerkit as ck
from containerkit import ns

with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
    connect = f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo connected"
    print("outside:", ck.run(["bash", "-c", connect]).text.strip())
    refused = ck.run(["bash", "-c", connect], ns.User(), ns.Net())
    print("inside: ", refused.stderr.decode().split(": ")[-1].strip(), "- and there is", end=" ")
    print(ck.run(["sh", "-c", "cut -d: -f1 /proc/net/dev | tail -n +3"], ns.User(), ns.Net()).text.strip())
