import sys

import containerkit as ck

python = [sys.executable, "-S", "-c"]
PROGRAMS = {
    "is done": ["true"],
    "eats": [*python, "x = b'x' * 100_000_000"],
    "forks": ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 9 >&- 2>&- & done"],
    "hangs": ["sleep", "60"],
    "plays dead": ["sh", "-c", "kill -9 $$"],
    "says 137": ["sh", "-c", "exit 137"],
}
for name, argv in PROGRAMS.items():
    limits = ck.Cgroup("judge", memory_max="32M", memory_swap_max=0, pids_max=8)
    try:
        result = ck.run(argv, limits, timeout=0.5)
    except ck.Unavailable as error:
        print(error)
        sys.exit()
    print(f"{name:11} exit code {result.exit_code:3}   stopped by {result.stopped_by}")
