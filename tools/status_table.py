"""Write README's table of what runs where, from the sources and the committed reports of benchmarks/gpu_check.py.

``python tools/status_table.py [--check]``; with ``--check`` nothing is written, and the exit status is 1 where README
says something else. A GPU stands in the table only where a whole check of a clean commit passed on it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- status:begin -->", "<!-- status:end -->"
KIND, FORMAT = "alexnet-cuda gpu check", 2
# A report that lacks one of these is of a part of the check.
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
STAGES = ("build", "environment", "operations", "tests", "digits", "two towers on one GPU", *SANITIZERS)
PRECISIONS = ("float32", "bfloat16", "float16")
PRODUCTS = ("conv2d", "linear")  # which also multiply in tf32

Report = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """Where an operation exists and is run; `name` is the basename of its files."""

    name: str
    numpy: bool
    compiled: bool
    executor: bool


def find_operations(root: Path) -> list[Operation]:
    """Return the operations of `alexnet_cuda.ops`; their own tests run on every backend there is."""
    package, tests = root / "python" / "alexnet_cuda", root / "tests" / "ops"
    simt = '"simt"' in (tests / "backends.py").read_text(encoding="utf-8")
    result = []
    for path in sorted((package / "ops").glob("[!_]*.py")):
        own = tests / f"test_{path.name}"
        executed = simt and own.exists() and "backend: Backend" in own.read_text(encoding="utf-8")
        # Several operations may share a module of a backend.
        modules = {path.stem, *re.findall(r'\bbackend\("(\w+)"', path.read_text(encoding="utf-8"))}
        numpy, compiled = (
            any((package / "backends" / place / f"{module}.py").exists() for module in modules)
            for place in ("cpu", "kernels")
        )
        result.append(Operation(path.stem, numpy, compiled, executed))
    return result


def network_on_executor(root: Path) -> bool:
    """Whether tests run the whole network by the kernels on the CPU."""
    return any('"simt"' in path.read_text(encoding="utf-8") for path in (root / "tests" / "model").glob("test_*.py"))


def committed_reports(root: Path) -> list[Path]:
    """Return the reports that git has, or all where there is no git."""
    pattern = "benchmarks/results/gpu-check-*.json"
    done = subprocess.run(["git", "-C", str(root), "ls-files", pattern], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return sorted(root.glob(pattern))
    return [root / name for name in sorted(done.stdout.split()) if (root / name).exists()]


def latest_reports(paths: Sequence[Path]) -> list[Report]:
    """Return the last report of each GPU, by the GPU's name.

    Raises
    ------
    ValueError
        A file that is not a report of this format.
    """
    latest: dict[str, Report] = {}
    for path in paths:
        report = json.loads(path.read_text(encoding="utf-8"))
        found = (report.get("kind"), report.get("format")) if isinstance(report, dict) else ("", "")
        if found != (KIND, FORMAT):
            raise ValueError(f"{path} is not a report of gpu_check.py: expected {KIND!r}, {FORMAT}, got {found}")
        name = report["gpu"]["name"]
        if name not in latest or report["started"] > latest[name]["started"]:
            latest[name] = report
    return [latest[name] for name in sorted(latest)]


def stage(report: Report, name: str) -> Report:
    """Return the entry of a stage; empty where it is absent."""
    return next((entry for entry in report["stages"] if entry["name"] == name), {})


def shortcomings(report: Report) -> list[str]:
    """Return why a report does not count as passed; nothing where it does. Does not trust its own ``passed``."""
    found = []
    for name in dict.fromkeys([*STAGES, *(entry["name"] for entry in report["stages"])]):
        status = stage(report, name).get("status", "absent")
        if status != "passed":
            reason = " ".join(stage(report, name).get("reason", "").split())
            found.append(f"{name} {status}" + (f" ({reason[:80].replace('|', '/')})" if reason else ""))
    if not found and report.get("passed") is not True:
        found.append("the report itself says so")
    if not report["commit"].isalnum() or report["commit"] == "unknown":  # + says that files differ from it
        found.append("the sources were not those of a commit")
    if report.get("built") is not True:
        found.append("the package was not built from the sources")
    return found


def operation_passed(report: Report, name: str) -> bool:
    """Whether tests of an operation ran and passed in every precision."""
    kernels = [entry for entry in stage(report, "tests")["kernels"] if entry["op"] == name]
    passed = {entry["precision"] for entry in kernels if entry["passed"] > 0}
    return not any(entry["failed"] for entry in kernels) and passed >= {
        *PRECISIONS,
        *(("tf32",) if name in PRODUCTS else ()),
    }


def describe(report: Report) -> str:
    """Return a sentence about one report."""
    gpu, doctor = report["gpu"], stage(report, "environment").get("doctor", {})
    nvcc = ((doctor.get("build") or {}).get("cuda") or {}).get("version")
    where = f"{gpu['name']} (sm_{gpu['capability'].replace('.', '')}, driver {gpu['driver']}, nvcc {nvcc})"
    when = f"{report['started'][:10]}, commit `{report['commit']}`"
    missing = shortcomings(report)
    if missing:
        return f"- {where}, {when}: **not passed**: {'; '.join(missing)}."
    worst = max((entry.get("worst_error_over_bound", 0.0) for entry in stage(report, "tests")["kernels"]), default=0.0)
    return f"- {where}, {when}: everything passed; the largest error was {worst:.2f} of its bound."


def render(operations: Sequence[Operation], network_executed: bool, reports: Sequence[Report]) -> str:
    """Return what stands between the markers."""
    passed = [report for report in reports if not shortcomings(report)]
    if not reports:
        head = ["**No kernel has run on a GPU yet.**"]
    elif not passed:
        head = ["**No check on a GPU has passed yet** (`python benchmarks/gpu_check.py`):", "", *map(describe, reports)]
    else:
        head = ["Checked on GPUs by `python benchmarks/gpu_check.py`:", "", *map(describe, reports)]

    def names(among: Sequence[Report]) -> str:
        return ", ".join(report["gpu"]["name"] for report in among) or "not yet"

    def cell(value: bool) -> str:
        return "yes" if value else "not yet"

    rows = [
        "| | NumPy | CUDA kernel compiled | kernel run by the CPU executor in the tests | on a GPU |",
        "|---|---|---|---|---|",
        f"| the network: training, prediction, two towers | yes | | {cell(network_executed)} | {names(passed)} |",
    ]
    for op in operations:
        gpus = names([report for report in passed if operation_passed(report, op.name)])
        rows.append(f"| `{op.name}` | {cell(op.numpy)} | {cell(op.compiled)} | {cell(op.executor)} | {gpus} |")
    return "\n".join([*head, "", *rows])


def replace_block(text: str, block: str) -> str:
    """Return `text` with `block` between the markers.

    Raises
    ------
    ValueError
        The markers are not there once each, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"README.md must hold {BEGIN} and after it {END}, each once")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write or check the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where README differs")
    check = parser.parse_args(arguments).check
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    reports = latest_reports(committed_reports(root))
    expected = replace_block(text, render(find_operations(root), network_on_executor(root), reports))
    if check and text != expected:
        print("README.md's status table is not what sources and reports say: run python tools/status_table.py")
        return 1
    if not check:
        readme.write_text(expected, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
