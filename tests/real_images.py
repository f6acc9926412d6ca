"""Images as people really have them: Debian with what its packages leave, servers that log to /dev/stdout, nothing but one program,
a database with a hole of 2 GB, names that no shell can type, and so on.  All are made here, of Debian packages, busybox and node.

    bench = Bench(directory, debian)        # debian: a tar, made by `debian_tar`
    for real in REAL:
        image = real.make(bench)

A layer is written by tarfile or GNU tar, so that what is read was not written by the code that reads it.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockerfiles import PATH, base_image
from peertools import run, tool
from rich_images import CAPABLE, WRITTEN
from support import compiled

import containerkit as ck
from containerkit.image.blobs import FileBlobs
from containerkit.image.config import ImageConfig
from containerkit.image.history import History
from containerkit.image.image import Image
from containerkit.image.index import Index
from containerkit.image.layer import Layer

PACKAGES = "nginx-light,apache2-bin,sudo,iputils-ping,python3-minimal"
LEFT_OUT = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"]
DEBIAN_SECONDS = 300.0  # 25 on a machine that has nothing else to do
SPARSE = 2 << 30
NUMBER = 70_000  # an id above those of 16 bits
LARGE = 200_000_000  # as directory services give them

Data = bytes | str | None | tarfile.TarInfo | tuple[Any, ...]


def debian_tar(directory: Path) -> Path:
    """A Debian with two web servers, sudo, ping and Python, made from packages; without the files that no container image keeps."""
    made = directory / "debian.tar"
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(directory)}
    less = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    options = ["--quiet", "--variant=minbase", "--mode=root", *less, f"--include={PACKAGES}"]
    run(tool("mmdebstrap"), *options, "bookworm", made, seconds=DEBIAN_SECONDS, env=clean)
    return made


class Bench:
    """What the images are made with.

    :ivar directory: for the blobs, and for the trees that GNU tar packs
    :ivar debian_tar: what `debian` is made of
    """

    def __init__(self, directory: Path, debian: Path) -> None:
        self.directory, self.debian_tar = directory, debian
        self.blobs = FileBlobs(directory / "blobs")

    @functools.cached_property
    def box(self) -> Image:
        """busybox with the users root, app (1000) and web (33)."""
        return base_image(self.directory / "box")

    @functools.cached_property
    def debian(self) -> Image:
        with self.debian_tar.open("rb") as stream:
            layer = Layer.from_tar(stream, self.blobs)
        config = ImageConfig(env=(PATH,), cmd=("bash",))
        return Image.of(config).append(layer, history="debian")

    def layer(self, entries: Mapping[str | bytes, Data], compression: str = "gzip", pax: bool = True) -> Layer:
        """A layer written by tarfile, with an entry for each directory above, as builders write them.

        :param entries: by name: bytes or str are a file's, None is a directory, a tuple is (type, link's target), or a TarInfo
        """
        return self.packed(tar_of(entries, pax=pax), compression)

    def packed(self, tar: bytes, compression: str = "gzip") -> Layer:
        return Layer.from_tar(io.BytesIO(tar), self.blobs, compression=compression)

    def of_tree(self, tree: Path, *options: str) -> Layer:
        """A layer written by GNU tar, whose names begin with ``./``."""
        argv = ["tar", "-C", tree, "--numeric-owner", "--sort=name", *options, "-cf", "-", "."]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout
            layer = Layer.from_tar(process.stdout, self.blobs)
        assert process.returncode == 0
        return layer

    def tree(self, name: str) -> Path:
        path = self.directory / "trees" / name
        path.mkdir(parents=True)
        return path

    def hello(self) -> bytes:
        """A static program."""
        path = self.directory / "hello"
        if not path.exists():
            compiled('#include <unistd.h>\nint main(void) { return write(1, "hello\\n", 6) != 6; }', path, "-s")
        return path.read_bytes()


def tar_of(entries: Mapping[str | bytes, Data], *, pax: bool = True) -> bytes:
    out, seen = io.BytesIO(), set[str]()
    form = tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape", encoding="utf-8") as tar:
        for name, what in ((os.fsdecode(name), what) for name, what in entries.items()):
            for above in _above(name):
                if above not in seen:
                    seen.add(above)
                    tar.addfile(info(above, tarfile.DIRTYPE, 0o755))
            seen.add(name)
            tar.addfile(*_entry(name, what))
    return out.getvalue()


def _above(name: str) -> list[str]:
    words = name.split("/")[:-1]
    return ["/".join(words[: at + 1]) for at in range(len(words))]


def info(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, **more: Any) -> tarfile.TarInfo:
    """The header of an entry.  :param more: fields of TarInfo; `data` stays with it"""
    made = tarfile.TarInfo(name)
    made.type, made.mode, made.mtime = kind, mode, WRITTEN
    for field, value in more.items():
        setattr(made, field, value)
    return made


def program(data: bytes | str, mode: int = 0o755, **more: Any) -> tuple[Any, ...]:
    """A file that can be executed, or that has another owner or attributes."""
    return tarfile.REGTYPE, data, mode, more


def link(target: str) -> tuple[Any, ...]:
    return tarfile.SYMTYPE, b"", 0o777, {"linkname": target}


def hard(target: str) -> tuple[Any, ...]:
    return tarfile.LNKTYPE, b"", 0o644, {"linkname": target}


def directory(mode: int = 0o755, **more: Any) -> tuple[Any, ...]:
    return tarfile.DIRTYPE, b"", mode, more


def device(kind: bytes, major: int, minor: int, mode: int = 0o666) -> tuple[Any, ...]:
    return kind, b"", mode, {"devmajor": major, "devminor": minor}


def _entry(name: str, what: Data) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    if isinstance(what, tarfile.TarInfo):
        return what, None
    if what is None:
        what = directory()
    kind, data, mode, more = what if isinstance(what, tuple) else (tarfile.REGTYPE, what, 0o644, {})
    data = data.encode() if isinstance(data, str) else data
    return info(name, kind, mode, size=len(data), **more), io.BytesIO(data)


# The images ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Real:
    """An image, what it says when it runs, and what one can do with it.

    :ivar said: what it prints; podman's print must be the same
    :ivar code: its exit code
    :ivar options: for run, which podman understands too
    :ivar argv: for run, after the image's name
    :ivar step: how a Dockerfile that begins with it runs something; "" where there is nothing to run
    :ivar alone: why an ordinary user, who has one id, cannot run it; "" when that user can
    :ivar unsaved: why podman cannot save it
    :ivar plain: it is busybox with another config, so that there is no tree to compare
    :ivar podman: why podman is not asked; "" when it is
    """

    name: str
    make: Callable[[Bench], Image | Index]
    said: str = ""
    code: int = 0
    options: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    step: str = "RUN echo made > /made"
    alone: str = ""
    podman: str = ""
    unsaved: str = ""
    plain: bool = False

    def __str__(self) -> str:
        return self.name


REAL: list[Real] = []
ONE_ID = "its files have several owners, and an ordinary user has one id"


def real(**fields: Any) -> Callable[[Callable[[Bench], Any]], Callable[[Bench], Any]]:
    def add(make: Callable[[Bench], Any]) -> Callable[[Bench], Any]:
        REAL.append(Real(make.__name__, make, **fields))
        return make

    return add


def says(image: Image, script: str, **config: Any) -> Image:
    return image.with_config(cmd=("sh", "-c", script), **config)


# Debian


@real(said="ID=debian\n/run/systemd/resolve/stub-resolv.conf\n/run\n")
def debian_resolved(bench: Bench) -> Image:
    """As systemd-resolved leaves it: /etc/resolv.conf leads to a file that only a running system has."""
    layer = bench.layer({"etc/resolv.conf": link("../run/systemd/resolve/stub-resolv.conf"), "etc/mtab": link("../proc/self/mounts")})
    script = "grep ^ID= /etc/os-release; realpath -m /etc/resolv.conf; cd /var/run; pwd -P; grep -q ' / ' /etc/mtab"
    return says(bench.debian.append(layer, history="resolved"), script)


NGINX = """\
pid /tmp/nginx.pid;
error_log stderr notice;
events {}
http {
    client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
    log_format short '$request $status';
    access_log /var/log/nginx/access.log short;
    server { listen 127.0.0.1:8080; return 200 "nginx\\n"; }
}
"""
ASK = """\
for try in $(seq 100); do
    exec 3<>/dev/tcp/127.0.0.1/8080 && break
    sleep 0.1
