"""Who is first?"""


def race(programs: list[list[str]]) -> int:
    """Starts all programs at once and returns the index of the one that ends first.

    On return none of them is running any more.
    """
    raise NotImplementedError
