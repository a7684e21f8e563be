"""A pytest plugin: one JSON line for each test, written as soon as it ends, to the file of `--outcomes`.

Not pytest's own JUnit file: that is written at the end, which a run that hangs or is cut does not reach.
"""

from __future__ import annotations

import json
from typing import Any

_TAIL = 2000


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--outcomes", help="the file to write")
    parser.addoption("--no-pool", action="store_true", help="an allocation of CUDA for each array, for sanitizers")


def pytest_configure(config: Any) -> None:
    config.pluginmanager.register(Outcomes(config.getoption("--outcomes")))
    if config.getoption("--no-pool"):
        import cupy

        cupy.cuda.set_allocator(None)


class Outcomes:
    """Writes how many tests were selected, which one runs, and how each ended."""

    def __init__(self, path: str) -> None:
        self._path, self._left_out = path, 0

    def _write(self, **record: Any) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def pytest_deselected(self, items: list[Any]) -> None:
        self._left_out += len(items)

    def pytest_collection_finish(self, session: Any) -> None:
        self._write(selected=len(session.items), left_out=self._left_out)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(running=nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Of setup and teardown only what went wrong, or a skip."""
        if report.when == "call" or report.outcome != "passed":
            self._write_outcome(report, **dict(report.user_properties))

    def pytest_collectreport(self, report: Any) -> None:
        """A file that fails to import would otherwise just have no tests."""
        if report.outcome == "failed":
            self._write_outcome(report)

    def _write_outcome(self, report: Any, **properties: Any) -> None:
        if report.outcome != "passed":
            properties["message"] = (report.longreprtext or str(report.longrepr))[-_TAIL:]
        self._write(id=report.nodeid, outcome=report.outcome, **properties)

    def pytest_sessionfinish(self) -> None:
        self._write(finished=True)
