from containerkit.image.picture import Row, human, rows
from img_kubia import kubia

WIDTH, HEIGHT, STEP = 460, 54, 62
STYLE = """text { font: 14px system-ui, sans-serif; fill: #1c1c1c } .soft { fill: #5a5c63 }
.code { font-family: ui-monospace, monospace; font-size: 13px } .end { text-anchor: end }
rect { fill: #eef2fb; stroke: #7d8fb8 } .top { fill: #fdf3d8; stroke: #b8923a }"""


def box(y: int, row: Row, kind: str) -> str:
    return f"""<rect class="{kind}" x="20" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4"/>
<text class="code" x="34" y="{y + 23}">{row.by}</text>
<text class="end" x="{WIDTH + 6}" y="{y + 23}">{human(row.size or 0)}</text>
<text class="soft code" x="34" y="{y + 43}">{row.digest[:26]}...</text>"""


image = kubia()
layers = rows(image)
drawn = [box(44 + STEP * n, row, "" if n else "top") for n, row in enumerate(layers)]
bottom = 44 + STEP * len(layers) + 20
with open("plot.svg", "w") as file:
    file.write(f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 40} {bottom}"
width="{WIDTH + 40}"><style>{STYLE}</style><path fill="#fff" d="M0 0h500v{bottom}H0z"/>
<text x="20" y="28">kubia: {len(layers)} layers, {human(image.size)}</text>
<text class="soft" x="20" y="{bottom - 12}">read from the bottom</text>{"".join(drawn)}</svg>""")
print(*(row.by for row in layers), sep="\n")
