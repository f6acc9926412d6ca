from img_kubia import APP, one_file

FIELDS = (  # name, bytes, and how numbers are written
    ("name", 100, ""), ("mode", 8, ""), ("uid", 8, "octal"), ("gid", 8, "octal"),
    ("size", 12, "octal"), ("mtime", 12, "octal"), ("chksum", 8, "octal"), ("typeflag", 1, ""),
    ("linkname", 100, ""), ("magic", 6, ""), ("version", 2, ""), ("uname", 32, ""),
    ("gname", 32, ""), ("devmajor", 8, "octal"), ("devminor", 8, "octal"), ("prefix", 155, ""),
)  # fmt: skip


def dump(data: bytes, begin: int) -> None:
    """Print sixteen bytes a line, as hexdump does, without lines of zeros."""
    for at in range(begin, begin + len(data), 16):
        line = data[at - begin : at - begin + 16]
        seen = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
        if any(line):
            print(f"{at:5}  {line.hex(' '):47}  {seen}")


with one_file("app.js", APP.read_bytes()).uncompressed() as stream:
    tar = stream.read()
print(f"{len(tar)} bytes: {len(tar) // 512} blocks of 512\n\nblock 0, the header:")
dump(tar[:512], 0)

print("\nthe same, field by field:")
at = 0
for name, size, kind in FIELDS:
    raw = tar[at : at + size].rstrip(b"\0 ")
    meaning = f"= {int(raw, 8)}" if kind and raw else ""
    print(f"{at:5} {size:4}  {name:9} {raw.decode()!r:16} {meaning}".rstrip())
    at += size

length = int(tar[124:135], 8)
print(f"\nblock 1, the file: {length} bytes, then zeros up to the next block")
dump(tar[512:560], 512)
print("  ...")
print("after it:", "nothing but zeros" if not any(tar[512 + length :]) else "more entries")
without = tar[:148] + b" " * 8 + tar[156:512]
print("the sum of all bytes of the header, its own field taken as spaces:", sum(without))
