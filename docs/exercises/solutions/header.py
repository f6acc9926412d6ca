def header(name: str, size: int, mode: int) -> bytes:
    encoded = name.encode()
    if len(encoded) > 100:
        raise ValueError(f"{name!r} has {len(encoded)} bytes")
    block = bytearray(512)
    block[0 : len(encoded)] = encoded
    block[100:124] = b"%07o\0%07o\0%07o\0" % (mode, 0, 0)
    block[124:148] = b"%011o\0%011o\0" % (size, 0)
    block[148:156] = b" " * 8
    block[156:157] = b"0"
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
