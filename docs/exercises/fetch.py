"""Get a blob from a registry you do not trust, over a connection that breaks."""


def fetch(host: str, repository: str, digest: str, size: int) -> bytes:
    """Return the bytes of http://HOST/v2/REPOSITORY/blobs/DIGEST.

    :raises ValueError: the bytes are wrong: another sha256, or more than `size`
    :raises LookupError: the registry answers 404
    :raises OSError: the connection broke five times

    When the connection breaks, continue: the header "Range: bytes=1000-" asks for the bytes after
    the first 1000.  The answer then has the status 206.  A server without this feature answers
    200 and begins anew.  Never keep much more than `size` bytes, nor wait for more: some servers
    send without end.

    Use http.client or urllib of the standard library.
    """
    raise NotImplementedError
