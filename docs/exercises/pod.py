"""The limits of a Kubernetes pod."""

import containerkit as ck


def pod(name: str, limits: dict[str, str]) -> ck.Cgroup:
    """Return the group for a container whose manifest has, for example,

        limits: {cpu: 500m, memory: 128Mi}

    "cpu" is in cores, as "2", "0.5" or "500m" (thousandths). "memory" is in bytes, as "1000000",
    "1M" (a million) or "1Mi" (1048576); there are k, M, G and Ki, Mi, Gi.  A resource that is not
    named has no limit.  Swap must not be a way around the limit on memory.  Do not make() the
    group.
    """
    raise NotImplementedError
