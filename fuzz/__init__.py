"""Fuzzers: what reads other people's bytes, fed with what nobody would write.

    python -m fuzz 60                 all of them at once, a minute each; tools/fuzz is the same
    python -m fuzz.tar                one of them until it finds something; takes libFuzzer's options
    python -m fuzz.tar FILE           once more with what it found

Each states what has to hold of any input (`check`), where to begin (`seeds`, made when they are needed), the words of its
language, and how to change an input without losing its form (`mutate`).
:see: https://github.com/google/atheris,  https://llvm.org/docs/LibFuzzer.html
"""

NAMES = ("tar", "manifest", "reference", "dockerfile")
