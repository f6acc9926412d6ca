import os

import containerkit as ck


def ended(argv: list[str]) -> str:
    try:
        with ck.plan(run=argv).spawn() as process:
            code = process.wait()
    except ck.StepError:
        return "no interpreter" if os.path.exists(argv[0]) else "no program"
    return f"exit {code}" if code >= 0 else f"signal {-code}"
