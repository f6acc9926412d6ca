"""A Dockerfile is read as docker reads it: lines, words, flags, heredocs, stages."""

from __future__ import annotations

import time

import pytest

from containerkit.dockerfile import Dockerfile, parse, parse_trigger
from containerkit.dockerfile.instructions import (
    Add,
    Arg,
    Bind,
    Cache,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    Mount,
    OnBuild,
    Pair,
    Run,
    Secret,
    Shell,
    Ssh,
    StopSignal,
    Tmpfs,
    User,
    Volume,
    Word,
    Workdir,
)
from containerkit.dockerfile.mounts import Unexpanded
from containerkit.dockerfile.predefined import PROXIES, platform_values
from containerkit.errors import DockerfileError
from containerkit.image import Platform

SECOND = 10**9


def only(text: str | bytes) -> Instruction:
    """Return the instruction after a FROM."""
    (made,) = parse((b"FROM a\n" if isinstance(text, bytes) else "FROM a\n") + text).stages[0].instructions  # type: ignore[operator]
    return made


def line(text: str) -> Command:
    """Return a command that is a line for a shell."""
    return Command((text,), shell=True)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        # commands
        ("RUN echo  a", Run(line("echo  a"))),
        ("run echo a", Run(line("echo a"))),
        ('RUN ["echo", "a b"]', Run(Command(("echo", "a b")))),
        ('RUN  [ "echo" ,"\\u00e9\\n" ] ', Run(Command(("echo", "é\n")))),
        ("RUN ['echo', 'a']", Run(line("['echo', 'a']"))),
        ('RUN ["echo", "a" ', Run(line('["echo", "a"'))),
        ('RUN ["echo", "a",]', Run(line('["echo", "a",]'))),
        ('RUN ["echo"] && true', Run(line('["echo"] && true'))),
        ('RUN ["\\ud800"]', Run(Command(("\ufffd",)))),
        ("RUN [ -d /x ] || true", Run(line("[ -d /x ] || true"))),
        ("RUN -- --x", Run(line("--x"))),
        ("RUN echo --mount=type=bind", Run(line("echo --mount=type=bind"))),
        ("RUN --network=none --security=insecure x", Run(line("x"), network="none", security="insecure")),
        ("CMD []", Cmd(Command(()))),
        ('CMD ["a"]', Cmd(Command(("a",)))),
        ("CMD a $b", Cmd(line("a $b"))),
        ('ENTRYPOINT ["node","app.js"]', Entrypoint(Command(("node", "app.js")))),
        ('SHELL ["/bin/bash", "-c"]', Shell(("/bin/bash", "-c"))),
        ("HEALTHCHECK NONE", Healthcheck(None)),
        ("HEALTHCHECK none", Healthcheck(None)),
        ("HEALTHCHECK CMD curl  x", Healthcheck(line("curl  x"))),
        ('healthcheck  cmd  ["curl"]', Healthcheck(Command(("curl",)))),
        ("HEALTHCHECK --interval=1m30s --timeout=.5s --retries=3 CMD x", Healthcheck(line("x"), 90 * SECOND, SECOND // 2, retries=3)),
        ("HEALTHCHECK --start-period=1h --start-interval=5ms CMD x", Healthcheck(line("x"), 0, 0, 3600 * SECOND, 5_000_000)),
        ("ONBUILD RUN  a $b", OnBuild("RUN  a $b")),
        ('onbuild copy --chown=1 ["a", "/"]', OnBuild('copy --chown=1 ["a", "/"]')),
        ("ONBUILD RUN <<E cat\nx\nE\n", OnBuild("RUN <<E cat\nx\nE")),
        # files
        ("COPY a b /c/", Copy(("a", "b"), "/c/")),
        ("COPY a b .", Copy(("a", "b"), ".")),
        ("COPY a\\ b /c/", Copy(("a\\", "b"), "/c/")),
        ('COPY ["a b", "/c d"]', Copy(("a b",), "/c d")),
        ("COPY [a, b/", Copy(("[a,",), "b/")),
        ("COPY --from=x --link --parents a /", Copy(("a",), "/", link=True, from_="x", parents=True)),
        ("COPY --from= --chown= --exclude= a /", Copy(("a",), "/")),
        ("COPY --link=false --exclude=*.a --exclude=b a /", Copy(("a",), "/", excludes=("*.a", "b"))),
        ("COPY --chown='a b' --chmod=u=rwX,go-w a /", Copy(("a",), "/", chown="a b", chmod="u=rwX,go-w")),
        ("COPY --chown=a\\ b a /", Copy(("a",), "/", chown="a b")),
        (
            "ADD --checksum=sha256:a --keep-git-dir https://a/b.git /",
            Add(("https://a/b.git",), "/", checksum="sha256:a", keep_git_dir=True),
        ),
        ("ADD --unpack=TRUE a.tar /", Add(("a.tar",), "/", unpack=True)),
        ("ADD --unpack=false a.tar /", Add(("a.tar",), "/", unpack=False)),
        # settings
        ("ENV a=1", Env((Pair("a", "1"),))),
        ("ENV a=\"b c\" d='e f' g=h\\ i j=", Env((Pair("a", '"b c"'), Pair("d", "'e f'"), Pair("g", "h\\ i"), Pair("j", "")))),
        ("ENV a=b=c", Env((Pair("a", "b=c"),))),
        ("ENV a b=c  d", Env((Pair("a", "b=c  d"),), legacy=True)),
        ("LABEL a.b=\"c\" 'd e'=f", Label((Pair("a.b", '"c"'), Pair("'d e'", "f")))),
        ("LABEL a b c", Label((Pair("a", "b c"),), legacy=True)),
        ("ARG a", Arg((Pair("a", None),))),
        ('ARG a b= c="d e"', Arg((Pair("a", None), Pair("b", ""), Pair("c", '"d e"')))),
        ("USER a:b", User("a:b")),
        ("WORKDIR /a b", Workdir("/a b")),
        ("VOLUME /a /b", Volume(("/a", "/b"))),
        ('VOLUME ["/a b", " /c "]', Volume(("/a b", "/c"))),
        ("EXPOSE 80 443/tcp 1-2/udp $x", Expose(("80", "443/tcp", "1-2/udp", "$x"))),
        ("STOPSIGNAL sigquit", StopSignal("sigquit")),
        ("STOPSIGNAL 9", StopSignal("9")),
        ("STOPSIGNAL RTMIN+3", StopSignal("RTMIN+3")),
        ("MAINTAINER A B <a@b>", Maintainer("A B <a@b>")),
        # spaces
        ("  \t RUN\ta\t \t", Run(line("a"))),
        ("RUN a\u00a0b\u00a0", Run(line("a\u00a0b"))),
        ("RUN a\x1c", Run(line("a\x1c"))),
    ],
)
def test_a_line_is_parsed_to_an_instruction(text: str, made: Instruction) -> None:
    assert only(text) == made
    assert only(str(made)) == made
    assert only(text + "\r\n") == made


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("RUN a \\\n  b", "a   b"),
        ("RUN a\\\nb", "ab"),
        ("RUN a \\  \t\n b", "a  b"),
        ("RUN a \\\n# comment\n  # another \\\n b", "a  b"),
        ("RUN a \\\n\n \n b", "a  b"),
        ("RUN \\\na", "a"),
        ("\\\nRUN a", "a"),
        ("RUN a \\\r\n b\r\n", "a  b"),
        ("RUN a \\", "a"),
        ("RUN a\\\\", "a\\\\"),
        ("RUN a\\\\\nRUN b", "a\\\\"),
        ("RUN a # no comment", "a # no comment"),
        ("# comment\n\n   # comment\nRUN a", "a"),
        ("RUN 'a \\\n#b\n c'", "'a  c'"),
        ("R\\\nUN a", "a"),
        ("RUN a ` \\\nb", "a ` b"),
    ],
)
def test_lines_are_continued(text: str, command: str) -> None:
    first = parse("FROM a\n" + text).stages[0].instructions[0]
    assert isinstance(first, Run)
    assert first.command == line(command)


