"""Text for people: sizes and times in docker's words, and errors."""

from __future__ import annotations

import sys
import time

__all__ = ["ago", "complain", "local", "moment", "size"]

MINUTE, HOUR, DAY = 60, 3600, 86400
UNKNOWN = "N/A"


def size(number: float) -> str:
    """Format bytes with three digits, in decimal units: ``72.8MB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 999.5 or unit == "TB":
            break
        number /= 1000
    return f"{number:.3g}{unit}" if number < 999.5 else f"{number:.0f}{unit}"


def moment(text: str) -> float | None:
    """Parse a time in RFC 3339 to seconds since 1970.  Return None if there is none; Go writes none as the year 1."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() if found.year > 1 else None


def ago(text: str, now: float | None = None) -> str:
    """Format the age of a time in RFC 3339: ``3 days ago``."""
    then = moment(text)
    if then is None:
        return UNKNOWN
    return f"{_duration((time.time() if now is None else now) - then)} ago"


def local(text: str) -> str:
    """Format a time in RFC 3339 as docker does: ``2026-11-23 10:00:00 +0000 UTC``."""
    then = moment(text)
    return UNKNOWN if then is None else time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(then))


def _duration(seconds: float) -> str:
    """Format a duration, with docker's limits between units."""
    hours = int(seconds / HOUR + 0.5)
    if seconds < 1:
        return "Less than a second"
    if seconds < MINUTE:
        return "1 second" if seconds < 2 else f"{int(seconds)} seconds"
    if seconds < HOUR:
        return "About a minute" if seconds < 2 * MINUTE else f"{int(seconds // MINUTE)} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for days, unit, until in ((1, "days", 14), (7, "weeks", 60), (30, "months", 730)):
        if hours < until * 24:
            return f"{hours // 24 // days} {unit}"
    return f"{hours // 24 // 365} years"


def complain(text: str) -> None:
    """Print an error.  Control characters are replaced: an error may contain text of a registry or an image."""
    from ..image.picture import printable

    print("containerkit:", "\n".join(map(printable, text.splitlines())), file=sys.stderr)
