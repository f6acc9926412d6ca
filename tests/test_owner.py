"""Records and their owners: while its owner lives, a record has that owner at every moment, and no other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import containerkit as ck
from containerkit.base.frozen import replace
from containerkit.state import journal, locks, owner
from containerkit.state.owner import Identity, Record
from containerkit.state.scratch import Scratch
from containerkit.state.sweeping import sweep


def made(path: Path) -> Record:
    record = Record.make(str(path))
    assert record
    return record


@contextlib.contextmanager
def process(work: Callable[[], object]) -> Iterator[int]:
    """A fork that does some work and then waits for its end, which is SIGKILL."""
    ready, told = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(ready)
        try:
            work()
            os.write(told, b".")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(told)
    try:
        assert os.read(ready, 1) == b"."
        yield pid
    finally:
        os.close(ready)
        kill(pid)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# Who owns a record ----------------------------------------------------------------------------------------------


def test_a_living_owner_keeps_it_and_a_dead_one_loses_it(tmp_path: Path) -> None:
    path = str(tmp_path / "record")
    kept: list[Record | None] = []
    with process(lambda: kept.append(Record.make(path))) as pid:
        assert owner.is_owned(path)
        assert Record.take(path) is None
        kill(pid)
        assert not owner.is_owned(path)
        taken = Record.take(path)
        assert taken
        assert Record.take(path) is None, "the sweeper is its owner now"
        taken.remove()
    assert not os.path.exists(path)


def test_a_second_open_file_of_the_same_process_is_a_stranger(tmp_path: Path) -> None:
    record = made(tmp_path / "record")
    assert Record.take(record.name) is None
    record.let_go()
    taken = Record.take(record.name)
    assert taken
    taken.remove()


def test_a_fork_of_the_owner_does_not_own_it(tmp_path: Path) -> None:
    record = made(tmp_path / "record")
    with process(lambda: None):
        record.let_go()
        taken = Record.take(str(tmp_path / "record"))
        assert taken, "the fork still held it"
        taken.remove()


def test_what_a_sweeper_has_not_finished_is_the_next_one_s(tmp_path: Path) -> None:
    path, kept = str(tmp_path / "record"), list[Record | None]()
    made(tmp_path / "record").let_go()
    with process(lambda: kept.append(Record.take(path))) as sweeper:
        assert Record.take(path) is None
        kill(sweeper)
        taken = Record.take(path)
        assert taken
        taken.remove()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_record_that_others_may_write_to_is_not_trusted(mode: int, tmp_path: Path) -> None:
    record = made(tmp_path / "record")
    record.let_go()
    os.chmod(record.name, mode)
    assert Record.take(record.name) is None


@pytest.mark.root
def test_a_record_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    record = made(tmp_path / "record")
    record.let_go()
    os.chown(record.name, 1, 1)
    assert Record.take(record.name) is None


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    record = made(tmp_path / "other")
    record.let_go()
    (tmp_path / "record").symlink_to("other")
    assert Record.take(str(tmp_path / "record")) is None
    os.unlink(tmp_path / "record")
    os.link(tmp_path / "other", tmp_path / "record")
    assert Record.take(str(tmp_path / "record")) is None, "a second name of somebody's file"


def test_a_fifo_in_its_place_stops_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "record", 0o600)
    assert Record.take(str(tmp_path / "record")) is None


def test_a_line_that_was_cut_short_says_nothing(tmp_path: Path) -> None:
    record = made(tmp_path / "record")
    record.write("one", 1)
    os.write(record.fd, b'["two", 2')
    assert list(record.lines()) == [["one", 1]]
    record.remove()


# Processes ------------------------------------------------------------------------------------------------------


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_a_line_is_what_json_makes_of_it(value: object) -> None:
    assert owner._json(value) == json.dumps(value)


def test_a_process_is_told_from_another_that_has_its_number() -> None:
    own = Identity.of()
    assert own
    assert own.alive
    assert Identity.parse(str(own)) == own
    assert not replace(own, started=own.started + 1).alive, "the number came again"
    assert not replace(own, boot="another").alive
    with process(lambda: None) as pid:
        other = Identity.of(pid)
        assert other
        assert other.alive
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert not other.alive, "not collected yet, but dead"


def test_the_names_of_version_0_1_are_understood() -> None:
    own = Identity.of()
    assert own
    assert Identity.parse(f"{own.pid} {own.started}") == own
    assert Identity.parse("") is None
    assert Identity.parse("no process") is None


# Handing on -----------------------------------------------------------------------------------------------------


def test_it_is_not_handed_to_nobody(tmp_path: Path) -> None:
    record, own = made(tmp_path / "record"), Identity.of()
    assert own
    (tmp_path / "alive").touch(0o600)
    for nobody in (replace(own, started=1), str(tmp_path / "alive"), str(tmp_path / "missing")):
        with pytest.raises(ck.LayerError, match="new owner of the record does not live"):
            record.hand_to(nobody)
        assert owner.is_owned(record.name)
    record.remove()


def test_it_is_taken_over_by_the_one_it_was_handed_to(tmp_path: Path) -> None:
    record, own = made(tmp_path / "record"), Identity.of()
    assert own
    record.write("text")
    record.hand_to(own)
    assert owner.is_owned(record.name)
    assert Record.take(record.name) is None
    with pytest.raises(ck.LayerError, match="was not handed"):
        Record.receive(record.name, replace(own, started=1))
    again = Record.receive(record.name, own)
    assert list(again.lines()) == [["text"]]
    again.remove()


def test_a_process_that_inherits_the_descriptor_owns_it_too(tmp_path: Path) -> None:
    """As a container's monitor does, which is not Python."""
    record = made(tmp_path / "record")
    with subprocess.Popen(["sleep", "60"], pass_fds=[record.fd]) as monitor:
        record.let_go()
        assert owner.is_owned(record.name)
        assert Record.take(record.name) is None
        monitor.kill()
    taken = Record.take(record.name)
    assert taken
    taken.remove()