def test_an_empty_line_inside_an_instruction_is_remarked() -> None:
    assert [(remark.line, remark.column) for remark in parse("FROM a\nRUN a \\\n\n# c\n\n b\n").warnings] == [(3, 1), (5, 1)]


@pytest.mark.parametrize(
    ("text", "said", "escape"),
    [
        ("FROM a\n", {}, "\\"),
        ("# escape=`\nFROM a\n", {"escape": "`"}, "`"),
        ("#escape=`\nFROM a\n", {"escape": "`"}, "`"),
        ("  #  EsCaPe =  ` \r\nFROM a\n", {"escape": "`"}, "`"),
        ("\ufeff# syntax = docker/dockerfile:1 \n# check=skip=all;error=true\n# escape=\\\nFROM a", None, "\\"),
        ("# comment\n# escape=`\nFROM a", {}, "\\"),
        ("\n# escape=`\nFROM a", {}, "\\"),
        ("# unknown=1\n# escape=`\nFROM a", {}, "\\"),
        ("# escape=\n# escape=`\nFROM a", {}, "\\"),
        ("FROM a\n# escape=`\n", {}, "\\"),
        ("# syntax=a\n#\n# escape=`\nFROM a\n", {"syntax": "a"}, "\\"),
    ],
)
def test_directives_come_before_everything_else(text: str, said: dict[str, str] | None, escape: str) -> None:
    dockerfile = parse(text.encode())
    expected = {"syntax": "docker/dockerfile:1", "check": "skip=all;error=true", "escape": "\\"} if said is None else said
    assert (dockerfile.directives, dockerfile.escape) == (expected, escape)
    assert parse(str(dockerfile)) == dockerfile


