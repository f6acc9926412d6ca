import hashlib
import http.client


def fetch(host: str, repository: str, digest: str, size: int) -> bytes:
    found = b""
    for _ in range(5):
        found = more(host, f"/v2/{repository}/blobs/{digest}", found, size)
        if len(found) >= size:
            break
    else:
        raise OSError(f"{len(found)} bytes of {size}, and no more")
    if f"sha256:{hashlib.sha256(found).hexdigest()}" != digest:
        raise ValueError(f"the bytes from {host} do not match {digest}")
    return found


def more(host: str, path: str, found: bytes, size: int) -> bytes:
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        headers = {"Range": f"bytes={len(found)}-"} if found else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        if answer.status == 404:
            raise LookupError(path)
        if answer.status == 200:
            found = b""
        while piece := answer.read1(size + 1 - len(found)):  # one more than expected
            found += piece
    except (http.client.HTTPException, ConnectionError):
        pass
    finally:
        connection.close()
    return found