done 2>/dev/null
printf 'GET /page HTTP/1.0\\r\\n\\r\\n' >&3
answer=$(cat <&3)
echo "${answer##*$'\\n'}"
kill "$server"
wait "$server"
"""


@real(said="GET /page HTTP/1.0 200\nnginx\n", step="")
def nginx(bench: Bench) -> Image:
    """Its logs are links to /dev/stdout and /dev/stderr, and it is not root."""
    entries: dict[str | bytes, Data] = {
        "etc/nginx/nginx.conf": NGINX,
        "var/log/nginx/access.log": link("/dev/stdout"),
        "var/log/nginx/error.log": link("/dev/stderr"),
        "usr/local/bin/once": program("#!/bin/bash\nnginx -g 'daemon off;' & server=$!\n" + ASK),
    }
    image = bench.debian.append(bench.layer(entries), history="nginx")
    return image.with_config(user="www-data", cmd=("once",), exposed_ports=("8080/tcp",), stop_signal="SIGQUIT")


HTTPD = """\
ServerName localhost
Listen 127.0.0.1:8080
PidFile /tmp/httpd.pid
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
DefaultRuntimeDir /tmp
DocumentRoot /srv
LogFormat "%r %>s" short
CustomLog /dev/stdout short
ErrorLog /dev/stderr
"""


@real(said="GET /page HTTP/1.0 200\nhttpd\n", step="")
def httpd(bench: Bench) -> Image:
    """It opens /dev/stdout and /dev/stderr by name, as a user that is known by a number."""
    script = "#!/bin/bash\napache2 -f /etc/httpd.conf -D FOREGROUND & server=$!\n" + ASK
    entries: dict[str | bytes, Data] = {"etc/httpd.conf": HTTPD, "srv/page": "httpd\n", "usr/local/bin/once": program(script)}
    return bench.debian.append(bench.layer(entries), history="httpd").with_config(user="33:33", cmd=("once",), working_dir="/srv")


SETUID = """\
id -u; sudo -n id -u; sudo -n -u games id -un; su -s /bin/sh -c 'id -u' games < /dev/null 2>&1 | grep -o 'Authentication failure'
passwd --status app | cut -d ' ' -f 1-2
find /usr/bin -perm -4000 | sort | head -3
"""


@real(
    said="1000\n0\ngames\nAuthentication failure\napp L\n/usr/bin/chfn\n/usr/bin/chsh\n/usr/bin/gpasswd\n",
    alone="su(1) and sudo(8) become users that are not there",
    step="RUN sudo -n sh -c 'echo made > /made'",
)
def setuid(bench: Bench) -> Image:
    """sudo, su and passwd are used by somebody who is not root."""
    entries: dict[str | bytes, Data] = {"etc/sudoers.d/app": program("app ALL=(ALL) NOPASSWD: ALL\n", 0o440)}
    for name, line in (("passwd", "app:x:1000:1000::/home/app:/bin/bash"), ("group", "app:x:1000:"), ("shadow", "app:!:19000::::::")):
        text = run("tar", "-xOf", bench.debian_tar, f"./etc/{name}")
        shadow = {"gid": 42, "mode": 0o640} if name == "shadow" else {}
        entries[f"etc/{name}"] = program(f"{text}{line}\n", shadow.get("mode", 0o644), **{k: v for k, v in shadow.items() if k == "gid"})
    return says(bench.debian.append(bench.layer(entries), history="sudo"), SETUID, user="app")


PYTHON = """\
import os, sys, tempfile, threading
with tempfile.NamedTemporaryFile() as file:
    file.write(b"x")
