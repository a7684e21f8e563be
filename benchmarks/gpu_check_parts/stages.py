"""What is run on the GPU, in which order, with how much of the time, and what of it counts as passed."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import machine
from .process import Done

PARTS = Path(__file__).resolve().parent
# Operations whose kernels have shared memory and barriers, which is all that racecheck and synccheck look at.
SHARED = ("conv2d", "linear", "lrn", "lrn_max_pool", "softmax_cross_entropy", "bias", "augment")
# What lies where in memory depends on a number's size alone: tf32 is float32 there, float16 bfloat16.
SIZES = ("float32", "bfloat16")
# Of each tool: the operations and precisions of the small set that it runs, all where none are named.
SANITIZED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "memcheck": ((), ()),
    "racecheck": (SHARED, SIZES),
    "synccheck": (SHARED, SIZES),
    "initcheck": ((), SIZES),
}
SANITIZERS = tuple(SANITIZED)
SANITIZER_STATUS = 97  # where compute-sanitizer finds something; no Python ends so
DIGITS_ACCURACY = 0.95  # the CPU reaches 97.5 %
SHORT_ACCURACY = 0.6  # after two epochs, where the CPU reaches 87 %; chance is 10 %
SHOWN_FAILURES = 20


# What the package sees of the machine, then whether CuPy, which holds the arrays, can use it.
ASK = """
import json, sys
import alexnet_cuda
from alexnet_cuda.cli import doctor
facts = doctor.report() | {"package_folder": alexnet_cuda.__path__[0]}
json.dump(facts, open(sys.argv[1], "w"))
import cupy, numpy
there = cupy.asarray(numpy.arange(1000))  # no arithmetic: CuPy would compile it
json.dump(facts | {"copied": bool((there.get() == numpy.arange(1000)).all())}, open(sys.argv[1], "w"))
"""


class NotRunError(Exception):
    """A stage cannot be run here; the message says why, and what would help."""


@dataclass
class Setup:
    """What the stages share.

    Attributes
    ----------
    work : Path
        A folder for logs and results.
    build : bool
        Whether the package is built, into `work`, or the installed one is used.
    gpus : number of GPUs
    """

    work: Path
    build: bool = True
    gpus: int = 1
    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def package(self) -> Path:
        """Where the build is installed to."""
        return self.work / "package"

    def child_environment(self) -> dict[str, str]:
        """Return the environment of the stages: sitecustomize.py and the plugin are found, so is what was built."""
        paths = [str(PARTS), *filter(None, [self.environment.get("PYTHONPATH")])]
        return {
            **self.environment,
            "PYTHONPATH": os.pathsep.join(paths),
            "GPU_CHECK_PACKAGE": str(self.package) if self.build else "",
            "GPU_CHECK_OUTCOMES": str(self.work / "tests.jsonl"),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi counts
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
        }


@dataclass(frozen=True)
class Verdict:
    """Whether a stage passed, why not, and what of it goes into the report."""

    passed: bool
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One subprocess: how it is called, and what is made of what it leaves.

    Attributes
    ----------
    share : float
        Of ten parts of the time. What earlier stages leave over comes on top.
    command : callable
        May raise `NotRunError`.
    judge : callable
        Also called after the time ran out, for the sake of the details.
    needs : names of stages without which it has no sense
    """

    name: str
    share: float
    command: Callable[[Setup], list[str]]
    judge: Callable[[Setup, Done], Verdict]
    needs: tuple[str, ...] = ("environment",)


def by_status(setup: Setup, done: Done) -> Verdict:
    """Pass with exit status 0."""
    return Verdict(done.status == 0, "" if done.status == 0 else f"exit status {done.status}")


