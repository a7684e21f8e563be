"""A pytest plugin: one JSON line a test, written as soon as it is done, to the file that GPU_CHECK_OUTCOMES names.

Of all tests those that run on the GPU are left, by their ids; `pytest` runs the others on any machine.

Not pytest's own JUnit file: that is written at the end, which a run that hangs or is cut does not reach.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

_TAIL = 2000
_GPU = re.compile(r"\[(.*-)?cuda(-|,|\])")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave the tests on the GPU, and write how many they are."""
    others = [item for item in items if not _GPU.search(item.nodeid)]
    items[:] = [item for item in items if _GPU.search(item.nodeid)]
    config.hook.pytest_deselected(items=others)
    _write({"selected": len(items), "need_no_gpu": len(others)})


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
