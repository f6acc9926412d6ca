"""Where does a name lead?"""


def named(text: str) -> tuple[str, str, str]:
    """The registry, the repository and the tag that docker understands, written in full.

    named("node") is ("docker.io", "library/node", "latest"), and named("127.0.0.1:5000/a/b:1") is
    ("127.0.0.1:5000", "a/b", "1").  What is before the first slash is a registry if it has a dot
    or a colon in it, or is "localhost"; otherwise the registry is "docker.io".  There, a
    repository without a slash is below "library/".  Without a tag it is "latest".

    Names with a digest are not asked for, and only names that are right.  Do it without
    ck.Reference.
    """
    raise NotImplementedError
