"""What Kubernetes calls limits."""

import containerkit as ck


def pod(name: str, limits: dict[str, str]) -> ck.Cgroup:
    """The group for a container whose manifest says, for example,

        limits: {cpu: 500m, memory: 128Mi}

    "cpu" is in cores, as "2", "0.5" or "500m" (thousandths).  "memory" is in bytes, as "1000000",
    "1M" (a million) or "1Mi" (1048576); there are k, M, G and Ki, Mi, Gi.  What is not named has
    no limit.  Swap must not be a way around the limit on memory.  Do not make() the group.
    """
    raise NotImplementedError