thread = threading.Thread(target=print, args=("thread",))
thread.start()
thread.join()
print(sys.argv[1:], os.getcwd(), os.environ["PYTHONUNBUFFERED"], sys.stdout.encoding)
sys.exit(4)
"""


@real(said="thread\n['--port', '80'] /app 1 utf-8\n", code=4, argv=("--port", "80"))
def python_app(bench: Bench) -> Image:
    image = bench.debian.append(bench.layer({"app/main.py": PYTHON}), history="app")
    return image.with_config(
        entrypoint=("python3", "main.py"), working_dir="/app", cmd=(), env=(PATH, "PYTHONUNBUFFERED=1", "LANG=C.UTF-8"), user="nobody"
    )  # fmt: skip


NODE = """\
const http = require("http");
const server = http.createServer((_, response) => response.end("You've hit me\\n"));
server.listen(0, "127.0.0.1", () => http.get({port: server.address().port}, answer => {
    answer.pipe(process.stdout);
    answer.on("end", () => server.close());
}));
"""


@real(said="You've hit me\n")
def kubia(bench: Bench) -> Image:
    """node with an application on top; it answers itself."""
    tool("node")
    root = ck.rootfs.from_programs(["node", "sh", "cat"], bench.directory / "node")
    node = Layer.from_directory(root, bench.blobs, compression="none")
    image = Image.scratch().append(node, history="node").append(bench.layer({"app.js": NODE}), history="app")
    return image.with_config(entrypoint=("node", "app.js"), env=(PATH,))


# Little or nothing


@real(said="hello\n", step='RUN ["/hello"]', options=("--read-only",))
def scratch_static(bench: Bench) -> Image:
    """FROM scratch: no /proc, /dev, /tmp, /etc; run so that nothing can be written."""
    return Image.scratch().append(bench.layer({"hello": program(bench.hello())}), history="hello").with_config(entrypoint=("/hello",))


@real(
    step='RUN ["/sh", "-c", "echo made > /made"]',
    said="uid=0 gid=0\n/\n/dev\n/etc\n/proc\n/sys\n",
    argv=("sh", "-c", "id; find / -maxdepth 1 -type d ! -name run | sort"),
)
def no_mount_points(bench: Bench) -> Image:
    """A shell, and no directory that a container needs."""
    box = Path(tool("busybox")).read_bytes()
    names = {name: link("/busybox") for name in ("sh", "id", "find", "sort")}
    layer = bench.layer({"busybox": program(box), **names})
    return Image.scratch().append(layer, history="box").with_config(env=("PATH=/",), cmd=("sh",))


@real(code=125, step="", podman="it refuses it too, with 126 or 127 by version")
def user_without_passwd(bench: Bench) -> Image:
    """USER is a name, and there is no /etc/passwd that knows it: nobody can say who that is."""
    layer = bench.layer({"hello": program(bench.hello())})
    return Image.scratch().append(layer, history="hello").with_config(entrypoint=("/hello",), user="app")


@real(said="hello\n", step='RUN ["/hello"]', podman="it knows root only from /etc/passwd; buildkit knows it anyway")
def root_without_passwd(bench: Bench) -> Image:
    """USER root, which is known without /etc/passwd."""
    layer = bench.layer({"hello": program(bench.hello())})
    return Image.scratch().append(layer, history="hello").with_config(entrypoint=("/hello",), user="root")


@real(said="12345 54321 54321\n/\n", step="RUN id", alone=ONE_ID, plain=True)
def user_by_number(bench: Bench) -> Image:
    """A number that /etc/passwd does not have."""
    return says(bench.box, "echo $(id -u) $(id -g) $(id -G); echo $HOME", user="12345:54321")


# How a program is started


@real(said="refused\ndata\ntmp\n/here\n", options=("--read-only", "--tmpfs=/tmp"), step="")
def read_only(bench: Bench) -> Image:
    """Nothing can be written but what is said to be."""
    script = "touch /x 2>/dev/null || echo refused; cat /data/one | sed s/one/data/; echo tmp > /tmp/f && cat /tmp/f; pwd"
    layer = bench.layer({"here": None})
    return says(bench.box.append(layer, history="here"), script, working_dir="/here")


@real(said="inside\nmade\n700\n")
def volumes(bench: Bench) -> Image:
    """A volume with something in it, of somebody, and one at a place that is not there."""
    layer = bench.layer({"vol": directory(0o700, uid=1000, gid=1000), "vol/file": "inside\n"})
    script = "cat /vol/file; echo made > /new/volume/file; cat /new/volume/file; stat -c %a /vol"
    return says(bench.box.append(layer, history="data"), script, volumes=("/vol", "/new/volume"))


@real(said="/not/there/yet\n755 0:0\n", plain=True)
def workdir_missing(bench: Bench) -> Image:
    return says(bench.box, "pwd; stat -c '%a %u:%g' .", working_dir="/not/there/yet")


@real(said="[a b] [c]\n", argv=("c",), plain=True)
def entrypoint_and_words(bench: Bench) -> Image:
    """What is given takes the place of CMD, and follows the entrypoint."""
    return bench.box.with_config(entrypoint=("sh", "-c", 'echo "[$0] [$*]"', "a b"), cmd=("never",))


@real(said="shell form\n", plain=True)
def entrypoint_alone(bench: Bench) -> Image:
    return bench.box.with_config(entrypoint=("/bin/sh", "-c", "echo shell form"), cmd=None)


@real(code=125, podman="its exit code is 125 too, and its text its own", plain=True)
def no_command(bench: Bench) -> Image:
    return bench.box.with_config(entrypoint=None, cmd=None)


@real(code=127, plain=True)
def command_missing(bench: Bench) -> Image:
    return bench.box.with_config(cmd=("no-such-program",))


@real(code=126)
def command_not_executable(bench: Bench) -> Image:
    return bench.box.append(bench.layer({"plain": "echo no\n"}), history="plain").with_config(cmd=("/plain",))


@real(said="script of a b\n", argv=("a b",))
def script_through_a_link(bench: Bench) -> Image:
    """A script, found through a link and an absolute link of a directory."""
    entries: dict[str | bytes, Data] = {
        "opt/1.2/bin/start": program('#!/bin/sh -e\necho script of "$@"\n'), "opt/current": link("/opt/1.2"),
        "start": link("opt/current/bin/start"),
    }  # fmt: skip
    return bench.box.append(bench.layer(entries), history="script").with_config(entrypoint=("/start",), cmd=None)


@real(said="INT\n", argv=(), plain=True)
def stop_signal(bench: Bench) -> Image:
    return says(bench.box, 'trap "echo INT; exit" INT; kill -INT $$', stop_signal="SIGINT")


@real(said="init\n")
def systemd_init(bench: Bench) -> Image:
    """/sbin/init is a link, and the signal that ends systemd a real-time one."""
    entries: dict[str | bytes, Data] = {"sbin/init": link("/lib/systemd/systemd"), "lib/systemd/systemd": program("#!/bin/sh\necho init\n")}
    image = bench.box.append(bench.layer(entries), history="init")
    return image.with_config(cmd=("/sbin/init",), stop_signal="SIGRTMIN+3", env=(PATH, "container=docker"))


HUNDRED = {f"NAME_{number}": f"value {number} = 'x' \"y\" $HOME \\ {chr(233)}" for number in range(100)}


@real(said="103\nvalue 7 = 'x' \"y\" $HOME \\ \u00e9\nline\nbreak\n[]\n", plain=True)
def environment_of_a_hundred(bench: Bench) -> Image:
    env = (PATH, *(f"{name}={value}" for name, value in HUNDRED.items()), "LINES=line\nbreak", "EMPTY=")
    script = 'env | grep -c -e ^NAME_ -e ^PATH= -e ^LINES= -e ^EMPTY=; printf \'%s\\n\' "$NAME_7" "$LINES" "[$EMPTY]"'
    return says(bench.box, script, env=env)


ODD_LABELS = {
    "": "empty name",
    "a b": "blank",
    'quote"': "'$\\",
    "new\nline": "tab\t",
    "caf\u00e9": "\U0001f40b",
    "json": '{"a": [1]}',
    "x" * 300: "y" * 9000,
}


@real(said="labels\n", plain=True)
def labels(bench: Bench) -> Image:
    return says(bench.box, "echo labels", labels=ODD_LABELS)


@real(said="config\n", step="RUN echo made > /made", plain=True)
def whole_config(bench: Bench) -> Image:
    """Every field that there is, some of nobody's knowledge."""
    health = {"Test": ["CMD-SHELL", "true"], "Interval": 30 * 10**9, "Retries": 3, "StartInterval": 5}
    config = {
        "exposed_ports": ("80/tcp", "53/udp", "8000-8002/tcp"),
        "healthcheck": health,
        "shell": ("/bin/sh", "-ec"),
        "author": "A <a@example.com>",
    }
    return says(bench.box, "echo config", config_extra={"ArgsEscaped": True, "x-own": [1]}, on_build=("ENV BUILT=on",), **config)


