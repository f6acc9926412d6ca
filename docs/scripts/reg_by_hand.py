import hashlib
import json
import urllib.request

from img_kubia import small
from reg_server import registry

ACCEPT = {"Accept": "application/vnd.oci.image.manifest.v1+json"}

with registry() as server:
    small().push(f"{server.host}/lesson/kubia:1")
    repository = f"http://{server.host}/v2/lesson/kubia"

    request = urllib.request.Request(f"{repository}/manifests/1", headers=ACCEPT)
    with urllib.request.urlopen(request) as reply:
        manifest = reply.read()
        print("it says: ", reply.headers["Docker-Content-Digest"][:19])
    print("it is:   ", f"sha256:{hashlib.sha256(manifest).hexdigest()}"[:19])

    layer = json.loads(manifest)["layers"][-1]
    with urllib.request.urlopen(f"{repository}/blobs/{layer['digest']}") as reply:
        blob = reply.read()
    print("wanted:  ", layer["digest"][:19], layer["size"], "bytes")
    print("it is:   ", f"sha256:{hashlib.sha256(blob).hexdigest()}"[:19], len(blob), "bytes")
