"""The sockets of Python's C module: `socket` is a layer over it that makes enums of 300 constants whenever it is loaded."""

from __future__ import annotations

try:
    from _socket import AF_INET as AF_INET
    from _socket import AF_UNIX as AF_UNIX
    from _socket import CMSG_LEN as CMSG_LEN
    from _socket import MSG_CMSG_CLOEXEC as MSG_CMSG_CLOEXEC
    from _socket import MSG_NOSIGNAL as MSG_NOSIGNAL
    from _socket import SO_PASSCRED as SO_PASSCRED
    from _socket import SOCK_CLOEXEC as SOCK_CLOEXEC
    from _socket import SOCK_DGRAM as SOCK_DGRAM
    from _socket import SOCK_SEQPACKET as SOCK_SEQPACKET
    from _socket import SOCK_STREAM as SOCK_STREAM
    from _socket import SOL_SOCKET as SOL_SOCKET
    from _socket import socket as socket
    from _socket import socketpair as socketpair
except ImportError:  # another Python than CPython
    from socket import AF_INET as AF_INET
    from socket import AF_UNIX as AF_UNIX
    from socket import CMSG_LEN as CMSG_LEN
    from socket import MSG_CMSG_CLOEXEC as MSG_CMSG_CLOEXEC
    from socket import MSG_NOSIGNAL as MSG_NOSIGNAL
    from socket import SO_PASSCRED as SO_PASSCRED
    from socket import SOCK_CLOEXEC as SOCK_CLOEXEC
    from socket import SOCK_DGRAM as SOCK_DGRAM
    from socket import SOCK_SEQPACKET as SOCK_SEQPACKET
    from socket import SOCK_STREAM as SOCK_STREAM
    from socket import SOL_SOCKET as SOL_SOCKET
    from socket import socket as socket  # type: ignore[assignment]
    from socket import socketpair as socketpair
