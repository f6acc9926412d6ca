import containerkit as ck
from containerkit import mounts, ns

base = ck.rootfs.from_programs(["sh", "ls", "head", "wc"])
root = ck.LayerFS(base, readonly=True)
LOOK = """
ls -C /dev
head -c 8 /dev/urandom | wc -c
wc -c < /proc/interrupts
echo 1 > /proc/sys/kernel/panic
"""
common = [ns.User(), ns.Mount(), ns.Pid(), root, mounts.Dev()]
result = ck.run(["sh", "-c", LOOK], *common, mounts.Masked(), mounts.ReadOnly())
print(result.text + result.stderr.decode())
assert "Read-only" in result.stderr.decode()
shown = ck.run(["sh", "-c", "wc -c < /proc/interrupts"], *common).text
print("without Masked(), /proc/interrupts has content:", int(shown) > 0)