class Owners:
    """Two owners that hand one record to and fro, by every way there is."""

    def __init__(self, directory: Path) -> None:
        self.name, self.directory = str(directory / "record"), directory
        self.record: Record | None = made(directory / "record")
        self.named: Identity | str | None = None

    def back(self) -> Record:
        """This process owns it again."""
        if self.record is None:
            assert self.named is not None
            self.record, self.named = Record.receive(self.name, self.named), None
        return self.record

    def by_process(self) -> None:
        self.named = Identity.of()
        assert self.named
        self.back_if_needed().hand_to(self.named)
        self.record = None

    def back_if_needed(self) -> Record:
        assert self.record
        return self.record

    def by_lock(self) -> None:
        self.named = str(self.directory / "alive")
        self.back_if_needed().hand_to(self.named)
        self.record = None

    def by_socket(self) -> None:
        """The descriptor is sent, as to a process that was not there when it was opened."""
        record = self.back_if_needed()
        left, right = socket.socketpair()
        with left, right:
            socket.send_fds(left, [b"."], [record.fd])
            record.let_go()
            _, (fd,), _, _ = socket.recv_fds(right, 1, 1)
            os.set_inheritable(fd, False)
        self.record = Record(fd, self.name)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ways=st.lists(st.sampled_from(["process", "lock", "socket"]), min_size=1, max_size=30))
def test_no_sweeper_finds_it_ownerless_while_it_is_handed_on(ways: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("handover")
    alive = os.open(directory / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    assert locks.hold(alive)
    owners, stop, caught = Owners(directory), threading.Event(), list[Record]()

    def sweeper() -> None:
        while not stop.is_set():
            if found := Record.take(owners.name):
                caught.append(found)
                return

    threads = [threading.Thread(target=sweeper) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for way in ways:
            owners.back()
            getattr(owners, f"by_{way}")()
            assert owner.is_owned(owners.name)
    finally:
        time.sleep(0.002)
        stop.set()
        for thread in threads:
            thread.join()
        os.close(alive)
    assert not caught
    owners.named = owners.named if owners.record is None else None
    if owners.record:
        owners.record.remove()
    elif isinstance(owners.named, str):
        last = Record.take(owners.name)
        assert last, "its lock's holder is gone"
        last.remove()
    else:
        owners.back().remove()


def locker(path: Path) -> Callable[[], object]:
    """Hold a lock, as a container's monitor does for as long as it lives."""

    def hold() -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        assert locks.hold(fd)

    return hold


def test_what_a_starter_has_made_is_its_monitor_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "directory", lambda: str(tmp_path / "journals"))
    alive, made = tmp_path / "alive", list[Scratch]()

    def starter() -> None:
        made.append(Scratch("handed", tmp_path))
        (made[0].path / "file").touch()
        made[0].record.hand_to(alive)
        journal.own().hand_to(alive)

    with process(locker(alive)) as monitor:
        with process(starter):
            pass
        assert sweep() == []
        (left,) = tmp_path.glob("containerkit-handed-*")
        assert (left / "file").exists(), "the starter is dead, and the monitor lives"
        kill(monitor)
    assert sweep() == [str(left)]
    assert not left.exists()
    assert [*journal.journals()] == []


@pytest.mark.timeout(60)
def test_processes_that_hand_one_on_while_others_sweep(tmp_path: Path) -> None:
    """A monitor after the other takes over and hands back; sweepers in processes of their own look all the time."""
    path, source = str(tmp_path / "record"), tmp_path / "swept"
    record = made(tmp_path / "record")

    def sweeper() -> None:
        while True:
            if Record.take(path):
                source.touch()

    sweepers = []
    for _ in range(2):
        if not (pid := os.fork()):
            try:
                sweeper()
            finally:
                os._exit(1)
        sweepers.append(pid)
    try:
        for _ in range(50):
            with process(locker(tmp_path / "alive")):
                record.hand_to(tmp_path / "alive")
                time.sleep(0.001)
                # and back, as to the process that ends a container when its monitor says so
                record = Record.receive(path, str(tmp_path / "alive"))
            assert not source.exists()
        assert owner.is_owned(path)
    finally:
        for pid in sweepers:
            kill(pid)
    record.remove()