# Accounts


ODD_PASSWD = """\
# a comment

root:x:0:0:root:/root:/bin/sh
+::::::
-nobody
short:x:5
number:x:abc:1::/:/bin/sh
minus:x:-1:1::/:/bin/sh
huge:x:99999999999:1::/:/bin/sh
 blank:x:6:6::/:/bin/sh
app:x:1000:1000:A, B: C:/home/app:/bin/sh:more
app:x:1001:1001:again:/other:/bin/sh
web:x:33:33::/:/bin/sh"""
ODD_GROUP = "root:x:0:\n\n# comment\nodd:x::app\nodd:x:-1:app\n+:::\nlong:x:70:app,web,\napp:x:1000:\nextra:x:60:app"


@real(said="1000 1000\n1000 70 60\n", alone=ONE_ID, step="RUN id -u", podman="it takes a group without a number for root's")
def odd_accounts(bench: Bench) -> Image:
    """/etc/passwd and /etc/group as twenty years leave them, without a newline at the end."""
    layer = bench.layer({"etc/passwd": ODD_PASSWD, "etc/group": ODD_GROUP})
    return says(
        bench.box.append(layer, history="accounts"), "echo $(id -u) $(id -g); echo $(id -G | tr ' ' '\\n' | sort -k1,1nr)", user="app"
    )


