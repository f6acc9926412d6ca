import os
import signal
import subprocess
import sys
import time

import containerkit as ck

STUBBORN = """
import ctypes, time
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG: withdraw the request
print("up", flush=True)
time.sleep(60)
"""
CALLER = """
import os, signal, sys
import containerkit as ck
plan = ck.plan(run=[sys.executable, "-c", sys.argv[1]], die_with_parent=True)
process = plan.spawn(stdout=ck.PIPE)
process.stdout.readline()
print(process.pid, flush=True)
signal.pause()
"""

plan = ck.plan(run=["true"], die_with_parent=True)
print(*[step for step in plan.timeline.steps if "guardian" in str(step)], sep="\n")

caller = subprocess.Popen([sys.executable, "-c", CALLER, STUBBORN], stdout=subprocess.PIPE)
program = os.pidfd_open(int(caller.stdout.readline()))
caller.send_signal(signal.SIGKILL)
caller.wait()
caller.stdout.close()


def ended(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, 0)
        return False
    except ProcessLookupError:
        return True


began = time.monotonic()
while not ended(program) and time.monotonic() < began + 20:
    time.sleep(0.01)
assert ended(program)
os.close(program)
print("its caller was killed, and the program without a death signal has ended")