def test_the_escape_of_the_directive_continues_and_escapes() -> None:
    dockerfile = parse("# escape=`\nFROM a\nRUN dir C:\\ `\n /b\nENV p=C:\\ q=a` b\nCOPY --chown=a` b x C:\\\nRUN x\n")
    run, env, copy, _ = dockerfile.stages[0].instructions
    assert run == Run(line("dir C:\\  /b"), escape="`")
    assert env.expand({}) == Env((Pair("p", "C:\\"), Pair("q", "a b")), escape="`")
    assert copy == Copy(("x",), "C:\\", chown="a b", escape="`")
    assert parse(str(dockerfile)) == dockerfile


@pytest.mark.parametrize(
    ("text", "heredocs", "shell_line", "script"),
    [
        ("RUN <<EOF\na\nb\nEOF\n", [Heredoc("EOF", "a\nb\n")], "a\nb\n", None),
        ("RUN <<'E'\n$a\nE", [Heredoc("E", "$a\n", expand=False)], "$a\n", None),
        ('RUN <<"E"x\nE\nEx\n', [Heredoc("Ex", "E\n", expand=False)], "E\n", None),
        ("RUN <<-E\n\ta\n\t b\n\tE\n", [Heredoc("E", "\ta\n\t b\n", strip=True)], "a\n b\n", None),
        ("RUN <<E\n\tE\nE\n", [Heredoc("E", "\tE\n")], "\tE\n", None),
        ("RUN <<E\n#!/bin/python\nx\nE\n", [Heredoc("E", "#!/bin/python\nx\n")], "#!/bin/python\nx\n", "#!/bin/python\nx\n"),
        ("RUN <<E cat > /x\na\nE\n", [Heredoc("E", "a\n")], "<<E cat > /x\na\nE", None),
        ("RUN cat <<E && cat 3<<-'F' b\na\nE\n\tc\nF\n", [Heredoc("E", "a\n"), Heredoc("F", "\tc\n", False, True)], None, None),
        ("RUN <<E\n# no comment\n\n a \\\nE\n", [Heredoc("E", "# no comment\n\n a \\\n")], "# no comment\n\n a \\\n", None),
        ("RUN <<E\r\na\r\nE\r\n", [Heredoc("E", "a\r\n")], "a\r\n", None),
        ("RUN --network=none <<E \\\n cat\nx\nE\n", [Heredoc("E", "x\n")], "<<E  cat\nx\nE", None),
        ("RUN cat <<<word", [], "cat <<<word", None),
        ("RUN echo $((1<<2)) a<<b", [], "echo $((1<<2)) a<<b", None),
        ("RUN echo '<<E' \"<<F\" \\<<G << H", [], "echo '<<E' \"<<F\" \\<<G << H", None),
        ("RUN echo it's <<E", [], "echo it's <<E", None),
        ("RUN cat <<E#x\nE#x\n", [Heredoc("E#x", "")], "cat <<E#x\nE#x", None),
    ],
)
def test_heredocs_of_run(text: str, heredocs: list[Heredoc], shell_line: str | None, script: str | None) -> None:
    run = only(text)
    assert isinstance(run, Run)
    assert (list(run.heredocs), run.script) == (heredocs, script)
    assert shell_line is None or run.line == shell_line
    assert only(str(run)) == run