@real(said=f"{NUMBER} {NUMBER + 1}\n{NUMBER} {LARGE}\n", alone=ONE_ID, step="RUN id -u")
def large_ids(bench: Bench) -> Image:
    """Owners and a user above 65535."""
    layer = bench.layer({"owned": program("x", 0o644, uid=NUMBER, gid=LARGE), "etc/passwd": f"big:x:{NUMBER}:{NUMBER + 1}::/:/bin/sh\n"})
    return says(bench.box.append(layer, history="ids"), "echo $(id -u) $(id -g); stat -c '%u %g' /owned", user="big")


# Trees


@real(said="tool\nrun\nusr/bin\n/usr/bin\n")
def usr_merged(bench: Bench) -> Image:
    """/bin is a link, /var/run an absolute one; a later layer writes where they lead."""
    box = Path(tool("busybox")).read_bytes()
    applets = {f"usr/bin/{name}": link("busybox") for name in ("sh", "cat", "readlink", "pwd", "echo")}
    first = bench.layer({
        "bin": link("usr/bin"), "sbin": link("usr/sbin"), "usr/sbin": None, "usr/bin/busybox": program(box), **applets, "run": None,
        "var/run": link("/run"), "var/lock": link("/run/lock"), "tmp": directory(0o1777),
        "etc": None, "proc": None, "sys": None, "dev": None,
    })  # fmt: skip
    second = bench.layer({"usr/bin/tool": program("#!/bin/sh\necho tool\n"), "run/file": "run\n", "run/lock": None})
    image = Image.scratch().append(first, second, history=[History("first"), History("second")])
    return says(image, "tool; cat /var/run/file; readlink /bin; cd /bin; pwd -P", env=("PATH=/bin",))


