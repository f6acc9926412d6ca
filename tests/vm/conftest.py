"""Tests marked `vm` run inside guests, one for each kernel, and report here as if they had run here.

On the host each of them becomes one item a kernel: `test_name[6.1]`.  The first item of a kernel boots it; one pytest in
there runs all that were selected, and writes its reports, pytest's own, to a line that leads out of the guest.  A test
without a whole report fails; where no guest can be had it is skipped with the reason.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import guest
import pytest

#: Set inside, to the kernel's series.
INSIDE = os.environ.get("CK_GUEST", "")
SECONDS = 300.0  # for all tests of one kernel
LIMIT = 100.0  # for one test, less than on the host, so that the guest's own report comes first
Data = dict[str, Any]


# Inside ---------------------------------------------------------------------------------------------------------


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Each report is a line for the host."""
    if INSIDE:
        with open("/run/guest/notes", "w") as notes:
            print(json.dumps(CONFIG[0].hook.pytest_report_to_serializable(config=CONFIG[0], report=report)), file=notes)


def pytest_configure(config: pytest.Config) -> None:
    CONFIG.append(config)


CONFIG: list[pytest.Config] = []


# On the host ----------------------------------------------------------------------------------------------------


class GuestRun:
    """The tests of one kernel, run in the order in which the host wants them."""

    def __init__(self, series: str, tests: list[str], root: Path) -> None:
        self.reports: dict[str, list[Data]] = {test: [] for test in tests}
        options = ["-q", "-p", "no:cacheprovider", "-p", "pytest_timeout", f"--timeout={LIMIT}", f"--rootdir={root}"]
        argv = [sys.executable, "-m", "pytest", *options, *(str(root / test) for test in tests)]
        env = {"CK_GUEST": series, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
        self.missing, self.output = "", b""
        self.machine = guest.Machine(argv, kernel=series, seconds=SECONDS, env=env)
        try:
            self.machine.__enter__()
        except guest.Missing as missing:
            self.missing = str(missing)
            return
        self.notes, self.reader = self.machine.notes(), threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        while data := self.machine.output.read1():
            self.output += data

    def of(self, test: str) -> list[Data]:
        """The reports of one test, as soon as all are there; an empty list when they will not come."""
        reports = self.reports.get(test, [])
        while not self.missing and not (reports and reports[-1]["when"] == "teardown"):
            if (line := next(self.notes, None)) is None:
                return []
            data = json.loads(line)
            if data["outcome"] == "skipped" and isinstance(data["longrepr"], list):
                data["longrepr"] = tuple(data["longrepr"])  # JSON knows no tuples
            self.reports.setdefault(data["nodeid"], []).append(data)
        return reports

    def end(self) -> str:
        """How the guest ended, and all that its pytest printed."""
        try:
            how = f"pytest in the guest ended with {self.machine.wait()}"
        except (guest.Died, guest.TimedOut) as error:
            how = str(error)
        self.reader.join()
        return f"{how}\n{self.output.decode(errors='replace')}"

    def close(self) -> None:
        if not self.missing:
            self.machine.stop()
            self.reader.join()
            self.machine.__exit__(None, None, None)


RUNS = pytest.StashKey[dict[str, GuestRun]]()


class GuestItem(pytest.Item):
    """A test that runs in a guest."""

    def __init__(self, *, test: pytest.Item, series: str, **more: Any) -> None:
        super().__init__(**more)
        self.test, self.series = test, series
        self.own_markers, self.keywords = test.own_markers, test.keywords

    def guest_run(self) -> GuestRun:
        runs = self.session.stash.setdefault(RUNS, {})
        if self.series not in runs:
            same = [item.test.nodeid for item in self.session.items if isinstance(item, GuestItem) and item.series == self.series]
            runs[self.series] = GuestRun(self.series, same, self.config.rootpath)
        return runs[self.series]

    def runtest(self) -> None:
        """Only a test without reports gets here."""
        run = self.guest_run()
        if run.missing:
            pytest.skip(f"no guest: {run.missing}")
        pytest.fail(f"no report of this test came from the guest: {run.end()}", pytrace=False)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        path, line, _ = self.test.reportinfo()
        return path, line, self.name


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class) -> Generator[None, Any, Any]:
    """In place of each test marked `vm` one for each kernel."""
    found = yield
    if INSIDE or not isinstance(found, list):
        return found
    return [new for item in found for new in _for_guests(collector, item)]


def _for_guests(collector: pytest.Collector, item: pytest.Item) -> list[pytest.Item]:
    """`@pytest.mark.vm("6.1")` is for that kernel alone, `@pytest.mark.vm` for all."""
    marker = item.get_closest_marker("vm")
    if not marker:
        return [item]
    name, _, parameters = item.name.partition("[")
    named = {series: f"{name}[{series}{'-' if parameters else ']'}{parameters}" for series in marker.args or guest.KERNELS}
    return [GuestItem.from_parent(collector, name=named[series], test=item, series=series) for series in named]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One kernel after the other: two machines at once would slow each other's clocks down."""
    ours = [at for at, item in enumerate(items) if isinstance(item, GuestItem)]
    ordered = sorted((items[at] for at in ours), key=lambda item: list(guest.KERNELS).index(item.series))  # type: ignore[attr-defined]
    for at, item in zip(ours, ordered, strict=True):
        items[at] = item


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """The guest's reports become this item's."""
    if not isinstance(item, GuestItem) or not (reports := item.guest_run().of(item.test.nodeid)):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for data in reports:
        here = {**data, "nodeid": item.nodeid, "location": item.location}
        item.ihook.pytest_runtest_logreport(report=item.config.hook.pytest_report_from_serializable(config=item.config, data=here))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    for run in session.stash.get(RUNS, {}).values():
        run.close()
