import os

import containerkit as ck

base = ck.rootfs.from_programs(["sh", "tty", "stty", "ls", "cat"])
look = "tty; stty size; ls -C /dev /dev/pts; echo 'to the console' > /dev/console"
plan = ck.plan(ck.sandbox(base), run=["sh", "-c", look])
streams = {"stdin": ck.PTY, "stdout": ck.PTY, "stderr": ck.PTY, "size": (24, 80)}
said = ""
with plan.spawn(**streams) as process:
    while True:
        try:
            said += os.read(process.terminal, 1000).decode().replace("\r\n", "\n")
        except OSError:  # EIO: no process inside has the terminal open any more
            break
print(said)
assert said.startswith("/dev/pts/0\n24 80\n")
assert "to the console" in said
for step in plan.with_streams(**streams).child_steps:
    about = any(word in str(step) for word in ("terminal", "ptmx", "SCM"))
    if step.phase is ck.Phase.INSIDE and about:
        print(step)
