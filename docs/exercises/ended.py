"""How did the program end?"""


def ended(argv: list[str]) -> str:
    """Run a program, given by its path, and return one of

    "exit 3"           it ended by itself, with this exit code
    "signal 9"         this signal ended it
    "no program"       the file does not exist
    "no interpreter"   the file exists, but the interpreter in its first line does not
    """
    raise NotImplementedError
