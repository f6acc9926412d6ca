"""Parsers of foreign bytes are linear: four times the input takes about four times as long."""

from __future__ import annotations

import pytest

from fuzz.growth import CASES, Case, growth

QUADRATIC = 10  # linear would be 4, quadratic 16


@pytest.mark.parametrize("name", CASES)
def test_time_grows_with_size(name: str) -> None:
    """One try in three has to be quick: other programs make a linear reader slow now and then, a quadratic one is always slow."""
    found = []
    for _ in range(3):
        found.append(growth(CASES[name]))
        if found[-1] < QUADRATIC:
            return
    raise AssertionError(f"four times as much took {min(found):.1f} times as long")


def test_quadratic_time_is_seen() -> None:
    assert growth(Case(lambda size: list(range(size)), lambda given: [place for place in given if place in given[:place]])) > QUADRATIC
