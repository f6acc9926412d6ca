from img_kubia import one_file, small

image = small()
french = one_file("app.js", b"console.log('salut');\n")
salut = image.append(french, history="ADD app.js /app.js")
salut = salut.with_config(env={"PORT": "80"})
print(salut)
for name, each in (("kubia", image), ("salut", salut)):
    print(f"\n{name} {each.digest.short}")
    print("  layers:", *(layer.digest.short for layer in each.layers))
    print("  env:   ", *each.config.env)
print("\nin the top layer: ", salut.layers[-1].open("/app.js").read().decode().strip())
print("still below it:   ", salut.layers[-2].open("/app.js").readline().decode().strip())
print("flattened:        ", len(salut.flatten().layers), "layer")
