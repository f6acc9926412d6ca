"""Signals as people write them."""

from __future__ import annotations

import re
import signal

from ..errors import PlanError

__all__ = ["signal_number"]


def signal_number(text: str) -> int:
    """Return the number of a signal: ``SIGTERM``, ``TERM``, ``15``, ``SIGRTMIN+3`` as systemd has it; SIGTERM for "".

    :raises PlanError: there is no such signal
    """
    name = text.upper().removeprefix("SIG")
    if name.startswith("RTM") and (realtime := re.fullmatch(r"RTMIN\+(\d{1,2})|RTMAX-(\d{1,2})", name, re.ASCII)):
        up, down = (int(words or 0) for words in realtime.groups())
        number = signal.SIGRTMIN + up if name.startswith("RTMIN") else signal.SIGRTMAX - down
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
    try:
        return int(text) if text.isdecimal() and 0 < int(text) < signal.NSIG else int(signal.Signals[f"SIG{name or 'TERM'}"])
    except KeyError:
        raise PlanError(f"no such signal: {text!r}") from None
