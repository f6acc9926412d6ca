import signal

import containerkit as ck

with ck.plan(run=["sleep", "60"]).spawn() as process:
    print("poll says     ", process.poll())
    process.signal(signal.SIGTERM)
    print("wait says     ", process.wait(timeout=5), "- as in subprocess, minus the signal")
    print("memory peak   ", process.usage.memory_peak)
print("after the with", process)

slow = ck.run(["sh", "-c", "echo begun; sleep 60"], timeout=0.2)
print("exit code", slow.exit_code, "- stopped by", slow.stopped_by, "- its output:", slow.stdout)