def build_command(setup: Setup) -> list[str]:
    """Build and install into a folder of its own, with what the machine has."""
    try:
        absent = machine.missing(machine.build_requirements(setup.environment))
    except machine.toolkit.ToolkitError as error:
        raise NotRunError(str(error)) from None
    if absent:
        raise NotRunError(machine.how_to_bring(absent))
    if problem := machine.compiler_problem(setup.environment):
        raise NotRunError(problem)
    pip = [setup.python, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation"]
    return [*pip, "--target", str(setup.package), f"-Cbuild-dir={setup.work / 'build'}", "-v", str(machine.ROOT)]


def environment_command(setup: Setup) -> list[str]:
    """Ask the package what it sees."""
    absent = machine.missing(machine.run_requirements())
    if absent:
        raise NotRunError(machine.how_to_bring(absent))
    return [setup.python, "-c", ASK, str(setup.work / "facts.json")]


def judge_environment(setup: Setup, done: Done) -> Verdict:
    """Pass where the package that was built sees a GPU, and CuPy can copy to it and back."""
    facts = json.loads((setup.work / "facts.json").read_text(encoding="utf-8"))
    folder, details = Path(facts["package_folder"]), {"doctor": facts}
    if setup.build and not folder.is_relative_to(setup.package):
        reason = f"{folder} is imported instead of what was built; uninstall it, or say --no-build"
        return Verdict(False, reason, details)
    if not facts["cuda"]["gpus"] or not facts.get("copied"):
        problems = [f"{problem['problem']} {problem['fix']}" for problem in facts["problems"]]
        return Verdict(False, " ".join(problems) or "CuPy cannot use the GPU", details)
    return Verdict(done.status == 0, by_status(setup, done).reason, details)


def small_set_command(setup: Setup, output: str, ops: Sequence[str] = (), precisions: Sequence[str] = ()) -> list[str]:
    """Operations on small shapes, on the GPU; all where none are named."""
    chosen = ["--ops", ",".join(ops), "--precisions", ",".join(precisions)]
    output = str(setup.work / output)
    return [setup.python, str(PARTS / "small_set.py"), "--backend", "cuda", *chosen, "--output", output]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines; the last may be cut."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def summarize_operations(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return an entry an operation, direction and precision: how many ran and passed, and the worst error."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["op"], record["direction"], record["precision"]].append(record)
    result = []
    for (op, direction, precision), group in sorted(groups.items()):
        entry: dict[str, Any] = {"op": op, "direction": direction, "precision": precision, "ran": len(group)}
        entry["passed"] = sum(record["status"] == "passed" for record in group)
        measured = [r for r in group if math.isfinite(r.get("error_over_bound", math.nan))]
        worst = max(measured, key=lambda record: record["error_over_bound"], default=None)
        entry["worst_error_over_bound"] = worst and worst["error_over_bound"]
        entry["worst_case"] = worst and worst["case"]
        failures = [r for r in group if r["status"] != "passed"]
        if failures:
            entry["failures"] = [f"{r['case']}: {r['message']}" for r in failures[:SHOWN_FAILURES]]
        result.append(entry)
    return result


def judge_operations(setup: Setup, done: Done) -> Verdict:
    """Pass where every comparison did."""
    records = read_lines(setup.work / "operations.jsonl")
    details = {"kernels": summarize_operations(records)}
    failed = [r for r in records if r["status"] != "passed"]
    if failed:
        return Verdict(False, f"{len(failed)} of {len(records)} comparisons failed", details)
    if not records:
        return Verdict(False, f"no comparison was made, exit status {done.status}", details)
    if done.status != 0:
        return Verdict(False, f"exit status {done.status} after {len(records)} comparisons that passed", details)
    return Verdict(True, details=details)


def tests_command(setup: Setup) -> list[str]:
    """All tests that the plugin leaves, those of the operations first; in one process, which the GPU is for."""
    tests = [str(machine.ROOT / "tests" / "ops"), str(machine.ROOT / "tests")]
    options = ["-p", "outcomes", "-p", "no:cacheprovider", "--tb=short"]
    return [setup.python, "-m", "pytest", "-q", *options, *tests]


def judge_tests(setup: Setup, done: Done) -> Verdict:
    """Pass where no test failed and some ran on the GPU."""
    records = read_lines(setup.work / "tests.jsonl")
    outcomes = [record for record in records if "id" in record]
    counts = {name: sum(r["outcome"] == name for r in outcomes) for name in ("passed", "failed", "skipped")}
    gpu: dict[str, dict[str, int]] = defaultdict(lambda: {"passed": 0, "failed": 0, "skipped": 0})
    for record in outcomes:
        found = re.search(r"tests/ops/test_(\w+)\.py.*\[(?:.*-)?cuda(?:-|\])", record["id"])
        if found:
            gpu[found[1]][record["outcome"]] += 1
    failures = [record for record in outcomes if record["outcome"] == "failed"]
    chosen = next((record for record in records if "selected" in record), {"selected": 0, "need_no_gpu": 0})
    details = {
        "tests": {
            **counts,
            **chosen,
            "finished": any(record.get("finished") for record in records),
            "on_gpu": dict(sorted(gpu.items())),
            "failures": [{"id": r["id"], "message": r["message"]} for r in failures[:SHOWN_FAILURES]],
            "skips": sorted({r["message"] for r in outcomes if r["outcome"] == "skipped"})[:SHOWN_FAILURES],
        }
    }
    if failures:
        return Verdict(False, f"{len(failures)} of {len(outcomes)} tests failed", details)
    if not any(counts["passed"] for counts in gpu.values()):
        return Verdict(False, "no test of an operation ran on the GPU", details)
    if not details["tests"]["finished"]:
        left_out = chosen["selected"] - len(outcomes)
        reached = f"{counts['passed']} of {chosen['selected']} passed, {left_out} were left out"
        return Verdict(False, f"the tests ended before their end, exit status {done.status}: {reached}", details)
    if done.status != 0:
        return Verdict(False, f"exit status {done.status}", details)
    return Verdict(True, f"{counts['passed']} on the GPU; left out, needing none: {chosen['need_no_gpu']}", details)


def training_command(setup: Setup, run: str, devices: str, *options: str) -> list[str]:
    """Train on scikit-learn's digits."""
    output = ["--output", str(setup.work / run), "--overwrite", "--devices", devices]
    return [setup.python, "-m", "alexnet_cuda", "train", "digits", *output, *options]


