"""NoNewPrivileges as a value."""

from __future__ import annotations

import containerkit as ck
from containerkit.parts.privileges import NoNewPrivileges


def test_it_is_one_step_that_only_gives_up() -> None:
    (step,) = NoNewPrivileges().steps()
    assert str(step) == "prctl(PR_SET_NO_NEW_PRIVS, 1)"
    assert step.phase is ck.Phase.DROP
    assert NoNewPrivileges() == NoNewPrivileges()
