"""Variables are expanded as buildkit expands them."""

from __future__ import annotations

import pytest

from containerkit.dockerfile import parse
from containerkit.dockerfile.expansion import Expansion
from containerkit.dockerfile.instructions import Add, Copy, Env, Instruction, Run
from containerkit.dockerfile.words import Remark
from containerkit.errors import DockerfileError

VALUES = {
    "HOME": "/home",
    "SH": "bash",
    "KOREAN": "한국어",
    "EMPTY": "",
    "V": "xxyy",
    "P": "/a/b/c.tar.gz",
    "TWO": "a  b",
    "STARS": "a***yy*",
}


@pytest.mark.parametrize(
    ("word", "result"),
    [
        # quotes and escapes
        ("hello", "hello"),
        ("he'll'o", "hello"),
        ("he'llo wor'ld", "hello world"),
        ("'he''llo'", "hello"),
        ("\"he'l'lo\"", "he'l'lo"),
        ("'he\\'", "he\\"),
        ("he\\'llo", "he'llo"),
        ("he\\\\llo", "he\\llo"),
        ("'he\\'llo", "he\\llo"),
        ('"he\\"llo"', 'he"llo'),
        ('"he\\llo"', "he\\llo"),
        ('"he\\\\llo"', "he\\llo"),
        ("he\\llo", "hello"),
        ("hello\\", "hello"),
        ("hello\\ world", "hello world"),
        ("'he$HOME'", "he$HOME"),
        ('"he$HOME"', "he/home"),
        ("he\\$HOME", "he$HOME"),
        ("'he\\$HOME'", "he\\$HOME"),
        ('"he\\$HOME"', "he$HOME"),
        ("''", ""),
        ('""', ""),
        ("a''b", "ab"),
        ("a  b", "a  b"),
        # names
        ("he$HOME", "he/home"),
        ("he${HOME}", "he/home"),
        ("he${HOME}xx", "he/homexx"),
        ("he$HOMExx", "he"),
        ("he$HOME.", "he/home."),
        ("${KOREAN}$HOME", "한국어/home"),
        ("he$1x", "hex"),
        ("he$12x", "hex"),
        ("$@b", "b"),
        ("he$#b", "heb"),
        ("$", "$"),
        ("he$", "he$"),
        ("$$", ""),
        ("$(date)", "$(date)"),
        ("$/a", "$/a"),
        ("he$_x", "he"),
        ("${SH}${HOME}", "bash/home"),
        ("안녕$HOME", "안녕/home"),
        # unset and empty
        ("${X:-000}", "000"),
        ("${X-000}", "000"),
        ("${EMPTY:-000}", "000"),
        ("${EMPTY-000}", ""),
        ("${SH:-000}", "bash"),
        ("${X:-}", ""),
        ("${X:+000}", ""),
        ("${X+000}", ""),
        ("${EMPTY:+000}", ""),
        ("${EMPTY+000}", "000"),
        ("${SH:+000}", "000"),
        ("${SH+}", ""),
        ("${X:-${SH}}", "bash"),
        ("${X:-${Y:-z}}", "z"),
        ("${X:-$HOME/x}", "/home/x"),
        ("${SH:+$HOME}", "/home"),
        ("${X:-'a b'}", "a b"),
        ('${X:-"}"}', "}"),
        ("${X:-\\}}", "}"),
        ("${X:-a:b-c}", "a:b-c"),
        ('"${X:-"a b"}"', "a b"),
        ("${SH:?no}", "bash"),
        ("${EMPTY?no}", ""),
        # beginnings and ends
        ("${V#x}", "xyy"),
        ("${V##x}", "xyy"),
        ("${V#*x}", "xyy"),
        ("${V##*x}", "yy"),
        ("${V#*x*y}", "y"),
        ("${V##*x*y}", ""),
        ("${V#*}", "xxyy"),
        ("${V##*}", ""),
        ("${V#}", "xxyy"),
        ("${V##}", "xxyy"),
        ("${V#?}", "xyy"),
        ("${V#y}", "xxyy"),
        ("${V#xxyyz}", "xxyy"),
        ("${V#xxyy}", ""),
        ("${V%y}", "xxy"),
        ("${V%%y*}", "xx"),
        ("${V%y*}", "xxy"),
        ("${V%x}", "xxyy"),
        ("${V%}", "xxyy"),
        ("${V%%?}", "xxy"),
        ("${V%%*}", ""),
        ("${P##*/}", "c.tar.gz"),
        ("${P%/*}", "/a/b"),
        ("${P%%.*}", "/a/b/c"),
        ("${P%.*}", "/a/b/c.tar"),
        ("${P#*.}", "tar.gz"),
        ("${STARS%%\\**\\*}", "a"),
        ("${STARS#a\\*}", "**yy*"),
        ("${STARS#a\\?}", "a***yy*"),
        ("${X#a}", ""),
        ("${V#$X}", "xxyy"),
        ("${V#${X:-x}}", "xyy"),
        # replacements
        ("${V/x/z}", "zxyy"),
        ("${V//x/z}", "zzyy"),
        ("${V//x/}", "yy"),
        ("${V/x*/z}", "z"),
        ("${V//?/z}", "zzzz"),
        ("${V/a/b}", "xxyy"),
        ("${P//\\//-}", "-a-b-c.tar.gz"),
        ("${P/\\/a/}", "/b/c.tar.gz"),
        ("${V//$X/w}", "wxwxwywyw"),
        ("${V/$X/w}", "wxxyy"),
        ("${V///}", "xxyy"),
        ("${V/y/${HOME}}", "xx/homey"),
        ("${X/a/b}", ""),
        ("${V//*/z}", "z"),
        ("${V/x?/z}", "zyy"),
        ("${V/y*x/z}", "xxyy"),
    ],
)
def test_a_word_is_expanded(word: str, result: str) -> None:
    assert Expansion(VALUES).word(word) == result


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("he${", "bad substitution|ends inside"),
        ("he${}", "bad substitution"),
        ("he${{x}", "bad substitution"),
        ("he${:-x}", "bad substitution"),
        ("he${HOME", "ends inside"),
        ("he${HOME:", "ends inside"),
        ("he${HOME:-x", "} was expected"),
        ("${HOME=x}", "unsupported modifier ="),
        ("${HOME:=x}", "unsupported modifier :="),
        ("${HOME:#/*}", "unsupported modifier :#"),
        ("${HOME:%%/*}", "unsupported modifier :%"),
        ("${NONE:#x}", "unsupported modifier :#"),
        ("${HOME^}", "unsupported modifier \\^"),
        ("${HOME x}", "unsupported modifier"),
        ("'a", "single quote"),
        ('"a', "double quote"),
        ('"a\\"', "double quote"),
        ("${X:-'a}", "single quote"),
        ("${X:?}", "X: is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${X?no $SH}", "X: no bash"),
        ("${EMPTY:?say so}", "EMPTY: say so"),
        ("${V//x}", "was expected"),
        ("${V/x}", "was expected"),
        ("${V#\\x}", "not a pattern"),
        ("${V#a\\\\\\}", "} was expected"),
        ("${X:-" * 33 + "}" * 33, "deeper than 32"),
    ],
)
def test_a_word_is_refused(word: str, says: str) -> None:
    with pytest.raises(DockerfileError, match=says):
        Expansion(VALUES).word(word)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", ["hello"]),
        ("hello world", ["hello", "world"]),
        ("hel'lo wor'ld", ["hello world"]),
        ("  a\tb  ", ["a", "b"]),
        ("$TWO", ["a", "b"]),
        ('"$TWO"', ["a  b"]),
        ("x$TWO", ["xa", "b"]),
        ("$EMPTY", []),
        ("''", []),
        ("a\\ b", ["a b"]),
        ("${X:-c d}", ["c", "d"]),
        ("$X", []),
        ("'$TWO' $SH", ["$TWO", "bash"]),
        ("\u00a0a", ["a"]),
        ("a\x1cb", ["a\x1cb"]),
    ],
)
def test_words_are_divided(text: str, words: list[str]) -> None:
    assert Expansion(VALUES).words(text) == words


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("C:\\a", "C:\\a"),
        ("`$HOME", "$HOME"),
        ("a` b", "a b"),
        ('"`""', '"'),
        ("\\$HOME", "\\/home"),
        ("``", "`"),
        ("'`'", "`"),
        ("${X:-`}}", "}"),
    ],
)
def test_a_backtick_escapes_where_it_is_the_escape(word: str, result: str) -> None:
    assert Expansion(VALUES, "`").word(word) == result


