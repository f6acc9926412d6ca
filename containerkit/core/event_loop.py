"""Pipes in an event loop: the loop itself waits for them, and reads and writes one piece at a time."""

from __future__ import annotations

import asyncio
import os
from typing import IO

from .conversation import PIECE, Conversation

__all__ = ["converse", "piece", "until_ready"]


async def converse(conversation: Conversation) -> None:
    """Do what `Conversation.run` does in the event loop: one piece of each stream in a turn."""
    loop, done, failures = asyncio.get_running_loop(), asyncio.Event(), list[Exception]()

    def ready(fd: int) -> None:
        try:
            if conversation.ready(fd):
                forget(fd)
                conversation.finish(fd)
        except Exception as error:
            failures.append(error)
        if failures or not conversation.streams():
            done.set()

    def forget(fd: int) -> None:
        loop.remove_reader(fd)
        loop.remove_writer(fd)

    conversation.begin()
    try:
        for fd, writes in conversation.streams().items():
            (loop.add_writer if writes else loop.add_reader)(fd, ready, fd)
        if conversation.streams():
            await done.wait()
    finally:
        for fd in conversation.streams():
            forget(fd)
    if failures:
        raise failures[0]


async def until_ready(fd: int, *, writes: bool = False) -> None:
    """Wait until a descriptor can be read, or written."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    (loop.add_writer if writes else loop.add_reader)(fd, ready.set)
    try:
        await ready.wait()
    finally:
        (loop.remove_writer if writes else loop.remove_reader)(fd)


async def piece(reader: IO[bytes]) -> bytes:
    """Return the next bytes of a pipe; b"" at its end.  Bytes that a buffer has read ahead come first."""
    if reader.closed:
        return b""
    os.set_blocking(reader.fileno(), False)
    if not reader.peek():  # type: ignore[attr-defined]
        await until_ready(reader.fileno())
    else:
        await asyncio.sleep(0)  # a program that never pauses must not keep the loop
    return reader.read1(PIECE)  # type: ignore[attr-defined,no-any-return]
