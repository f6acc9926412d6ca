"""Credential helpers: programs called docker-credential-NAME that keep passwords.  They speak JSON over pipes.

:see: https://github.com/docker/docker-credential-helpers
"""

from __future__ import annotations

import re

from ..image.documents import Fields, dump, parse
from ..image.errors import ImageError
from .errors import CredentialsError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

__all__ = ["erase", "get", "store"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
SECONDS = 60
LIMIT = 64 << 10
NOTHING = "credentials not found"  # the beginning of every helper's message that it has no credentials


def get(helper: str, server: str) -> tuple[str, str] | None:
    """Return name and password, or None if the helper has none.

    :raises CredentialsError: there is no such helper, it fails, or its answer is malformed
    """
    done = _run(helper, "get", server.encode())
    if done.returncode != 0:
        if NOTHING in _said(done):
            return None
        raise _failure(helper, "get", done)
    try:
        fields = Fields(parse(done.stdout, f"docker-credential-{helper} get", limit=LIMIT), f"docker-credential-{helper} get")
        return fields.text("Username"), fields.text("Secret")
    except ImageError as error:
        raise CredentialsError(str(error)) from error


def store(helper: str, server: str, username: str, secret: str) -> None:
    """Store a password.  :raises CredentialsError: the helper fails"""
    _succeed(helper, "store", dump({"ServerURL": server, "Username": username, "Secret": secret}))


def erase(helper: str, server: str) -> bool:
    """Erase a password.  Return whether there was one.  :raises CredentialsError: the helper fails"""
    if get(helper, server) is None:
        return False
    _succeed(helper, "erase", server.encode())
    return True


def _succeed(helper: str, action: str, data: bytes) -> None:
    done = _run(helper, action, data)
    if done.returncode != 0:
        raise _failure(helper, action, done)


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return printable((done.stdout + done.stderr)[:300].decode(errors="replace").strip())


def _failure(helper: str, action: str, done: subprocess.CompletedProcess[bytes]) -> CredentialsError:
    return CredentialsError(f"docker-credential-{helper} {action}: exit code {done.returncode}: {_said(done)}")


def _run(helper: str, action: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run a helper without a shell and without a path: only a name that is looked up in PATH."""
    import subprocess

    if not NAME.fullmatch(helper):
        raise CredentialsError(f"{helper[:100]!r} is not the name of a credential helper")
    program = f"docker-credential-{helper}"
    try:
        return subprocess.run([program, action], input=data, capture_output=True, timeout=SECONDS)
    except FileNotFoundError:
        raise CredentialsError(f"there is no program {program} in PATH, which the configuration names") from None
    except subprocess.TimeoutExpired:
        raise CredentialsError(f"{program} {action}: no answer in {SECONDS} s") from None
    except OSError as error:
        raise CredentialsError(f"{program}: {error.strerror}") from error