def test_heredocs_of_copy_are_files() -> None:
    copy = only("COPY --chmod=755 <<a.sh x <<-\"b c\"'d' /dir/\n$x\na.sh\n\ty\nb cd\n".replace("b c", "b_c").replace("b cd", "b_cd"))
    assert isinstance(copy, Copy)
    assert (copy.sources, copy.dest, copy.chmod) == (("x",), "/dir/", "755")
    assert [(each.name, each.content, each.expand) for each in copy.heredocs] == [("a.sh", "$x\n", True), ("b_cd", "y\n", False)]
    assert only(str(copy)) == copy
    assert only('COPY ["<<E", "/x"]') == Copy(("<<E",), "/x")


@pytest.mark.parametrize(
    ("options", "mount"),
    [
        ("target=/a", Bind(target="/a")),
        ("type=bind,source=x,dst=/a,from=b,rw", Bind(target="/a", source="x", from_="b", readonly=False)),
        ("TYPE=Bind,src=x,destination=/a,readonly=false", Bind(target="/a", source="x", readonly=False)),
        ("type=bind,target=/a,ro", Bind(target="/a")),
        ("type=cache,target=/c", Cache(target="/c")),
        ("type=cache,id=i,target=/c,sharing=LOCKED,uid=1,gid=2,mode=0700,ro", None),
        ("type=cache,target=/c,from=b,source=/s,sharing=private", Cache(target="/c", from_="b", source="/s", sharing="private")),
        ("type=tmpfs,target=/t", Tmpfs(target="/t")),
        ("type=tmpfs,target=/t,size=1.5g", Tmpfs(target="/t", size=3 << 29)),
        ("type=tmpfs,target=/t,size=64MiB", Tmpfs(target="/t", size=64 << 20)),
        ("type=secret,id=s", Secret(id="s")),
        ("type=secret,source=s,target=/s,required", Secret(id="s", target="/s", required=True)),
        ("type=secret,id=s,env=S,mode=400,uid=7,required=1", Secret(id="s", env="S", mode=0o400, uid=7, required=True)),
        ("type=ssh", Ssh()),
        ("type=ssh,id=i,target=/s,required=true,gid=3", Ssh(id="i", target="/s", required=True, gid=3)),
    ],
)
def test_mounts_of_run(options: str, mount: Mount | None) -> None:
    run = only(f"RUN --mount={options} x")
    assert isinstance(run, Run)
    cache = Cache(target="/c", id="i", sharing="locked", uid=1, gid=2, mode=0o700, readonly=True)
    assert run.mounts == (mount or cache,)
    assert only(str(run)) == run


def test_mounts_wait_for_variables() -> None:
    run = only("RUN --mount=type=cache,id=$x,target=/c,mode=$m --mount='type=bind,\\\"target=/a,b\\\"' --mount=target=/$x,from=s y")
    assert isinstance(run, Run)
    assert all(isinstance(mount, Unexpanded) for mount in run.mounts)
    assert run.mounts[2].from_ == "s"
    assert run.expand({"x": "i", "m": "0711"}).mounts == (
        Cache(target="/c", id="i", mode=0o711),
        Bind(target="/a,b"),
        Bind(target="/i", from_="s"),
    )
    assert only(str(run)) == run


def test_a_healthcheck_has_the_form_of_an_image_s_config() -> None:
    tests = [only(f"HEALTHCHECK {text}") for text in ("NONE", "CMD a b", 'CMD ["a", "b"]')]
    assert [made.test for made in tests if isinstance(made, Healthcheck)] == [("NONE",), ("CMD-SHELL", "a b"), ("CMD", "a", "b")]
    assert line("x").argv(("sh", "-c")) == ("sh", "-c", "x")
    assert Command(("x",)).argv(("sh", "-c")) == ("x",)


STAGES = """ARG V=1
FROM a:$V AS Build
ENV x=1
FROM scratch as second
COPY --from=BUILD /a /
COPY --from=0 /a /
RUN --mount=from=build,target=/x y
FROM --platform=linux/arm64 build
COPY --from=busybox:latest /a /
COPY --from=1 /b /
"""


def test_stages() -> None:
    dockerfile = parse(STAGES, name="x/Dockerfile")
    assert [(stage.index, stage.base, stage.name, stage.platform, stage.where.line) for stage in dockerfile.stages] == [
        (0, "a:$V", "build", "", 2), (1, "scratch", "second", "", 4), (2, "build", "", "linux/arm64", 8),
    ]  # fmt: skip
    assert dockerfile.args == (Arg((Pair("V", "1"),)),)
    assert [len(stage.instructions) for stage in dockerfile.stages] == [1, 3, 2]
    assert dockerfile.stage("SECOND") is dockerfile.stage("1") is dockerfile.stages[1]
    assert dockerfile.stage("3") is dockerfile.stage("x") is dockerfile.stage("") is dockerfile.stage("9" * 5000) is None
    assert dockerfile.stage("1", before=1) is dockerfile.named("second", before=1) is dockerfile.named("0") is None
    assert (dockerfile.name, dockerfile.stages[0].where.name) == ("x/Dockerfile", "x/Dockerfile")