@real(said="old old old changed\n")
def hard_links(bench: Bench) -> Image:
    """Hard links within a layer, and in a layer above to a file of the one below, which then changes there."""
    first = bench.layer({"links/a": "old\n", "links/b": hard("links/a")})
    second = bench.layer({"links/c": hard("links/a")})
    third = bench.layer({"links/d": "changed\n"})
    script = "cd /links; echo $(cat a b c d)"
    return says(bench.box.append(first, second, third, history=[History("a"), History("b"), History("c")]), script)


@real(said="b c\nnew\nfile\nlink back\n")
def whiteouts(bench: Bench) -> Image:
    """What was removed, emptied, replaced by another kind, and came back."""
    first = bench.layer({
        "gone/below/file": "x", "some/a": "a", "some/b": "b", "emptied/old/file": "old", "kind/file": "x", "other": "file", "back": "first",
    })  # fmt: skip
    second = bench.layer({
        ".wh.gone": b"", "some/.wh.a": b"", "some/c": "c", "emptied/.wh..wh..opq": b"", "emptied/new": "new", ".wh.back": b"",
        ".wh.never": b"", "kind": "file", "other": link("/some"),
    })  # fmt: skip
    third = bench.layer({"back": "back"})
    script = "echo $(ls /some); ls /emptied; cat /kind; echo; [ -e /gone ] || echo $([ -L /other ] && echo link) $(cat /back)"
    return says(bench.box.append(first, second, third, history=[History(name) for name in "123"]), script)


ODD_NAMES: list[bytes] = [
    b"new\nline", b"tab\t", b"\xff\xfe", b"-rf", b" blank ", b"back\\slash", b"quote\"'", b"*", b"caf\xc3\xa9", b"cafe\xcc\x81", b"...",
    b"a" * 255,    b"\x01", b"$(touch x)", b"%s", b".hidden", b"wh.", b"colon:equals=", "\U0001f40b".encode(),
]  # fmt: skip


@real(said=f"{len(ODD_NAMES) + 1}\n")
def odd_names(bench: Bench) -> Image:
    entries: dict[str | bytes, Data] = {b"odd/" + name: name for name in ODD_NAMES}
    layer = bench.layer({**entries, b"odd/to": link(os.fsdecode(ODD_NAMES[2]))}, pax=False)
    return says(bench.box.append(layer, history="names"), "cd /odd; find . -mindepth 1 -maxdepth 1 -print0 | tr -cd '\\0' | wc -c")