def test_a_document_keeps_its_quotes_and_loses_its_escapes() -> None:
    text = "'$HOME' \"$SH\"\n\\$HOME \\\\ \\\n"
    made = parse("# escape=`\nFROM a\nCOPY <<E /x\n" + text + "E\n").stages[0].instructions[0].expand(VALUES)
    assert isinstance(made, Copy)
    assert made.heredocs[0].content == "'/home' \"bash\"\n$HOME \\ \n"


def only(text: str) -> Instruction:
    """Return the instruction after a FROM."""
    (made,) = parse("FROM a\n" + text).stages[0].instructions
    return made


def test_a_line_of_env_sees_the_values_before_it() -> None:
    made = only("ENV SH=zsh A=$SH B=${A:-none}")
    assert isinstance(made, Env)
    assert dict(made.expand(VALUES).pairs) == {"SH": "zsh", "A": "bash", "B": "none"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("ENV a=$SH b='$SH' $SH=c", "ENV a=bash b=$SH bash=c"),
        ('ENV a "b  $SH"', "ENV a b  bash"),
        ('LABEL $SH="a b" c=\\$d', "LABEL bash=a b c=$d"),
        ("ARG a=$SH b", "ARG a=bash b"),
        ("USER $SH:${X:-0}", "USER bash:0"),
        ("WORKDIR $HOME/'a b'", "WORKDIR /home/a b"),
        ("VOLUME $HOME $TWO", 'VOLUME ["/home", "a  b"]'),
        ('VOLUME ["$HOME", "\'x\'"]', "VOLUME /home x"),
        ("EXPOSE ${X:-80} 90/UDP $SH2 7000-7002/sctp 80/tcp", "EXPOSE 80/tcp 90/udp 7000/sctp 7001/sctp 7002/sctp"),
        ("EXPOSE 127.0.0.1:8080:80", "EXPOSE 80/tcp"),
        ("STOPSIGNAL SIG${X:-TERM}", "STOPSIGNAL SIGTERM"),
        ("COPY $HOME '$SH' $TWO /${X:-d}/", 'COPY ["/home", "$SH", "a  b", "/d/"]'),
        ('COPY ["$HOME", "a\\\\ b", "/d/"]', 'COPY ["/home", "a b", "/d/"]'),
        ("COPY --chown=$SH:1 --chmod=0${X:-755} --exclude=$SH.* a /", "COPY --chown=bash:1 --chmod=0755 --exclude=bash.* a /"),
        ("ADD --checksum=sha256:$V https://x/$SH /", "ADD --checksum=sha256:xxyy https://x/bash /"),
        ("RUN echo $SH 'x'", "RUN echo $SH 'x'"),
        ("RUN --mount=type=cache,target=$HOME,uid=${X:-5} true", "RUN --mount=type=cache,target=/home,uid=5 true"),
        ('CMD ["$SH"]', 'CMD ["$SH"]'),
        ("ENTRYPOINT exec $SH", "ENTRYPOINT exec $SH"),
        ('SHELL ["$SH"]', 'SHELL ["$SH"]'),
        ("HEALTHCHECK CMD curl $HOME", "HEALTHCHECK CMD curl $HOME"),
        ("ONBUILD ENV a=$SH", "ONBUILD ENV a=$SH"),
        ("MAINTAINER $SH 'x'", "MAINTAINER $SH 'x'"),
    ],
)
def test_each_instruction_expands_its_own_words(text: str, result: str) -> None:
    assert str(only(text).expand(VALUES)) == result


