"""NoNewPrivileges as a value."""

from __future__ import annotations

import containerkit as ck
from containerkit.parts.privileges import NoNewPrivileges


def test_no_new_privileges_is_one_step_in_drop() -> None:
    (step,) = NoNewPrivileges().steps()
    assert str(step) == "prctl(PR_SET_NO_NEW_PRIVS, 1)"
    assert step.phase is ck.Phase.DROP
    assert NoNewPrivileges() == NoNewPrivileges()