def judge_training(run: str, least: float) -> Callable[[Setup, Done], Verdict]:
    """Pass where the held-out accuracy is at least so much."""

    def judge(setup: Setup, done: Done) -> Verdict:
        records = read_lines(setup.work / run / "metrics.jsonl")
        accuracy = next((r["val_accuracy"] for r in reversed(records) if "val_accuracy" in r), None)
        details = {"accuracy": accuracy, "expected": least}
        if done.status != 0 or accuracy is None:
            return Verdict(False, f"exit status {done.status}, accuracy {accuracy}", details)
        passed = accuracy >= least
        return Verdict(passed, "" if passed else f"accuracy {accuracy:.3f}, expected at least {least}", details)

    return judge


def sanitizer_command(tool: str) -> Callable[[Setup], list[str]]:
    """Return the call of compute-sanitizer on the small set."""

    def command(setup: Setup) -> list[str]:
        program = machine.find_sanitizer(setup.environment)
        if program is None:
            raise NotRunError(
                "compute-sanitizer is not on PATH, beside nvcc or in the toolkit: install the toolkit's "
                f"cuda-sanitizer package, or the wheel. {machine.how_to_bring([machine.sanitizer_requirement()])}"
            )
        options = ["--tool", tool, "--error-exitcode", str(SANITIZER_STATUS), "--print-limit", "20"]
        if tool == "memcheck":
            # CuPy asks the driver for what it may not have; what our own calls return is checked where they are made.
            options += ["--padding", "64", "--report-api-errors", "no"]
        return [program, *options, *small_set_command(setup, f"{tool}.jsonl", *SANITIZED[tool])]

    return command


def release_hint(setup: Setup) -> str:
    """Return what to do where the tool may be newer than the driver, which an earlier stage has asked."""
    facts = setup.work / "facts.json"
    release = json.loads(facts.read_text(encoding="utf-8"))["cuda"].get("driver_cuda") if facts.exists() else None
    if not release:
        return ""
    version = f"{release // 1000}-{release % 1000 // 10}"
    return f"; the tool may be newer than the driver: update that, or install its release's cuda-sanitizer-{version}"


def judge_sanitizer(tool: str) -> Callable[[Setup, Done], Verdict]:
    """Pass where the tool says that it found nothing, in a small set that ran to its end."""

    def judge(setup: Setup, done: Done) -> Verdict:
        records = read_lines(setup.work / f"{tool}.jsonl")
        summary = (re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", done.tail) or [""])[-1].strip()
        ops, precisions = (list(names) or "all" for names in SANITIZED[tool])
        details = {"calls": len(records), "ops": ops, "precisions": precisions, "summary": summary}
        if done.status == SANITIZER_STATUS or re.search(r"[1-9]", summary):
            return Verdict(False, summary or "compute-sanitizer found errors", details)
        if not summary or not records:
            reason = f"no summary of {tool}, exit status {done.status} after {len(records)} calls{release_hint(setup)}"
            return Verdict(False, reason, details)
        failed = sum(record["status"] != "passed" for record in records)
        if failed or done.status != 0:
            return Verdict(False, f"{failed} comparisons failed, exit status {done.status}", details)
        chosen = (" ".join(names) if names != "all" else names for names in (ops, precisions))
        return Verdict(True, "{} calls; operations: {}; precisions: {}".format(len(records), *chosen), details)

    return judge


def all_stages(setup: Setup) -> list[Stage]:
    """Return the stages, the most telling first; the shares add up to ten.

    Estimates for 16 cores and the default ten minutes, of which a share is a minute; none was measured on a GPU. Build:
    60 s, of 170 s of one core in all for three architectures, a tenth of it in the longest file. Tests: 4,400, whose
    references take 65 s of one core (the same tests on the CPU backend, scaled by their number), 20 s of launches and
    copies. A sanitizer: 5 s to start, 15 s to patch up to 265 kernels, 10 s of references, and 206 to 481 calls of the
    small set, a hundred times slower than some 20 microseconds a kernel: 30 to 45 s.
    """
    short = ("--epochs", "2")
    pairs = [("two towers on one GPU", "cuda:0,cuda:0")]
    if setup.gpus > 1:
        pairs.append(("two towers on two GPUs", "cuda:0,cuda:1"))
    return [
        *([Stage("build", 2.8, build_command, by_status, ())] if setup.build else []),
        Stage("environment", 0.2, environment_command, judge_environment, ("build",) if setup.build else ()),
        Stage("operations", 0.6, lambda s: small_set_command(s, "operations.jsonl"), judge_operations),
        Stage("tests", 2.2, tests_command, judge_tests),
        Stage(
            "digits", 0.6, lambda s: training_command(s, "digits", "cuda:0"), judge_training("digits", DIGITS_ACCURACY)
        ),
        *(
            Stage(
                name,
                0.4 / len(pairs),
                lambda s, name=name, devices=devices: training_command(s, name, devices, *short),
                judge_training(name, SHORT_ACCURACY),
            )
            for name, devices in pairs
        ),
        *(Stage(tool, 0.8, sanitizer_command(tool), judge_sanitizer(tool)) for tool in SANITIZERS),
    ]
