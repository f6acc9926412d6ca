"""Parsers of values in Dockerfiles: truths, numbers, sizes, durations, ports, signals.

Each raises a ValueError whose text names the expected form.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

from ..base import late

__all__ = ["duration", "mode", "number", "ports", "signal_name", "size", "truth"]

_TRUTHS = {**dict.fromkeys("1 t T true TRUE True".split(), True), **dict.fromkeys("0 f F false FALSE False".split(), False)}
_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = late.pattern(r"([0-9]{1,19}(?:\.[0-9]{0,19})?|\.[0-9]{1,19})(ns|us|µs|μs|ms|s|m|h)")
_SIZE = late.pattern(r"([0-9]{1,19}(?:\.[0-9]{1,19})?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_REALTIME = late.pattern(r"RT(MIN(?:\+[0-9]{1,2})?|MAX(?:-[0-9]{1,2})?)", re.ASCII)
_SYMBOLIC = late.pattern(r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+")


def truth(text: str) -> bool:
    """Parse "true", "1", "f" and the like."""
    if text not in _TRUTHS:
        raise ValueError(f"{text[:80]!r} is neither true nor false")
    return _TRUTHS[text]


def number(text: str, *, base: int = 10, bits: int = 32) -> int:
    """Parse a whole number without a sign, below 2**bits."""
    digits = "01234567" if base == 8 else "0123456789"
    if not text or len(text) > 20 or text.strip(digits) or int(text, base) >= 1 << bits:
        raise ValueError(f"{text[:80]!r} is not {'an octal' if base == 8 else 'a'} number below 2**{bits}")
    return int(text, base)


def mode(text: str) -> str:
    """Check permissions: octal up to 7777, or symbolic as "u=rwX,go=rX"."""
    octal = text.strip("01234567") == "" and 0 < len(text) <= 5 and int(text, 8) <= 0o7777
    if not octal and not all(_SYMBOLIC.fullmatch(part) for part in text.split(",")):
        raise ValueError(f"{text[:80]!r} is not a mode: 0755 or u=rwX,go=rX was expected")
    return text


def size(text: str) -> int:
    """Parse "64m", "1.5GiB" to bytes; every unit is 1024 times the one below."""
    from decimal import Decimal

    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(f"{text[:80]!r} is not a size: a number with k, m, g, t or p was expected")
    return int(Decimal(found[1]) * 1024 ** " kmgtp".index(found[2].lower() or " "))


def duration(text: str) -> int:
    """Parse "1m30s", "500ms" to nanoseconds; 0, or at least a millisecond."""
    from decimal import Decimal

    if text in ("0", "+0", "-0"):
        return 0
    total, position = Decimal(0), int(text.startswith("+"))
    while found := _DURATION.match(text, position):
        total, position = total + Decimal(found[1]) * _UNITS[found[2]], found.end()
    if not position > text.startswith("+") or position != len(text) or total >= 1 << 63:
        raise ValueError(f"{text[:80]!r} is not a duration: 30s or 1m30s was expected")
    if 0 < int(total) < 10**6:
        raise ValueError(f"{text[:80]!r} is less than 1ms")
    return int(total)


def ports(text: str) -> Iterator[str]:
    """Yield each port of "80", "7000-7010/udp", with its protocol."""
    given, _, protocol = text.rpartition(":")[2].partition("/")  # docker ignores an address and a host's port before the port
    protocol = protocol.lower() or "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise ValueError(f"{text[:80]!r}: the protocol is tcp, udp or sctp")
    first, dash, last = given.partition("-")
    try:
        begin, end = number(first, bits=16), number(last if dash else first, bits=16)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is not a port: 80, 80/udp or 7000-7010 was expected") from None
    if end < begin:
        raise ValueError(f"{text[:80]!r} ends before it begins")
    return (f"{port}/{protocol}" for port in range(begin, end + 1))


def signal_name(text: str) -> str:
    """Check a signal: a name, with or without SIG, or a number."""
    name = text.upper().removeprefix("SIG")
    realtime = _REALTIME.fullmatch(name)
    if text.isascii() and text.isdecimal():
        if len(text) <= 3 and 0 < int(text) < signal.NSIG:
            return text
    elif f"SIG{name}" in signal.Signals.__members__ or (realtime and int("0" + name[6:].strip("+-")) <= 30):
        return text
    raise ValueError(f"{text[:80]!r} is not a signal: a name like SIGTERM, or a number from 1 to {signal.NSIG - 1}, was expected")