def test_a_name_of_two_stages_means_the_later_one() -> None:
    dockerfile = parse("FROM a AS x\nFROM x AS X\nFROM x\n")
    assert dockerfile.named("x") is dockerfile.stages[1]
    assert dockerfile.named("x", before=1) is dockerfile.stages[0]
    assert [remark.line for remark in dockerfile.warnings] == [2]


def test_places_and_sources() -> None:
    text = "FROM a\n\n  COPY x \\\n# c\n   y z/ \nRUN <<E\nq\nE\nENV a=1 b=$c\n"
    dockerfile = parse(text)
    copy, run, env = dockerfile.stages[0].instructions
    assert (copy.where.line, copy.where.column, copy.source) == (3, 3, "  COPY x \\\n# c\n   y z/ ")
    assert isinstance(copy, Copy)
    assert isinstance(env, Env)
    words = [word for word in (*copy.sources, copy.dest, *env.pairs[1]) if isinstance(word, Word)]
    assert [(word, word.where.line, word.where.column) for word in words] == [
        ("x", 3, 8),
        ("y", 5, 4),
        ("z/", 5, 6),
        ("b", 9, 9),
        ("$c", 9, 11),
    ]
    assert run.source == "RUN <<E\nq\nE"
    error = words[2].where.error("what?")
    assert str(error) == "Dockerfile:5:6: what?\n  5 |    y z/ \n    |      ^"


