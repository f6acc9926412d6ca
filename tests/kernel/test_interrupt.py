"""Ctrl-C at any moment of a spawn: the child ends, its memory is not freed under it, nothing is closed twice."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, random, signal, sys, time, warnings
import containerkit as ck
from containerkit import ns
warnings.simplefilter("ignore")

class Interrupt(BaseException): pass

def interrupt(*_): raise Interrupt

maps = dict(uids=[(0, os.getuid(), 1)], gids=[(0, os.getgid(), 1)])
plans = [ck.plan(run=["/bin/true"]), ck.plan(run=["/bin/true"], share_memory=False)]
plans += [ck.plan(ns.Pid(init=True), ns.User(), run=["/bin/true"])]
plans += [ck.plan(ns.User(**maps), run=["/bin/true"])] if os.getuid() == 0 else []
for plan in plans:
    plan.program()
signal.signal(signal.SIGALRM, interrupt)
random.seed(1)
interrupted = 0
deadline = time.monotonic() + 5
while time.monotonic() < deadline:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00005, 0.004))
        with random.choice(plans).spawn() as process:
            process.wait()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupt:
        interrupted += 1
    except OSError as error:
        if not isinstance(error, ck.StepError):
            raise
    finally:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupt:
            pass
print(interrupted)
deadline = time.monotonic() + 10
while True:  # every child has ended, or ends now
    try:
        if os.waitpid(-1, os.WNOHANG)[0] == 0:
            assert time.monotonic() < deadline, "a child goes on"
            time.sleep(0.01)
    except ChildProcessError:
        break
"""


def test_interrupted_anywhere() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 50
