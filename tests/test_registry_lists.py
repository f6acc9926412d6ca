"""Lists in pages, and referrers, at registries with and without the referrers API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from registries import Reply, Request, scripted

from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
from containerkit.image.errors import InvalidReference, LimitExceeded, Mismatch
from containerkit.image.manifest import Manifest
from containerkit.image.media import OCI_INDEX, OCI_MANIFEST
from containerkit.registry import Registry, Retries, _lists, _referrers
from containerkit.registry.errors import NotFound, ProtocolError, Refused

QUICK = Retries(attempts=1, first=0.01, longest=1)


def client(host: str) -> Registry:
    return Registry(host, plain_http=True, retries=QUICK)


def page(*tags: str, link: str = "") -> Reply:
    return Reply(body=json.dumps({"name": "app", "tags": tags}).encode(), headers={"Link": link} if link else {})


@pytest.mark.parametrize(
    "link",
    [
        '</v2/app/tags/list?last=b&n=2>; rel="next"',
        '</v2/app/tags/list?last=b&n=2>;rel=next',
        '</other>; rel="prev", </v2/app/tags/list?last=b&n=2>; title="a, b"; rel="last next"',
        'list?last=b&n=2>; rel="next"'.join(["<", ""]),
    ],
)  # fmt: skip
def test_all_pages(link: str) -> None:
    answer = lambda request: page("c") if "last" in request.query else page("a", "b", link=link)  # noqa: E731
    with scripted(answer) as script, client(script.host) as registry:
        assert registry.tags("app") == ("a", "b", "c")
    assert script.requests[1].query == {"last": ["b"], "n": ["2"]}


@pytest.mark.parametrize(
    "link", ["", '<>; rel="next"x', "nonsense", '</v2/x>; rel="prev"', "<" * 5000, "</v2/x>" + "; a=b" * 3000, '</v2/x>; rel="nextish"']
)
def test_no_further_page(link: str) -> None:
    with scripted(lambda request: page("a", link=link)) as script, client(script.host) as registry:
        assert registry.tags("app") == ("a",)


def test_pages_that_lead_in_a_circle() -> None:
    with scripted(lambda request: page("a", link='<?last=1>; rel="next"')) as script, client(script.host) as registry:
        with pytest.raises(ProtocolError, match="circle"):
            registry.tags("app")
        assert len(script.requests) == 2


@pytest.mark.parametrize(
    "place", ["http://127.0.0.2:1/v2/app/tags/list", "https://127.0.0.1/v2/app/tags/list", "/elsewhere", "ftp://x/v2/"]
)
def test_pages_on_another_host_are_refused(place: str) -> None:
    with scripted(lambda request: page("a", link=f'<{place}>; rel="next"')) as script, client(script.host) as registry:
        with pytest.raises(ProtocolError):
            registry.tags("app")
        assert len(script.requests) == 1


def test_pages_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lists, "PAGES", 20)
    monkeypatch.setattr(_lists, "NAMES", 10)
    for names, limit in ((0, "pages"), (1, "tags")):
        answer = lambda request: page(*[str(len(script.requests))] * names, link=f'<?last={len(script.requests)}>; rel="next"')  # noqa: B023, E731
        with scripted(answer) as script, client(script.host) as registry, pytest.raises(LimitExceeded, match=limit):
            registry.tags("app")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"tags": 1}', b'{"tags": [1]}', b'{"tags": ["\\u001b[31m"]}', b'{"tags": [""]}', b"\xff", b"[" * 9999]
)
def test_a_malformed_list_is_refused(body: bytes) -> None:
    with scripted(lambda request: Reply(body=body)) as script, client(script.host) as registry, pytest.raises(ProtocolError):
        registry.tags("app")


def test_a_repository_without_tags() -> None:
    with scripted(lambda request: Reply(body=b'{"name":"app","tags":null}')) as script, client(script.host) as registry:
        assert registry.tags("app") == ()


@pytest.mark.parametrize("name", ["../../etc", "a b", "A", "a//b", "a?x=y", ""])
def test_only_repositories_are_asked_for(name: str) -> None:
    with scripted(lambda request: page("a")) as script, client(script.host) as registry:
        with pytest.raises(InvalidReference):
            registry.tags(name)
        with pytest.raises(InvalidReference):
            registry.manifest("example.com/app:1")
        assert script.requests == []


# --- referrers ----------------------------------------------------------------------------------------------------

SUBJECT = Descriptor.of(b"what is pointed at", OCI_MANIFEST)


def pointing(kind: str, subject: Descriptor = SUBJECT) -> Manifest:
    return Manifest(Descriptor.empty(), (Descriptor.empty(),), artifact_type=kind, subject=subject, annotations={"for": kind})


class Old:
    """A registry with or without the referrers API."""

    def __init__(self, knows: bool = False) -> None:
        self.kept: dict[str, tuple[str, bytes]] = {}
        self.knows = knows

    def __call__(self, request: Request) -> Reply:
        _, kind, which = request.place.removeprefix("/v2/").split("/", 2)
        if kind == "referrers" or (request.method == "GET" and which not in self.kept):
            return Reply(404)
        if request.method == "PUT":
            media_type, digest = request.headers["content-type"], str(Digest.of(request.body))
            self.kept[which] = self.kept[digest] = media_type, request.body
            return Reply(201, headers={"Docker-Content-Digest": digest} | ({"OCI-Subject": SUBJECT.digest} if self.knows else {}))
        if request.method == "DELETE":
            return Reply(202 if self.kept.pop(which, None) else 404)
        if which not in self.kept:
            return Reply(404)
        media_type, data = self.kept[which]
        return Reply(body=data, headers={"Content-Type": media_type, "Docker-Content-Digest": Digest.of(data)})


def test_an_old_registry_gets_a_list_with_a_tag() -> None:
    old = Old()
    with scripted(old) as script, client(script.host) as registry:
        assert registry.referrers(f"app@{SUBJECT.digest}") == ()
        for kind in ("application/a", "application/b", "application/a"):
            made = pointing(kind)
            registry.push_manifest(f"app@{made.digest}", made.data, made.media_type)
        found = registry.referrers(f"app@{SUBJECT.digest}")
        assert [(each.artifact_type, dict(each.annotations)) for each in found] == [
            ("application/a", {"for": "application/a"}),
            ("application/b", {"for": "application/b"}),
        ]
        assert registry.referrers(f"app@{SUBJECT.digest}", "application/b") == found[1:]
        media_type, data = old.kept[f"sha256-{SUBJECT.digest.hex}"]
        assert (media_type, json.loads(data)["manifests"][0]["digest"]) == (OCI_INDEX, pointing("application/a").digest)
        registry.delete(f"app@{found[0].digest}")
        assert registry.referrers(f"app@{SUBJECT.digest}") == found[1:]


def test_a_registry_with_the_referrers_api_keeps_its_own_list() -> None:
    old, made = Old(knows=True), pointing("application/a")
    with scripted(old) as script, client(script.host) as registry:
        registry.push_manifest("app:signature", made.data, made.media_type)
    assert set(old.kept) == {"signature", made.digest}


def referring(*manifests: Any, **more: Any) -> Reply:
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
    return Reply(body=body, headers={"Content-Type": OCI_INDEX, **more})


def test_referrers_are_filtered_by_the_client_too() -> None:
    entries = [Descriptor.of(kind.encode(), OCI_MANIFEST, artifact_type=kind).to_json() for kind in ("application/a", "application/b")]
    answer = lambda request: referring(entries[1]) if "last" in request.query else referring(entries[0], Link='<?last=x>; rel="next"')  # noqa: E731
    with scripted(answer) as script, client(script.host) as registry:
        assert len(registry.referrers(f"app@{SUBJECT.digest}")) == 2
        (found,) = registry.referrers(f"app@{SUBJECT.digest}", "application/b")
    assert found.digest == Digest.of(b"application/b")
    assert script.requests[2].query == {"artifactType": ["application/b"]}


@pytest.mark.parametrize("reply", [referring({"x": 1}), referring(**{"Content-Type": "text/html"}), Reply(body=b"nonsense")])
def test_a_malformed_list_of_referrers_is_refused(reply: Reply) -> None:
    with scripted(lambda request: reply) as script, client(script.host) as registry, pytest.raises(ProtocolError):
        registry.referrers(f"app@{SUBJECT.digest}")


def test_referrers_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_referrers, "MOST", 3)

    def answer(request: Request) -> Reply:
        number = len(script.requests)
        entry = {"mediaType": OCI_MANIFEST, "size": 1, "digest": str(Digest.of(b"%d" % number))}
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
        return Reply(body=body, headers={"Content-Type": OCI_INDEX, "Link": f'<?last={number}>; rel="next"'})

    with scripted(answer) as script, client(script.host) as registry, pytest.raises(LimitExceeded, match="referrers"):
        registry.referrers(f"app@{Digest.of(b'x')}")
    assert len(script.requests) == 4


def test_a_list_that_another_client_keeps_overwriting_is_an_error() -> None:
    old, made = Old(), pointing("application/a")

    def answer(request: Request) -> Reply:
        reply = old(request)
        old.kept.pop(f"sha256-{SUBJECT.digest.hex}", None)
        return reply

    with scripted(answer) as script, client(script.host) as registry, pytest.raises(ProtocolError, match="overwritten by another client"):
        registry.push_manifest(f"app@{made.digest}", made.data, made.media_type)


# --- deleting and pushing manifests -------------------------------------------------------------------------------


def test_deleting() -> None:
    with scripted(Old()) as script, client(script.host) as registry:
        made = Manifest(Descriptor.empty(), ())
        registry.push_manifest("app:1", made.data, made.media_type)
        assert registry.resolve("app:1") == made.digest
        registry.delete("app:1")
        assert registry.resolve("app:1") is None
        registry.delete(f"app@{made.digest}")
        with pytest.raises(NotFound):
            registry.delete(f"app@{made.digest}")
    with scripted(lambda request: Reply(405)) as script, client(script.host) as registry:
        with pytest.raises(Refused):
            registry.delete("app:1")
        with pytest.raises(Refused):
            registry.delete_blob("app", made.digest)


def test_a_registry_that_reports_another_digest_is_an_error() -> None:
    made = Manifest(Descriptor.empty(), ())
    other = Digest.of(b"other")
    with scripted(lambda request: Reply(201, headers={"Docker-Content-Digest": other})) as script, client(script.host) as registry:
        with pytest.raises(Mismatch):
            registry.push_manifest("app:1", made.data, made.media_type)
        with pytest.raises(Mismatch):
            registry.push_manifest(f"app@{other}", made.data, made.media_type)
        assert len(script.requests) == 1