@real(said="CapPrm:\t0000000000000400\n", alone="a file gives capabilities to whoever runs it where root's id is mapped", step="RUN true")
def capabilities(bench: Bench) -> Image:
    """A file with capabilities and one with notes, as setcap and setfattr write them; GNU tar packs them."""
    tree = bench.tree("capabilities")
    (tree / "cap").mkdir()
    shutil.copy(tool("busybox"), tree / "cap/grep")
    os.setxattr(tree / "cap/grep", "security.capability", CAPABLE)
    (tree / "cap/noted").write_text("noted")
    os.setxattr(tree / "cap/noted", "user.note", b"\0\xff\n")
    os.setxattr(tree / "cap", "user.long", b"l" * 3000)
    (tree / "made").write_text("")
    os.chown(tree / "made", 1000, 1000)
    layer = bench.of_tree(tree, "--xattrs", "--xattrs-include=*")
    return bench.box.append(layer, history="capable").with_config(cmd=("/cap/grep", "CapPrm", "/proc/self/status"), user="1000")


@real(
    said="character special file 1:3\nfifo\nblock special file 7:0\n",
    alone="an ordinary user cannot make devices",
)
def devices(bench: Bench) -> Image:
    """Device nodes and a fifo in a layer, as debootstrap leaves them."""
    layer = bench.layer({
        "nodes/null": device(tarfile.CHRTYPE, 1, 3), "nodes/loop0": device(tarfile.BLKTYPE, 7, 0, 0o660),
        "nodes/fifo": (tarfile.FIFOTYPE, b"", 0o622, {}),
        "dev/null": device(tarfile.CHRTYPE, 1, 3), "dev/console": device(tarfile.CHRTYPE, 5, 1, 0o600),
    })  # fmt: skip
    script = "cd /nodes; stat -c '%F %t:%T' null; stat -c %F fifo; stat -c '%F %t:%T' loop0"
    return says(bench.box.append(layer, history="nodes"), script)


@real(said="0 1777 2775 6755\n2200\n", alone=ONE_ID)
def modes_and_times(bench: Bench) -> Image:
    """Modes that say everything and nothing, times before 1970 and after 2038."""
    layer = bench.layer({
        "m/nothing": program("", 0), "m/sticky": directory(0o1777), "m/group": directory(0o2775, gid=50),
        "m/both": program("", 0o6755, uid=1000), "m/old": info("m/old", mtime=-86400), "m/late": info("m/late", mtime=7260710400),
        "m/secret": directory(0o700, uid=1000), "m/secret/in": "x",
    })  # fmt: skip
    return says(
        bench.box.append(layer, history="modes"),
        "cd /m; echo $(stat -c %a nothing sticky group both); stat -c %y late | cut -c 1-4",
    )


@real(said=f"{SPARSE}\nbegin\nend\n", unsaved="its tar writer refuses the sparse file that its reader took")
def sparse_database(bench: Bench) -> Image:
    """A file of 2 GB that is a hole but for its two ends."""
    tree = bench.tree("sparse")
    (tree / "var/lib").mkdir(parents=True)
    with (tree / "var/lib/data.mdb").open("wb") as file:
        file.truncate(SPARSE)
        os.pwrite(file.fileno(), b"begin\n", 0)
        os.pwrite(file.fileno(), b"end\n", SPARSE - 4)
    layer = bench.of_tree(tree, "--sparse", "--format=posix", "--pax-option=delete=atime,delete=ctime")
    (tree / "var/lib/data.mdb").unlink()
    script = "cd /var/lib; stat -c %s data.mdb; head -n 1 data.mdb; tail -c 4 data.mdb"
    return says(bench.box.append(layer, history="data"), script)


@real(said="119\n119\n")
def many_layers(bench: Bench) -> Image:
    """120 layers, each with a file of its own and another version of the same one."""
    box = {name: link("busybox") for name in ("bin/sh", "bin/cat", "bin/ls", "bin/grep")}
    first = bench.layer({"bin/busybox": program(Path(tool("busybox")).read_bytes()), **box})
    layers = [bench.layer({f"many/{number}": str(number), "many/same": f"{number}\n"}) for number in range(1, 120)]
    image = Image.scratch().append(first, *layers, history=[History(f"layer {number}") for number in range(120)])
    return says(image, "cat /many/same; ls /many | grep -vc same", env=("PATH=/bin",))


