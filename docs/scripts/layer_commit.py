import containerkit as ck
from containerkit import ns

base = ck.rootfs.from_programs(["sh", "cat", "rm"])
space = [ns.User(), ns.Mount()]
with ck.LayerFS(base) as root:
    ck.run(["sh", "-c", "echo one > /app"], *space, root, check=True)
    second = root.commit()  # the changes are now a layer, and `second` is an overlay over it
with second as root:
    ck.run(["sh", "-c", "cat /app; echo two > /app; rm /etc/passwd"], *space, root, check=True)
    third = root.commit()
with ck.LayerFS(third, readonly=True) as image:
    print(image)
    result = ck.run(["sh", "-c", "cat /app; cat /etc/passwd; echo three > /app"], *space, image)
    print(result.text + result.stderr.decode())
for layer in third.lowers[1:]:
    print("a layer of", sorted(path.name for path in layer.iterdir()))
third.close()
second.close()
