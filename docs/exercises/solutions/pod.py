import containerkit as ck

UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9, "": 1}


def cores(text: str) -> float:
    return int(text[:-1]) / 1000 if text.endswith("m") else float(text)


def size(text: str) -> int:
    unit = next(unit for unit in UNITS if text.endswith(unit))
    return int(text.removesuffix(unit)) * UNITS[unit]


def pod(name: str, limits: dict[str, str]) -> ck.Cgroup:
    asked = {}
    if "cpu" in limits:
        asked["cpu_max"] = cores(limits["cpu"])
    if "memory" in limits:
        asked |= {"memory_max": size(limits["memory"]), "memory_swap_max": 0}
    return ck.Cgroup(name, **asked)
