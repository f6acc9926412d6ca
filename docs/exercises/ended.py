"""How did it end?"""


def ended(argv: list[str]) -> str:
    """Runs a program, given by its path, and returns one of

    "exit 3"           it ended by itself, with this exit code
    "signal 9"         this signal ended it
    "no program"       there is no such file
    "no interpreter"   the file is there, but what its first line names is not
    """
    raise NotImplementedError
