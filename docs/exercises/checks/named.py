"""Names, compared with the answers of ck.Reference."""

from collections.abc import Iterator
from types import ModuleType

import containerkit as ck

CASES = (
    ("node", ""),
    ("node:20", ""),
    ("luksa/kubia", ""),
    ("luksa/kubia:v1", ""),
    ("127.0.0.1:5000/a/b:1", ""),
    ("localhost/a", ": localhost is a registry without a dot"),
    ("localhost:5000/a", ": this colon is before a port"),
    ("quay.io/prometheus/node-exporter", ""),
    ("registry.example/app", ': "library" is only at docker.io'),
    ("docker.io/node", ': at docker.io too, a name without a slash is below "library/"'),
    ("team.one/app:2", ": a first part with a dot is a registry"),
    ("a/b.c/d", ": only the part before the first slash can be a registry"),
    ("node.js", ": a dot, but no slash: this is a repository"),
    ("[::1]:5000/a:b", ": an address of IPv6 is full of colons"),
)


def check(answer: ModuleType) -> Iterator[str]:
    for text, why in CASES:
        found = ck.Reference.parse(text)
        wanted = (found.registry, found.repository, found.tag)
        said = answer.named(text)
        if said != wanted:
            yield f"for {text!r} your answer is {said}, but the right one is {wanted}{why}"