@real(said="empty\n")
def empty_layers(bench: Bench) -> Image:
    """A layer with nothing in it, the same layer twice, instructions that made none."""
    nothing, same = bench.packed(bytes(1024)), bench.layer({"same": "empty\n"})
    history = [History("nothing"), History("ENV", empty_layer=True), History("same"), History("again"), History("CMD", empty_layer=True)]
    return says(bench.box.append(nothing, same, same, history=history), "cat /same")


@real(said="gaps\n")
def history_with_gaps(bench: Bench) -> Image:
    """Three layers of which the history knows one, as squashing tools and Bazel leave it."""
    image = bench.box.append(bench.layer({"gap": "gaps\n"}), bench.layer({"more": ""}), history=[History("a"), History("b")])
    return says(image, "cat /gap", history=(History("only one", extra={"x-tool": "own"}),), created="0001-01-01T00:00:00Z")


@real(said="none gzip zstd\n", unsaved="there is no zstd in its docker-archives")
def three_compressions(bench: Bench) -> Image:
    names = ("none", "gzip", "zstd")
    layers = [bench.layer({f"packed/{name}": f"{name}\n"}, compression=name) for name in names]
    return says(bench.box.append(*layers, history=[History(name) for name in names]), "cd /packed; echo $(cat none gzip zstd)")


@real(said="./ 711 of tar\n")
def names_from_dot(bench: Bench) -> Image:
    """GNU tar with --format=oldgnu: names begin with ``./``, and the root itself is in it with a mode of its own."""
    tree = bench.tree("dot")
    tree.chmod(0o711)
    (tree / "dot").mkdir()
    (tree / "dot" / ("long" * 50)).write_text("of tar\n")
    layer = bench.of_tree(tree, "--format=gnu")
    return says(bench.box.append(layer, history="tar"), "echo ./ $(stat -c %a /) $(cat /dot/*)")


DEEP = "/".join(["deep" * 50] * 15)  # over 3000 bytes


@real(said="deep 200\n")
def long_path(bench: Bench) -> Image:
    """A path of three thousand bytes: a name over 255 does not fit into a tar's header, nor with a prefix."""
    script = "cd /; while cd deep*; do :; done 2>/dev/null; cat file; basename \"$(pwd)\" | tr -d '\\n' | wc -c"
    return says(bench.box.append(bench.layer({f"{DEEP}/file": "deep "}), history="deep"), script)


@real(said="squashed\n")
def squashed(bench: Bench) -> Image:
    """All of three layers in one."""
    layers = [bench.layer({"s/a": "x", "s/b": "squashed\n"}), bench.layer({"s/.wh.a": b"", "s/c": hard("s/b")}, pax=True)]
    image = bench.box.append(layers[0], bench.layer({"s/.wh.a": b"", "s/d": ""}), history=[History("1"), History("2")])
    return says(image, "cat /s/b; [ ! -e /s/a ]").flatten(blobs=bench.blobs)


@real(said="amd64\n")
def two_platforms(bench: Bench) -> Index:
    """An index: for this machine, and for another."""
    images = []
    for name in ("arm64", "amd64"):
        image = bench.box.append(bench.layer({"platform": f"{name}\n"}), history=name)
        images.append(says(image, "cat /platform").with_platform(f"linux/{name}"))
    return Index.of(images)


@real(said="pnpm store\n")
def through_links(bench: Bench) -> Image:
    """Entries whose path leads through a link of the same layer, as pnpm's and nix's trees have them, and links that lead nowhere."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as out:
        for name in ("store", "store/pkg", "modules"):
            out.addfile(info(name, tarfile.DIRTYPE, 0o755))
        out.addfile(info("modules/pkg", tarfile.SYMTYPE, 0o777, linkname="../store/pkg"))
        out.addfile(info("modules/pkg/file", size=11), io.BytesIO(b"pnpm store\n"))
        out.addfile(info("dangling", tarfile.SYMTYPE, 0o777, linkname="/no/where"))
        out.addfile(info("loop", tarfile.SYMTYPE, 0o777, linkname="loop"))
        out.addfile(info("climbs", tarfile.SYMTYPE, 0o777, linkname="../../../etc/passwd"))
    return says(bench.box.append(bench.packed(tar.getvalue()), history="links"), "cat /store/pkg/file")
