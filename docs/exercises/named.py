"""Which image does a name mean?"""


def named(text: str) -> tuple[str, str, str]:
    """Return the registry, the repository and the tag of a name as docker reads it, in full.

    named("node") is ("docker.io", "library/node", "latest"), and named("127.0.0.1:5000/a/b:1") is
    ("127.0.0.1:5000", "a/b", "1").  The part before the first slash is a registry if it has a dot
    or a colon in it, or is "localhost"; otherwise the registry is "docker.io".  At docker.io a
    repository without a slash is below "library/".  A name without a tag has the tag "latest".

    All names are valid and none has a digest.  Do it without ck.Reference.
    """
    raise NotImplementedError
