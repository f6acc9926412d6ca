import tempfile

import containerkit as ck
from containerkit import ns
from img_kubia import APP, node, one_file

with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    image = store.put(node())  # FROM node
    layer = one_file("app.js", APP.read_bytes())
    image = store.put(image.append(layer, history="ADD app.js /app.js"))
    with ck.LayerFS(image) as root:  # RUN echo ready > /data
        run = ["/bin/sh", "-c", "echo ready > /data"]
        plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), ns.Net(), root, run=run)
        print("a plan of", len(plan.timeline.steps), "steps, the last:", plan.timeline.steps[-1])
        plan.run(check=True)
        image = store.put(image.append(root.diff(), history="RUN echo ready > /data"))
    image = store.put(image.with_config(entrypoint=["node", "app.js"]), "kubia")
    print(image)
