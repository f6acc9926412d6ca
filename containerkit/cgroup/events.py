"""Events: the changes of a group as they happen, for `for` and for `async for`.

The kernel wakes us: on v2 by inotify(7) on the events files, for v1's memory by an eventfd(2) that cgroup.event_control
registers.  Nothing is polled.  A number that the kernel counts without waking a process (v1's pids.events) is no event here.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType

from ..base.frozen import frozen
from ..base.pickling import OneProcess
from ..linux.cgroupfs import read_file
from ..linux.native import extension, number
from .driver import Deadline, put
from .stats import flat

__all__ = ["Event", "Events", "Source"]

IN_MODIFY, IN_DELETE, IN_Q_OVERFLOW = 0x2, 0x200, 0x4000
IN_CLOEXEC = os.O_CLOEXEC | os.O_NONBLOCK


@frozen
class Event:
    """One change of a group.

    :ivar name: "oom", "oom_kill", "max", "high", "low", "pids", "populated", "frozen", ...
    :ivar value: how often it has happened since the group was made; for "populated" and "frozen" the state, 0 or 1.  Two changes within
        milliseconds may be reported as one
    """

    name: str
    value: int


@frozen
class Source:
    """A file whose changes are events.

    :ivar names: key in the file -> name of the event; None: each key is the name
    :ivar oom: the file is v1's memory.oom_control, which needs an eventfd
    """

    path: str
    names: Mapping[str, str] | None = None
    oom: bool = False

    def values(self) -> dict[str, int]:
        """Return the file's numbers now; none once the group is gone."""
        try:
            found = flat(read_file(self.path))
        except OSError:
            return {}
        return found if self.names is None else {name: found[key] for key, name in self.names.items() if key in found}


class Events(OneProcess):
    """The events of one group, from now on.  A context manager; the iteration ends when the group is removed.

    ``for event in events`` waits; ``async for event in events`` lets other tasks run; `poll` waits for a limited time.
    """

    stays = "its descriptors are open in this process alone"

    def __init__(self, group: str, sources: list[Source], wanted: frozenset[str]) -> None:
        self._group, self._wanted, self._ended = group, wanted, False
        self._queue: deque[Event] = deque()
        self._all = select.epoll()
        self._inotify = _inotify()
        self._eventfd, self._ooms = -1, 0
        self._all.register(self._inotify, select.EPOLLIN)
        self._watched: dict[int, Source] = {}
        _watch(self._inotify, os.path.dirname(group), IN_DELETE)
        for source in sources:
            self._add(source)
        self._known = {source.path: source.values() for source in sources}

    def _add(self, source: Source) -> None:
        if not source.oom:
            self._watched[_watch(self._inotify, source.path, IN_MODIFY)] = source
            return
        self._source, self._eventfd = source, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        control = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            put(os.path.dirname(source.path), "cgroup.event_control", f"{self._eventfd} {control}")
        finally:
            os.close(control)
        self._all.register(self._eventfd, select.EPOLLIN)

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be an event, for the caller's own poller."""
        return self._all.fileno()

    def poll(self, timeout: float | None = None) -> list[Event]:
        """Return the events since the last call, after waiting for one.

        Return none when `timeout` seconds are up, and none when the group is removed.
        """
        deadline = Deadline(timeout)
        while not self._queue and not self._ended:
            left = deadline.left
            if not self._all.poll(left) and deadline.over:
                break
            self._take()
        found = list(self._queue)
        self._queue.clear()
        return found

    def _take(self) -> None:
        """Read the descriptors that woke us, and queue the events."""
        if self._eventfd >= 0:
            with contextlib.suppress(BlockingIOError):
                self._ooms += os.eventfd_read(self._eventfd)
                if os.path.exists(self._source.path):  # the kernel signals once more when the group is removed
                    self._put("oom", self._ooms)
                    self._await_kill()
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._inotify, 65536)
            for source in self._changed(data):
                self._compare(source)

    def _await_kill(self) -> None:
        """Wait for the count of kills: v1 reports that memory ran out just before it kills, and reports nothing afterwards."""
        for pause in (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032):
            if self._compare(self._source):
                return
            time.sleep(pause)

    def _changed(self, data: bytes) -> Iterator[Source]:
        at, found = 0, {}
        while at < len(data):
            watch, mask, _, length = struct.unpack_from("iIII", data, at)
            name = data[at + 16 : at + 16 + length].rstrip(b"\0")
            at += 16 + length
            if mask & IN_Q_OVERFLOW:
                found = dict(self._watched)
            elif watch in self._watched:
                found[watch] = self._watched[watch]
            elif mask & IN_DELETE and name == os.fsencode(os.path.basename(self._group)):
                self._ended, found = True, dict(self._watched)  # the kernel may drop changes that it has not reported yet
        yield from found.values()

    def _compare(self, source: Source) -> bool:
        before, now = self._known[source.path], source.values()
        if not now and before.get("populated"):
            now = {"populated": 0}  # the group is removed, so it holds no process
        changed = [(name, value) for name, value in now.items() if before.get(name) != value]
        if not changed and "populated" in now:
            changed = [("populated", now["populated"])]  # populated and empty again before we looked
        self._known[source.path] = now or before
        for name, value in changed:
            self._put(name, value)
        return bool(changed)

    def _put(self, name: str, value: int) -> None:
        if name in self._wanted:
            self._queue.append(Event(name, value))

    def __iter__(self) -> Iterator[Event]:
        while found := self.poll():
            yield from found

    async def __aiter__(self) -> AsyncIterator[Event]:
        import asyncio  # loading asyncio takes long, and few callers wait this way

        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.fileno(), ready.set)
        try:
            while not self._ended:
                ready.clear()
                for event in self.poll(0):
                    yield event
                if not self._ended:
                    await ready.wait()
        finally:
            loop.remove_reader(self.fileno())

    def close(self) -> None:
        """End the watch."""
        if not self._all.closed:
            self._all.close()
            os.close(self._inotify)
            if self._eventfd >= 0:
                os.close(self._eventfd)
            self._ended = True

    def __enter__(self) -> Events:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_inotify"):
            self.close()


def _inotify() -> int:
    return _raw("inotify_init1", IN_CLOEXEC)


def _watch(fd: int, path: str, mask: int) -> int:
    ffi = extension().ffi
    memory = ffi.new("char[]", os.fsencode(path))
    return _raw("inotify_add_watch", fd, int(ffi.cast("uintptr_t", memory)), mask, about=path)


def _raw(name: str, *values: int, about: str = "") -> int:
    """Make a raw system call.  :raises OSError: the kernel refuses  :see: inotify(7)"""
    trace = extension().ffi.new("struct ck_trace *")
    result = int(extension().lib.ck_call(trace, number(name), *values, *[0] * (6 - len(values))))
    if result < 0:
        raise OSError(-result, f"{name}: {os.strerror(-result)}", about)
    return result