def test_heredocs_expand_unless_their_name_is_quoted() -> None:
    made = only("ADD <<a <<'b' <<-c /d/\n$SH\na\n$SH\nb\n\t$SH\n\t\tx\nc\n").expand(VALUES)
    assert isinstance(made, Add)
    assert [heredoc.content for heredoc in made.heredocs] == ["bash\n", "$SH\n", "bash\nx\n"]
    run = only("RUN <<E\necho $SH\nE\n").expand(VALUES)
    assert isinstance(run, Run)
    assert run.line == "echo $SH\n"


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("EXPOSE 80 $SH", 11, "'bash' is not a port"),
        ("STOPSIGNAL $SH", 12, "'bash' is not a signal"),
        ("COPY --chmod=$SH a /", 6, "'bash' is not a mode"),
        ("COPY a b $SH", 10, "needs a directory: bash/ was expected"),
        ("RUN --mount=type=cache,target=/x,uid=$SH true", 5, "uid: 'bash' is not a number"),
        ("RUN --mount=type=$SH,target=/x true", 5, "no mount of type 'bash'"),
        ('ENV a=1 b="${X:?is needed}"', 11, "X: is needed"),
    ],
)
def test_expanded_words_are_checked_too(text: str, column: int, says: str) -> None:
    made = only(text)
    with pytest.raises(DockerfileError, match=says) as caught:
        made.expand(VALUES)
    assert (caught.value.line, caught.value.column) == (2, column)


def test_from_is_expanded_with_the_global_arguments() -> None:
    text = "ARG A=1 B=${A}2\nARG C\nARG D=$PLATFORM\nARG PLATFORM\nFROM --platform=$PLATFORM x:${B}${C:-z}$D AS s\nFROM ${C}\n"
    dockerfile = parse(text)
    values = dockerfile.global_values({"A": "7", "UNKNOWN": "x"}, {"PLATFORM": "linux/amd64"})
    assert values == {"A": "7", "B": "72", "D": "linux/amd64", "PLATFORM": "linux/amd64"}
    start = dockerfile.stages[0].start.expand(values)
    assert (start.image, start.platform, start.name) == ("x:72zlinux/amd64", "linux/amd64", "s")
    with pytest.raises(DockerfileError, match=r"\$\{C\} is empty: the name of an image was expected"):
        dockerfile.stages[1].start.expand(values)


def test_a_variable_that_is_not_set_is_remarked() -> None:
    remarks: list[Remark] = []
    only("ENV a=$X b=$SH c=${Y:-1} d=${Z}").expand(VALUES, remarks.append)
    assert [(remark.line, remark.column, remark.text.split()[2]) for remark in remarks] == [(2, 7, "X"), (2, 28, "Z")]
