"""Credentials in the files of docker and podman, and helper programs that really run."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from registries import Reply, scripted

from containerkit.registry import Login, login, logout
from containerkit.registry.credentials import Keyring, files
from containerkit.registry.errors import CredentialsError, Unauthorized

HELPER = """#!/bin/sh
# A helper that keeps its passwords in files beside it.
cd "$(dirname "$0")/kept" || exit 2
case $1 in
store)
    input=$(cat); echo "$input" > last
    server=$(echo "$input" | tr '{,' '\\n\\n' | sed -n 's/"ServerURL":"\\(.*\\)"/\\1/p' | tr / _)
    echo '{"Username":"stored","Secret":"by helper"}' > "$server" ;;
get) name=$(cat | tr / _); if [ -f "$name" ]; then cat "$name"; else echo "credentials not found in native keychain"; exit 1; fi ;;
erase) rm "$(cat | tr / _)" ;;
esac
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty home directory and no settings."""
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def auth(name: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:{password}".encode()).decode()}


def write(path: Path, **content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def helper(home: Path, monkeypatch: pytest.MonkeyPatch, name: str = "test", script: str = HELPER) -> Path:
    bin = home / "bin"
    (bin / "kept").mkdir(parents=True, exist_ok=True)
    program = bin / f"docker-credential-{name}"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    return bin / "kept"


def test_files_are_read_in_the_documented_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    podman = (home / "run/containers/auth.json", home / ".config/containers/auth.json")
    assert files() == (*podman, home / ".docker/config.json")
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "d"))
    assert files() == (home / "d/config.json", *podman)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "only"))
    assert files() == (home / "only",)


def test_the_first_file_that_has_an_answer_counts(home: Path) -> None:
    assert Keyring().find("example.com") == Login()
    write(home / ".docker/config.json", auths={"example.com": auth("docker", "1"), "other.com": auth("o", "2")})
    write(home / "run/containers/auth.json", auths={"example.com": auth("podman", "3")})
    assert Keyring().find("example.com") == Login("podman", "3")
    assert Keyring().find("other.com") == Login("o", "2")
    assert Keyring(home / ".docker/config.json").find("example.com") == Login("docker", "1")


@pytest.mark.parametrize("key", ["docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_many_names(home: Path, key: str) -> None:
    write(home / ".docker/config.json", auths={key: auth("hub", "1")})
    assert Keyring().find("docker.io", "library/nginx") == Login("hub", "1")
    assert not Keyring().find("example.com")


def test_the_longest_key_counts(home: Path) -> None:
    keys = {"a.com:5000": "host", "a.com:5000/team": "team", "a.com:5000/team/app": "app", "https://b.com/v2/": "url"}
    write(home / ".config/containers/auth.json", auths={key: auth(name, "x") for key, name in keys.items()})
    found = {name: Keyring().find("a.com:5000", name).username for name in ("x", "team", "team/b", "team/app", "team/app/c", "teams")}
    assert found == {"x": "host", "team": "team", "team/b": "team", "team/app": "app", "team/app/c": "app", "teams": "host"}
    assert Keyring().find("b.com").username == "url"
    assert not Keyring().find("a.com")


@pytest.mark.parametrize(
    "key",
    ["a.com:5000/", "https://a.com:5000", "http://a.com:5000/v1/", "https://a.com:5000/v2/", "a.com:5000/v1/", "a.com:5000/v2",
     "A.COM:5000", "HTTPS://A.com:5000/"],
)  # fmt: skip
def test_spellings_of_a_key(home: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    write(home / ".docker/config.json", auths={key: auth("me", "1")})
    assert Keyring().find("a.com:5000", "team/app") == Login("me", "1")
    assert not Keyring().find("a.com", "team/app")
    assert logout("a.com:5000")
    kept = helper(home, monkeypatch)
    (kept / "a.com:5000").write_text('{"Username":"me","Secret":"from helper"}')
    write(home / ".docker/config.json", credHelpers={key: "test"})
    assert Keyring().find("a.com:5000", "team/app") == Login("me", "from helper")


@pytest.mark.parametrize("key", ["docker.io", "https://index.docker.io/v1/", "https://index.docker.io/v1", "index.docker.io/v1/"])
def test_a_helper_for_docker_hub(home: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    kept = helper(home, monkeypatch)
    (kept / "https:__index.docker.io_v1_").write_text('{"Username":"hub","Secret":"h"}')
    write(home / ".docker/config.json", credHelpers={key: "test"})
    assert Keyring().find("docker.io", "library/x") == Login("hub", "h")


def test_null_means_none_as_in_go(home: Path) -> None:
    write(home / ".docker/config.json", auths={"a.com": None, "b.com": auth("me", "1")}, credHelpers={"b.com": None})
    assert not Keyring().find("a.com")
    assert Keyring().find("b.com").username == "me"


def test_the_plain_spelling_of_a_key_counts(home: Path) -> None:
    write(home / ".docker/config.json", auths={"https://a.com/v1/": auth("old", "1"), "a.com": auth("new", "2")})
    assert Keyring().find("a.com").username == "new"
    write(home / ".docker/config.json", auths={"a.com/team/": auth("team", "1"), "*.com": auth("star", "2")})
    assert Keyring().find("a.com", "team/x").username == "team"
    assert not Keyring().find("a.com", "other"), "no wildcards, as in docker and podman"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_base64_may_have_line_breaks(home: Path, end: str) -> None:
    entry = {"auth": end.join([auth("me", "secret")["auth"][:5], auth("me", "secret")["auth"][5:], ""])}
    write(home / ".docker/config.json", auths={"a.com": entry})
    assert Keyring().find("a.com") == Login("me", "secret")


def test_kinds_of_entries(home: Path) -> None:
    entries = {
        "a.com": {"username": "me", "password": "pa:ss"},
        "b.com": {**auth("0-0", ""), "identitytoken": "idt"},
        "c.com": {"registrytoken": "bearer"},
        "d.com": auth("me", "with:colon"),
    }
    write(home / ".docker/config.json", auths=entries, credsStore="", HttpHeaders={"x": "y"})
    assert Keyring().find("a.com") == Login("me", "pa:ss")
    assert Keyring().find("b.com").identity_token == "idt"
    assert Keyring().find("c.com").registry_token == "bearer"
    assert Keyring().find("d.com").password == "with:colon"


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", '{"auths": []}', '{"auths": {"a.com": 7}}', '{"auths": {"a.com": {"auth": "***"}}}', '{"auths": {}, "auths": {}}',
        '{"auths": {"a.com": {"auth": "YQ=="}}}', '{"auths": {"a.com": {"auth": 7}}}', '{"credHelpers": {"a.com": 7}}',
        '{"credsStore": {}}', "x" * (1 << 20) + "x",
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(home: Path, content: str) -> None:
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text(content)
    with pytest.raises(CredentialsError, match=r"config\.json"):
        Keyring().find("a.com")


# --- helper programs ----------------------------------------------------------------------------------------------


def test_helpers_come_before_stored_passwords(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = helper(home, monkeypatch)
    (kept / "a.com").write_text('{"ServerURL":"a.com","Username":"me","Secret":"from helper"}')
    (kept / "b.com").write_text('{"Username":"<token>","Secret":"idt"}')
    (kept / "https:__index.docker.io_v1_").write_text('{"Username":"hub","Secret":"h"}')
    write(home / ".docker/config.json", auths={"a.com": auth("x", "y"), "c.com": auth("written", "down")}, credsStore="test")
    assert Keyring().find("a.com") == Login("me", "from helper")
    assert Keyring().find("b.com") == Login(identity_token="idt")
    assert Keyring().find("docker.io") == Login("hub", "h")
    assert Keyring().find("c.com") == Login("written", "down")  # the helper reports that it has none
    write(home / ".docker/config.json", auths={}, credHelpers={"a.com": "test"})
    assert Keyring().find("a.com").username == "me"
    assert not Keyring().find("b.com")


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("#!/bin/sh\necho locked; exit 1", "exit code 1: locked"),
        ("#!/bin/sh\nprintf 'red\\033[31m'; exit 1", r"exit code 1: red\?\[31m"),
        ("#!/bin/sh\necho nonsense", "docker-credential-bad get"),
        ("#!/bin/sh\necho '{\"Username\": 1}'", "Username"),
        ("#!/no/such/interpreter\n", "docker-credential-bad"),
    ],
)
def test_a_helper_that_fails_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch, script: str, text: str) -> None:
    helper(home, monkeypatch, "bad", script)
    write(home / ".docker/config.json", credsStore="bad")
    with pytest.raises(CredentialsError, match=text):
        Keyring().find("a.com")


@pytest.mark.parametrize("name", ["missing-one", "../evil", "a b", "", "-x"])
def test_only_names_of_helpers_are_run(home: Path, name: str) -> None:
    write(home / ".docker/config.json", credHelpers={"a.com": name})
    with pytest.raises(CredentialsError):
        Keyring().find("a.com")


# --- logging in ---------------------------------------------------------------------------------------------------


def right(request: Any) -> Reply:
    good = request.headers.get("authorization") == "Basic " + auth("me", "secret")["auth"]
    return Reply() if good else Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})


def test_a_password_is_kept_once_the_registry_took_it(home: Path) -> None:
    old = {"auths": {"other.com": auth("o", "1")}, "HttpHeaders": {"x": "y"}}
    path = write(home / ".docker/config.json", **old)
    path.chmod(0o644)
    with scripted(right) as script:
        with pytest.raises(Unauthorized):
            login(script.host, "me", "wrong", plain_http=True)
        assert json.loads(path.read_text()) == old
        assert login(script.host, "me", "secret", plain_http=True) == path
    assert json.loads(path.read_text()) == old | {"auths": {**old["auths"], script.host: auth("me", "secret")}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["config.json"]
    assert Keyring().find(script.host) == Login("me", "secret")
    assert logout(script.host)
    assert not logout(script.host)
    assert json.loads(path.read_text()) == old


def test_a_password_is_stored_in_the_documented_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "real").mkdir()
    (home / "link.json").symlink_to(home / "real/auth.json")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "link.json"))
    with scripted(right) as script:
        login(script.host, "me", "secret", plain_http=True)
        assert (home / "link.json").is_symlink()
        assert json.loads((home / "real/auth.json").read_text())["auths"] == {script.host: auth("me", "secret")}
        login(script.host, "me", "secret", path=home / "new/dir/auth.json", plain_http=True)
    assert stat.S_IMODE((home / "new/dir").stat().st_mode) == 0o700


def test_a_helper_stores_the_password_if_the_file_names_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = helper(home, monkeypatch)
    path = write(home / ".docker/config.json", credsStore="test")
    with scripted(right) as script:
        login(script.host, "me", "secret", plain_http=True)
        assert json.loads((kept / "last").read_text()) == {"ServerURL": script.host, "Username": "me", "Secret": "secret"}
        assert json.loads(path.read_text())["auths"] == {script.host: {}}
        assert "secret" not in path.read_text()
        assert Keyring().find(script.host) == Login("stored", "by helper")
        assert logout(script.host)
    assert os.listdir(kept) == ["last"]
    assert json.loads(path.read_text())["auths"] == {}


def test_a_malformed_file_is_not_overwritten(home: Path) -> None:
    path = home / ".docker/config.json"
    path.parent.mkdir()
    path.write_text("{ by hand, and wrong")
    with scripted(right) as script, pytest.raises(CredentialsError, match=r"config\.json"):
        login(script.host, "me", "secret", plain_http=True)
    assert path.read_text() == "{ by hand, and wrong"


def test_a_name_with_a_colon_is_refused_before_it_is_sent(home: Path) -> None:
    """With a colon in the name, the end of the name and the beginning of the password are ambiguous."""
    with scripted(lambda request: Reply(200)) as script:
        with pytest.raises(CredentialsError, match="colon"):
            login(script.host, "me:you", "secret", plain_http=True)
        assert script.requests == []


def test_a_file_that_may_not_be_looked_at_is_an_error_of_logout(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = home / "loop"
    loop.symlink_to(loop)
    for place in (loop, home / ("x" * 300)):
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(place / "auth.json"))
        with pytest.raises(CredentialsError, match=place.name[:20]):
            logout("example.com")
