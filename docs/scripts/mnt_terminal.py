import os

import containerkit as ck

base = ck.rootfs.from_programs(["sh", "tty", "stty", "ls", "cat"])
look = "tty; stty size; ls -C /dev /dev/pts; echo 'to the console' > /dev/console"
plan = ck.plan(ck.sandbox(base), run=["sh", "-c", look])
with plan.spawn(stdin=ck.PTY, stdout=ck.PTY, stderr=ck.PTY, size=(24, 80)) as process:
    while True:
        try:
            print(os.read(process.terminal, 1000).decode().replace("\r\n", "\n"), end="")
        except OSError:  # EIO: nobody in there has the terminal open any more
            break
for step in plan.with_streams(
    stdin=ck.PTY, stdout=ck.PTY, stderr=ck.PTY, size=(24, 80)
).child_steps:
    if step.phase is ck.Phase.INSIDE and (
        "terminal" in str(step) or "ptmx" in str(step) or "SCM" in str(step)
    ):
        print(step)
