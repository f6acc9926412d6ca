"""References follow distribution's grammar, and are completed as docker completes them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerkit.image.digest import Digest
from containerkit.image.errors import InvalidReference
from containerkit.image.reference import Reference

DIGEST = "sha256:" + "ab" * 32

PARTS = st.from_regex(r"\A[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}\Z")
REPOSITORIES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
LABELS = st.from_regex(r"\A[a-zA-Z0-9]([a-zA-Z0-9-]{0,5}[a-zA-Z0-9])?\Z")
HOSTS = st.one_of(st.just("localhost"), st.lists(LABELS, min_size=2, max_size=3).map(".".join), st.just("[2001:db8::1]"))
REGISTRIES = st.builds(lambda host, port: host + port, HOSTS, st.one_of(st.just(""), st.integers(0, 70000).map(":{}".format)))
TAGS = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}\Z")
DIGESTS = st.binary(max_size=3).map(Digest.of)
REFERENCES = st.builds(Reference, REGISTRIES | st.just("docker.io"), REPOSITORIES, TAGS | st.just(""), st.none() | DIGESTS)


@settings(deadline=None)
@given(REFERENCES)
def test_text_and_back(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference
    assert len(reference.familiar) <= len(str(reference))


@settings(deadline=None)
@given(st.text(alphabet="abAB01./:@-_[]\n é" + "sha256", max_size=40) | st.text(max_size=30))
def test_every_text_parses_or_is_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("luksa/kubia", "docker.io/luksa/kubia:latest", "luksa/kubia:latest"),
        ("localhost/kubia", "localhost/kubia:latest", "localhost/kubia:latest"),
        ("localhost:5000/kubia", "localhost:5000/kubia:latest", "localhost:5000/kubia:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("127.0.0.1:5000/lesson/changed:1", "127.0.0.1:5000/lesson/changed:1", "127.0.0.1:5000/lesson/changed:1"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        ("gcr.io/a/b/c__d", "gcr.io/a/b/c__d:latest", "gcr.io/a/b/c__d:latest"),
        ("Registry/a", "Registry/a:latest", "Registry/a:latest"),
        ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}", f"nginx:1@{DIGEST}"),
    ],
)
def test_names_are_completed_as_docker_does(text: str, full: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert (str(reference), reference.familiar) == (full, familiar)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a repository"),
        ("NGINX", "lower case"),
        ("docker.io/NGINX", "lower case"),
        ("a/B", "lower case"),
        ("nginx:", "a tag is missing"),
        ("nginx:-1", "not a tag"),
        ("nginx:" + "a" * 129, "not a tag"),
        ("a//b", "not a repository"),
        ("/a", "not a repository"),
        ("a/", "not a repository"),
        ("a___b", "not a repository"),
        ("a..b", "not a repository"),
        ("-a", "not a repository"),
        ("a b", "not a repository"),
        ("nginx\n", "not a repository"),
        ("../etc/passwd", "not a re"),
        ("a.b/../c", "not a repository"),
        ("-a.b/c", "not a registry"),
        ("a.b:port/c", "not a registry"),
        ("https://a.b/c", "not a"),
        ("ab" * 32, "id of an image"),
        ("nginx@sha256:12", "64 hex digits"),
        ("nginx@", "not a digest"),
        ("a.b/" + "c" * 256, "longer than 255"),
        ("é", "not a repository"),
    ],
)
def test_malformed_references_are_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidReference, match=words):
        Reference.parse(text)


def test_a_reference_always_has_a_tag_or_a_digest() -> None:
    assert Reference("docker.io", "nginx") == Reference.parse("nginx")
    assert Reference("a.b", "c", digest=Digest(DIGEST)).tag == ""


def test_a_registry_that_would_be_read_as_a_repository_is_refused() -> None:
    with pytest.raises(InvalidReference, match="dot or a port"):
        Reference("registry", "a")


def test_changes_give_references() -> None:
    reference = Reference.parse(f"a.b/c:1@{DIGEST}")
    assert str(reference.with_tag("2")) == "a.b/c:2"
    assert str(reference.with_digest(DIGEST)) == f"a.b/c@{DIGEST}"
    assert reference.name == "a.b/c"
