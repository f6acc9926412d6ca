import containerkit as ck

WORDS = {"oom": "memory", "pids": "processes", "timeout": "time", "signal": "crashed"}


def judge(argv: list[str]) -> str:
    with ck.Cgroup("judge", memory_max="32M", memory_swap_max=0, pids_max=8) as group:
        result = ck.run(argv, group, timeout=0.5)
    if result.stopped_by:
        return WORDS[result.stopped_by]
    return "wrong" if result.exit_code else "right"
