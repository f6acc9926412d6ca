"""The sockets of Python's C module: `socket` is a layer over it that makes enums of 300 constants whenever it is loaded."""

from __future__ import annotations

try:
    from _socket import (
        AF_INET,
        AF_UNIX,
        CMSG_LEN,
        MSG_CMSG_CLOEXEC,
        MSG_NOSIGNAL,
        SO_PASSCRED,
        SOCK_CLOEXEC,
        SOCK_DGRAM,
        SOCK_SEQPACKET,
        SOCK_STREAM,
        SOL_SOCKET,
        socket,
        socketpair,
    )
except ImportError:  # another Python than CPython
    from socket import (  # type: ignore[assignment]
        AF_INET,
        AF_UNIX,
        CMSG_LEN,
        MSG_CMSG_CLOEXEC,
        MSG_NOSIGNAL,
        SO_PASSCRED,
        SOCK_CLOEXEC,
        SOCK_DGRAM,
        SOCK_SEQPACKET,
        SOCK_STREAM,
        SOL_SOCKET,
        socket,
        socketpair,
    )

__all__ = [
    "AF_INET", "AF_UNIX", "CMSG_LEN", "MSG_CMSG_CLOEXEC", "MSG_NOSIGNAL", "SOCK_CLOEXEC", "SOCK_DGRAM", "SOCK_SEQPACKET", "SOCK_STREAM",
    "SOL_SOCKET", "SO_PASSCRED", "socket", "socketpair",
]  # fmt: skip
