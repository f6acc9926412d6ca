"""Limits of a group that is never made, since a group knows its limits before."""

from collections.abc import Iterator
from types import ModuleType

import containerkit as ck

CASES = (
    ({"cpu": "500m"}, {"cpu_max": 0.5}, ""),
    ({"cpu": "0.1"}, {"cpu_max": 0.1}, ""),
    ({"cpu": "2"}, {"cpu_max": 2.0}, ""),
    ({"memory": "1000000"}, {"memory_max": 1_000_000}, ""),
    ({"memory": "128Mi"}, {"memory_max": 128 << 20}, ""),
    ({"memory": "128M"}, {"memory_max": 128_000_000}, ': for Kubernetes "M" is a million, for a Cgroup 1048576'),
    ({"memory": "64k"}, {"memory_max": 64_000}, ""),
    ({"memory": "1Gi", "cpu": "1500m"}, {"memory_max": 1 << 30, "cpu_max": 1.5}, ""),
    ({}, {}, ": a resource that is not named has no limit"),
)  # fmt: skip


def check(answer: ModuleType) -> Iterator[str]:
    for limits, wanted, why in CASES:
        group = answer.pod("web", limits)
        if not isinstance(group, ck.Cgroup):
            yield f"pod() returned {group!r}: return a ck.Cgroup"
            return
        if group.exists:
            group.close()
            yield "the group was made: ck.run() or a `with` does that"
            return
        said = dict(group.limits)
        if "memory" in limits and said.pop("memory_swap_max", None) != 0:
            yield f"for {limits} swap is not limited to 0: pages that do not fit into memory go to swap"
        if said != ck.Cgroup("web", **wanted).limits:
            yield f"for {limits} the limits are {said}, but they should be {ck.Cgroup('web', **wanted).limits}{why}"
