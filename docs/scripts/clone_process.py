import signal

import containerkit as ck

with ck.plan(run=["sleep", "60"]).spawn() as process:
    print(process, "- pidfd", process.pidfd > 2, "- poll says", process.poll())
    process.signal(signal.SIGTERM)
    print("wait says", process.wait(timeout=5), "like subprocess: minus the signal")
    print("it used", process.usage.cpu_seconds < 1, process.usage.memory_peak)
print("closed:", process)

slow = ck.run(["sh", "-c", "echo begun; sleep 60"], timeout=0.2)
print("exit code", slow.exit_code, "- stopped by", slow.stopped_by, "- it had said", slow.stdout)
