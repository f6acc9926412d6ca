import signal
import subprocess
import time

import containerkit as ck
from containerkit import ns


def ask_to_end(pid: ns.Pid) -> None:
    with ck.plan(ns.User(), ns.Mount(), pid, run=["sleep", "60"]).spawn() as process:
        time.sleep(0.1)
        process.signal(signal.SIGTERM)
        try:
            print(pid, "ended with", process.wait(timeout=0.5))
        except subprocess.TimeoutExpired:
            print(pid, "ignored SIGTERM")


ask_to_end(ns.Pid())
ask_to_end(ns.Pid(init=True))
