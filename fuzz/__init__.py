"""Fuzzers: the parsers of foreign bytes, fed with malformed input.

    python -m fuzz 60                 all of them at once, a minute each; tools/fuzz is the same
    python -m fuzz.tar                one of them until it finds a failure; takes libFuzzer's options
    python -m fuzz.tar FILE           run once with an input that failed

Each module defines the properties of every input (`check`), the first inputs (`seeds`, made when they are needed), the words of its
language, and mutations that keep an input's form (`mutate`).
:see: https://github.com/google/atheris,  https://llvm.org/docs/LibFuzzer.html
"""

NAMES = ("tar", "manifest", "reference", "dockerfile")
