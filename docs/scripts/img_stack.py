from matplotlib import pyplot

from containerkit.image.picture import human, rows
from img_kubia import kubia

layers = rows(kubia())
figure, axes = pyplot.subplots(figsize=(6, 0.75 * len(layers)), layout="constrained")
for place, row in enumerate(reversed(layers)):
    color = "#fdf3d8" if row is layers[0] else "#e6ecf9"
    axes.barh(place, 1, height=0.88, color=color, edgecolor="#7d8fb8")
    axes.text(0.03, place + 0.14, row.by, va="center")
    axes.text(0.03, place - 0.2, row.digest[:26] + "...", va="center", color="0.4", size=8)
    axes.text(0.97, place, human(row.size), ha="right", va="center")
axes.axis("off")
axes.set_xlim(-0.01, 1.01)
figure.savefig("plot.svg")
print(f"{len(layers)} layers; the top one has {layers[0].size} bytes")
