"""Get a blob from a registry you do not trust, over a line that breaks."""


def fetch(host: str, repository: str, digest: str, size: int) -> bytes:
    """The bytes of http://HOST/v2/REPOSITORY/blobs/DIGEST.

    :raises ValueError: these are not the bytes: another sha256, or more than `size`
    :raises LookupError: the registry answers 404
    :raises OSError: it broke off five times

    When the connection is cut, go on where you were: the header "Range: bytes=1000-" asks for
    what follows the first 1000 bytes.  The answer then has the status 206.  A server that cannot
    do it answers 200 and begins anew.  Never keep much more than `size` bytes, nor wait for them:
    some servers send without end.

    Use http.client or urllib of the standard library.
    """
    raise NotImplementedError