@pytest.mark.parametrize(
    ("text", "line_number", "column", "says"),
    [
        # the file
        ("", 1, 1, "no FROM"),
        ("# only\n\n", 2, 1, "no FROM"),
        ("ARG a\n", 1, 1, "no FROM"),
        ("RUN a\n", 1, 1, "RUN before the first FROM"),
        ("ARG a\n  ENV a=b\nFROM a", 2, 3, "ENV before the first FROM"),
        ("# escape=x\nFROM a", 1, 10, "escape is \\\\ or `, not 'x'"),
        ("# escape=`\n# Escape=`\nFROM a", 2, 1, "directive escape appears twice"),
        ("# syntax=a\n# check=b\n# syntax=a\nFROM a", 3, 1, "directive syntax appears twice"),
        ("FROM a\nFORM b\n", 2, 1, r"unknown instruction: FORM \(did you mean FROM\?\)"),
        ("FROM a\nRUM b\n", 2, 1, "did you mean RUN"),
        ("FROM a\nxyzzy\n", 2, 1, "unknown instruction: xyzzy$|unknown instruction: xyzzy\n"),
        ("FROM a\n\\\n", 2, 1, "an instruction was expected"),
        ("FROM a\nRUN x\0y\n", 2, 6, "not text"),
        # FROM
        ("FROM", 1, 5, "FROM ends here: the name of an image was expected"),
        ("FROM a b", 1, 8, "FROM image AS name"),
        ("FROM a IS b", 1, 8, "FROM image AS name"),
        ("FROM a AS", 1, 8, "FROM image AS name"),
        ("FROM a AS 1", 1, 11, "'1' is not a name for a stage"),
        ("FROM a AS b/c", 1, 11, "not a name for a stage"),
        ("FROM a AS é", 1, 11, "not a name for a stage"),
        ("FROM --platfrom=x a", 1, 6, r"no flag --platfrom \(did you mean platform\?\)"),
        ("FROM 'a", 1, 6, "single quote"),
        # references
        ("FROM a\nCOPY --from=b x /\nFROM a AS b", 2, 6, "stage 0 cannot take from b: a stage before it"),
        ("FROM a AS b\nCOPY --from=B x /", 2, 6, "cannot take from itself B"),
        ("FROM a\nCOPY --from=0 x /", 2, 6, "cannot take from itself 0"),
        ("FROM a\nCOPY --from=7 x /", 2, 6, "cannot take from 7"),
        ("FROM a\nRUN --mount=from=0,target=/x y", 2, 5, "cannot take from itself 0"),
        ("FROM a\nCOPY --from=$x a /", 2, 6, "takes no variables"),
        ("FROM a\nRUN --mount=from=$x,target=/x y", 2, 5, "takes no variables"),
        # flags
        ("FROM a\nCOPY --chwon=1 a /", 2, 6, r"--chwon \(did you mean chown\?\); it has --from, --chown"),
        ("FROM a\nCOPY --chown a /", 2, 6, "--chown has no value"),
        ("FROM a\nCOPY --link --link a /", 2, 13, "--link appears twice"),
        ("FROM a\nCOPY --link=yes a /", 2, 6, "--link is true or false"),
        ("FROM a\nCOPY --link= a /", 2, 6, "--link is true or false"),
        ("FROM a\nADD --from=x a /", 2, 5, "ADD has no flag --from"),
        ("FROM a\nENV --x=1 a=b", 2, 5, "ENV has no flag --x; it has none"),
        ("FROM a\nRUN --network=hots x", 2, 5, r"not 'hots' \(did you mean host\?\)"),
        ("FROM a\nRUN --security=x y", 2, 5, "--security is sandbox or insecure"),
        ("FROM a\nCOPY --chmod=888 a /", 2, 6, "'888' is not a mode"),
        # commands
        ("FROM a\nRUN", 2, 4, "RUN ends here: a command was expected"),
        ("FROM a\nRUN []", 2, 5, "RUN has an empty list"),
        ("FROM a\nCMD", 2, 4, "CMD ends here"),
        ('FROM a\nRUN ["a", 1]', 2, 11, "array of strings"),
        ('FROM a\nCMD [["a"]]', 2, 6, "array of strings"),
        ("FROM a\nSHELL bash -c", 2, 7, "SHELL is written as JSON"),
        ("FROM a\nSHELL []", 2, 7, "SHELL is written as JSON"),
        ("FROM a\nHEALTHCHECK", 2, 12, "CMD and a command, or NONE was expected"),
        ("FROM a\nHEALTHCHECK curl x", 2, 13, "takes CMD and a command"),
        ("FROM a\nHEALTHCHECK NONE x", 2, 13, "or NONE alone"),
        ("FROM a\nHEALTHCHECK CMD", 2, 13, "takes CMD and a command"),
        ("FROM a\nHEALTHCHECK CMD []", 2, 13, "CMD has an empty list"),
        ("FROM a\nHEALTHCHECK --interval=5 CMD x", 2, 13, "'5' is not a duration"),
        ("FROM a\nHEALTHCHECK --timeout=1us CMD x", 2, 13, "less than 1ms"),
        ("FROM a\nHEALTHCHECK --retries=-1 CMD x", 2, 13, "'-1' is not a number"),
        ("FROM a\nONBUILD", 2, 8, "an instruction was expected"),
        ("FROM a\nONBUILD ONBUILD RUN x", 2, 9, "ONBUILD cannot be a trigger"),
        ("FROM a\nONBUILD from x", 2, 9, "FROM cannot be a trigger"),
        ("FROM a\nONBUILD MAINTAINER x", 2, 9, "MAINTAINER cannot be a trigger"),
        ("FROM a\nONBUILD COPY x", 2, 15, "a source and a destination"),
        ("FROM a\nONBUILD RUM x", 2, 9, "did you mean RUN"),
        # heredocs
        ("FROM a\nRUN cat <<E \\\n <<'F'\nE\nx\n", 3, 2, "the heredoc has no end: a line 'F' was expected"),
        ("FROM a\nCOPY a <<E\nE\n", 2, 8, "cannot write into a heredoc"),
        ("FROM a\nCOPY <<'a b' /x\na b\n", 2, 6, "one word without spaces|single quote"),
        # files
        ("FROM a\nCOPY a", 2, 7, "COPY has one argument"),
        ("FROM a\nADD", 2, 4, "a source and a destination was expected"),
        ('FROM a\nCOPY ["a"]', 2, 11, "COPY has one argument"),
        ("FROM a\nCOPY a b c", 2, 10, "needs a directory: c/ was expected"),
        ("FROM a\nCOPY a \\\n  'b /", 3, 3, "single quote"),
        # settings
        ("FROM a\nENV", 2, 4, "name=value was expected"),
        ("FROM a\nENV a", 2, 6, "ENV a has no value"),
        ("FROM a\nENV a=1 b", 2, 9, "'b' is not name=value"),
        ("FROM a\nENV a=b c d=e", 2, 9, "a value with spaces needs quotes"),
        ("FROM a\nENV =b", 2, 5, "is not name=value"),
        ("FROM a\nLABEL a='b", 2, 9, "single quote"),
        ("FROM a\nENV a=1 b=${c", 2, 11, "ends inside"),
        ("FROM a\nARG", 2, 4, "a name"),
        ("FROM a\nARG a =b", 2, 7, "name before = is missing"),
        ("FROM a\nEXPOSE 80 http", 2, 11, "'http' is not a port"),
        ("FROM a\nEXPOSE 80/icmp", 2, 8, "tcp, udp or sctp"),
        ("FROM a\nEXPOSE 65536", 2, 8, "is not a port"),
        ("FROM a\nEXPOSE 9-8", 2, 8, "ends before it begins"),
        ("FROM a\nSTOPSIGNAL SIGNOPE", 2, 12, "is not a signal"),
        ("FROM a\nSTOPSIGNAL 0", 2, 12, "is not a signal"),
        ("FROM a\nUSER", 2, 5, "a user was expected"),
        ("FROM a\nWORKDIR ", 2, 8, "a path was expected"),
        ("FROM a\nVOLUME []", 2, 8, "VOLUME has an empty path"),
        ('FROM a\nVOLUME ["a", " "]', 2, 8, "VOLUME has an empty path"),
        # mounts
        ("FROM a\nRUN --mount=type=bnd,target=/x y", 2, 5, r"no mount of type 'bnd' \(did you mean bind\?\)"),
        ("FROM a\nRUN --mount=type=bind y", 2, 5, "a bind mount needs target="),
        ("FROM a\nRUN --mount=targt=/x y", 2, 5, r"no option 'targt' \(did you mean target\?\)"),
        ("FROM a\nRUN --mount=target y", 2, 5, "target has no value"),
        ("FROM a\nRUN --mount=target=/x,ro=maybe y", 2, 5, "readonly: 'maybe' is neither true nor false"),
        ("FROM a\nRUN --mount=target=/x,uid=1 y", 2, 5, "a bind mount has no option 'uid'"),
        ("FROM a\nRUN --mount=type=cache,target=/x,mode=9 y", 2, 5, "mode: '9' is not an octal number"),
        ("FROM a\nRUN --mount=type=cache,target=/x,sharing=some y", 2, 5, "not a way of sharing"),
        ("FROM a\nRUN --mount=type=tmpfs,target=/x,size=big y", 2, 5, "'big' is not a size"),
        ("FROM a\nRUN --mount=type=secret y", 2, 5, "needs id= or target="),
        ("FROM a\nRUN --mount=type=secret,id=a,source=b y", 2, 5, "are the same"),
        ("FROM a\nRUN --mount=type=secret,id=a,from=b y", 2, 5, "no option 'from_?'"),
        ('FROM a\nRUN --mount=\\"target=/x y', 2, 5, "double quote is not closed"),
        ('FROM a\nRUN --mount=target=a\\"b y', 2, 5, "inside an option"),
    ],
)
def test_an_error_has_the_position_of_the_fault(text: str, line_number: int, column: int, says: str) -> None:
    with pytest.raises(DockerfileError, match=says) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line_number, column)
    assert caught.value.source == (text.split("\n")[line_number - 1] if text else "")


