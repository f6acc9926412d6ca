import json

import containerkit as ck
from containerkit.container import ContainerSpec, SpecError
from img_kubia import base

SCRIPT = "echo I am $HOSTNAME, with $GREETING, in $(ls -d $PWD), and my home is $HOME"
image = base().with_config(
    cmd=["sh", "-c", SCRIPT], working_dir="/srv", user="0", env={"GREETING": "salut"}
)
spec = ContainerSpec.from_image(image.config, image="greeter:1", hostname="greeter-1")
data = spec.dump()  # for a file, or for another process
again = ContainerSpec.parse(data)
print("the same again:", again == spec)

with ck.LayerFS(image) as root:
    print(again.plan(root).run(check=True).text)
    politely = again.with_(env={**again.env, "GREETING": "bonjour"}, set_home=False)
    print(politely.plan(root).run(check=True).text)

for wrong in (
    {"cmd": ["sh"]},
    {"namespaces": {"net": "none"}},
    {"mounts": [{"type": "bind", "target": "/etc"}]},
):
    try:
        ContainerSpec.from_json(json.loads(data) | wrong)
    except SpecError as error:
        print(error)
