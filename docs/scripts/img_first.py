from img_kubia import APP, node, one_file  # node of this machine: see the end of the chapter

image = node().append(one_file("app.js", APP.read_bytes()), history="ADD app.js /app.js")
image = image.with_config(entrypoint=["node", "app.js"])
print(image)