@pytest.mark.parametrize(("data", "line_number", "column"), [(b"FROM a\nRUN \xff", 2, 5), (b"FROM a\nRUN <<E\nx\n y\xffz\nE\n", 4, 3)])
def test_bytes_that_are_no_text(data: bytes, line_number: int, column: int) -> None:
    with pytest.raises(DockerfileError, match="not text: UTF-8") as caught:
        parse(data)
    assert (caught.value.line, caught.value.column) == (line_number, column)
    assert parse(b"# \xff\nFROM a\nRUN a \\\n# \xff\n b\n").stages[0].instructions == (Run(line("a  b")),)


@pytest.mark.parametrize(
    ("text", "line_number", "column", "says"),
    [
        ("FROM a\nCMD [ 'a' ]\n", 2, 5, "begins like JSON and is not"),
        ("FROM a\nMAINTAINER x\n", 2, 1, "MAINTAINER is deprecated"),
        ("FROM a\nENV a b\n", 2, 5, "ENV without ="),
        ("FROM a\nCMD a\nCMD b\n", 2, 1, "another CMD of this stage follows"),
        ("FROM a AS scratch\n", 1, 11, "has the same name as one of docker's own"),
    ],
)
def test_doubtful_text_is_remarked(text: str, line_number: int, column: int, says: str) -> None:
    (remark,) = parse(text).warnings
    assert (remark.line, remark.column) == (line_number, column)
    assert says in remark.text


