"""Which program ends first?"""


def race(programs: list[list[str]]) -> int:
    """Start all programs at once and return the index of the one that ends first.

    On return none of them is running any more.
    """
    raise NotImplementedError
