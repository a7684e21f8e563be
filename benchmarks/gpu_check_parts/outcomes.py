"""A pytest plugin: one JSON line a test, written as soon as it is done, to the file that GPU_CHECK_OUTCOMES names.

Tests on the GPU come first and those on the CPU executor, which need none, last: where the time is short these are cut.

Not pytest's own JUnit file: that is written at the end, which a run that hangs or is cut does not reach.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

_TAIL = 2000
_GPU, _EXECUTOR = re.compile(r"\[(.*-)?cuda(-|\])"), re.compile(r"\[(.*-)?simt(-|\])|^tests/(simt|kernels|cuda)")


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Put the tests on the GPU first, those on the executor last."""
    items.sort(key=lambda item: 0 if _GPU.search(item.nodeid) else 2 if _EXECUTOR.search(item.nodeid) else 1)


def pytest_runtest_logreport(report: Any) -> None:
    """Write the outcome of a test; of setup and teardown only what went wrong, or a skip."""
    if report.when != "call" and report.outcome == "passed":
        return
    record = {"id": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 3)}
    if report.outcome != "passed":
        record["message"] = report.longreprtext[-_TAIL:] or str(report.longrepr)[-_TAIL:]
    _write(record)


def pytest_collectreport(report: Any) -> None:
    """Write what could not be collected; a file that fails to import would otherwise just have no tests."""
    if report.outcome == "failed":
        _write({"id": report.nodeid, "outcome": "failed", "seconds": 0.0, "message": report.longreprtext[-_TAIL:]})


def pytest_sessionfinish(exitstatus: int) -> None:
    """Write that the run came to its end."""
    _write({"finished": True, "exit_status": int(exitstatus)})


def _write(record: dict[str, Any]) -> None:
    with open(os.environ["GPU_CHECK_OUTCOMES"], "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