def test_nothing_is_remarked_where_all_is_well() -> None:
    assert parse(STAGES).warnings == ()
    assert parse('FROM a\nRUN [ "$x" = y ] || [ -d z ]\n').warnings == ()


def test_triggers_are_parsed_later() -> None:
    assert parse_trigger("RUN a \\\n b") == Run(line("a  b"))
    made = only("ONBUILD COPY <<E /x\n$y\nE\n")
    assert isinstance(made, OnBuild)
    assert parse_trigger(made.trigger) == Copy((), "/x", (Heredoc("E", "$y\n"),))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "an instruction was expected"),
        ("FROM a", "cannot be a trigger"),
        ("RUN a\nRUN b", "the end was expected"),
        ("NOPE", "unknown instruction"),
    ],
)
def test_a_text_that_is_no_trigger_is_refused(text: str, says: str) -> None:
    with pytest.raises(DockerfileError, match=says) as caught:
        parse_trigger(text)
    assert caught.value.name == "ONBUILD"


def test_the_normal_form() -> None:
    text = (
        "# escape=\\\nARG a=1\n\nFROM --platform=x a AS b\nRUN --mount=type=cache,target=/c --network=none x\nCOPY --from=0 --link a b/\n"
    )
    text = text.replace("--from=0", "--from=c")
    dockerfile = parse(text)
    assert str(dockerfile) == text
    assert isinstance(dockerfile, Dockerfile)
    assert str(From("a", "b")) == "FROM a AS b"


def test_predefined_arguments() -> None:
    values = platform_values(Platform("linux", "arm", "v7"), Platform("linux", "amd64"), stage="x")
    assert values == {
        "TARGETSTAGE": "x", "TARGETPLATFORM": "linux/arm/v7", "TARGETOS": "linux", "TARGETARCH": "arm", "TARGETVARIANT": "v7",
        "BUILDPLATFORM": "linux/amd64", "BUILDOS": "linux", "BUILDARCH": "amd64", "BUILDVARIANT": "",
    }  # fmt: skip
    assert {"HTTP_PROXY", "https_proxy", "NO_PROXY"} < PROXIES


def test_ranges_of_ports_cost_nothing_before_they_are_needed() -> None:
    started = time.process_time()
    dockerfile = parse("FROM a\n" + "EXPOSE 0-65535\n" * 2000)
    assert time.process_time() - started < 10
    assert len(dockerfile.stages[0].instructions[0].expand({}).ports) == 65536  # type: ignore[attr-defined]


COMMENTED = """
FROM alpine # c
FROM alpine AS x # c
FROM alpine #c
ENV A=b # c
ENV A=b\t# c
LABEL a=b # c
COPY a b # c
ADD a b # c
EXPOSE 80 # c
STOPSIGNAL SIGTERM # c
SHELL ["a"] # c
HEALTHCHECK NONE # c
HEALTHCHECK --interval=5s # c
ONBUILD ENV A=b # c
""".strip().split("\n")
ARGUMENTS = """
RUN x # c
CMD x # c
ENTRYPOINT x # c
ENV A b # c
ENV A="b # c"
ARG A=b # c
VOLUME /x # c
USER app # c
WORKDIR /a # c
HEALTHCHECK CMD x # c
MAINTAINER me # c
""".strip().split("\n")


@pytest.mark.parametrize("line", COMMENTED)
def test_a_comment_at_the_end_is_refused_with_advice_where_docker_refuses_it(line: str) -> None:
    text = line if line.startswith("FROM") else f"FROM x\n{line}"
    with pytest.raises(DockerfileError, match="a comment needs a line of its own") as caught:
        parse(f"{text}\n")
    assert caught.value.line == text.count("\n") + 1


@pytest.mark.parametrize("line", ARGUMENTS)
def test_a_number_sign_is_an_argument_where_docker_takes_it_as_one(line: str) -> None:
    assert "#" in str(parse(f"FROM x\n{line}\n"))


@pytest.mark.parametrize("line", ["ENV A=b c", 'ENV A="b # c" d', "RUN --mount=type=bind # c", "EXPOSE x"])
def test_other_errors_do_not_mention_comments(line: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(f"FROM x\n{line}\n")
    assert "comment" not in str(caught.value)
