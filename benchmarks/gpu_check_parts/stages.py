"""What is run on the GPU, in which order, with how much of the time, and what of it counts as passed."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import ROOT

from . import needs
from .process import Done

PARTS = Path(__file__).resolve().parent
SANITIZER_STATUS = 97  # where compute-sanitizer finds something; no Python ends so
DIGITS_ACCURACY = 0.95  # the CPU reaches 97.5 %
SHORT_ACCURACY = 0.6  # after two epochs, where the CPU reaches 87 %; chance is 10 %
# Racecheck and synccheck look at shared memory and barriers alone, which the kernels of these operations do not have.
NO_SHARED = ("relu", "tanh", "logistic", "max_pool", "avg_pool", "dropout", "sgd", "copy")
# What lies where in memory depends on a number's size alone: tf32 is float32 there, float16 bfloat16.
SIZES = ("float32", "bfloat16")
SHOWN = 20  # failures of a stage that the report names

# What the package sees of the machine, then whether CuPy, which holds the arrays, can use it.
ASK = """
import json, subprocess, sys
import alexnet_cuda
doctor = subprocess.run([sys.executable, "-m", "alexnet_cuda", "doctor", "--json"], stdout=subprocess.PIPE)
facts = json.loads(doctor.stdout) | {"package_folder": alexnet_cuda.__path__[0]}
json.dump(facts, open(sys.argv[1], "w"))
import cupy, numpy
array = cupy.asarray(numpy.arange(1000))  # no arithmetic: CuPy would compile it
json.dump(facts | {"copied": bool((array.get() == numpy.arange(1000)).all())}, open(sys.argv[1], "w"))
"""


@dataclass
class Setup:
    """What the stages share.

    Attributes
    ----------
    work : Path
        A folder for logs and results.
    build : bool
        Whether the package is built, into `work`, or the installed one is used.
    gpus : int
        Number of GPUs.
    """

    work: Path
    build: bool = True
    gpus: int = 1
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
    """One subprocess: how it is called, and how its result is judged.

    Attributes
    ----------
    share : float
        Tenths of the time. What earlier stages leave over is added.
    needs : tuple of str
        Stages that must have passed.
    """

    name: str
    share: float
    needs: tuple[str, ...] = field(default=("environment",), kw_only=True)

    def command(self, setup: Setup) -> list[str]:
        """Return the command; raises `NotRunError` where something is missing."""
        raise NotImplementedError

    def judge(self, setup: Setup, done: Done) -> Verdict:
        """Return what the command's files and exit status say; also called after the time ran out, for the details."""
        return Verdict(done.status == 0, "" if done.status == 0 else f"exit status {done.status}")


class Build(Stage):
    """Build and install into a folder of its own, with what the machine has; passes with exit status 0."""

    def command(self, setup: Setup) -> list[str]:
        needs.require(needs.build_requirements(setup.environment))
        needs.require_compiler(setup.environment)
        pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation"]
        return [*pip, "--target", str(setup.package), f"-Cbuild-dir={setup.work / 'build'}", "-v", str(ROOT)]


class Environment(Stage):
    """Passes where the package that was built sees a GPU, and CuPy can copy to it and back."""

    def command(self, setup: Setup) -> list[str]:
        needs.require(needs.extra_requirements("test").values())
        return [sys.executable, "-c", ASK, str(setup.work / "facts.json")]

    def judge(self, setup: Setup, done: Done) -> Verdict:
        facts = json.loads((setup.work / "facts.json").read_text(encoding="utf-8"))
        folder, verdict, reason = Path(facts["package_folder"]), super().judge(setup, done), ""
        if setup.build and not folder.is_relative_to(setup.package):
            reason = f"{folder} is imported instead of what was built; uninstall it, or say --no-build"
        elif not facts["cuda"]["gpus"] or not facts.get("copied"):
            problems = [f"{problem['problem']} {problem['fix']}" for problem in facts["problems"]]
            reason = " ".join(problems) or "CuPy cannot use the GPU"
        return Verdict(verdict.passed and not reason, reason or verdict.reason, {"doctor": facts})


@dataclass(frozen=True)
class Training(Stage):
    """Training on scikit-learn's digits; passes where the held-out accuracy is at least `least`."""

    devices: str
    least: float
    options: tuple[str, ...] = ()

    def command(self, setup: Setup) -> list[str]:
        output = ["--output", str(setup.work / self.name), "--overwrite", "--devices", self.devices]
        return [sys.executable, "-m", "alexnet_cuda", "train", "digits", *output, *self.options]

    def judge(self, setup: Setup, done: Done) -> Verdict:
        records = read_lines(setup.work / self.name / "metrics.jsonl")
        accuracy = next((r["val_accuracy"] for r in reversed(records) if "val_accuracy" in r), None)
        details = {"accuracy": accuracy, "expected": self.least}
        if done.status != 0 or accuracy is None:
            return Verdict(False, f"exit status {done.status}, accuracy {accuracy}", details)
        passed = accuracy >= self.least
        return Verdict(passed, "" if passed else f"accuracy {accuracy:.3f}, expected at least {self.least}", details)


@dataclass(frozen=True)
class Tests(Stage):
    """A selection of the tests that run on a GPU; passes where all of them ran and none failed.

    Attributes
    ----------
    small : bool
        Only the small set (tests/ops/small.py), with an allocation of CUDA for each array.
    precisions : tuple of str
        Only these; all where none are named.
    without : tuple of str
        Operations to leave out.
    """

    small: bool = False
    precisions: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def command(self, setup: Setup) -> list[str]:
        options = ["-p", "outcomes", "--outcomes", str(setup.work / f"{self.name}.jsonl"), "-p", "no:cacheprovider"]
        options += ["-m", "gpu and small", "--no-pool"] if self.small else ["-m", "gpu"]
        if self.precisions:
            options += ["-k", " or ".join(f"cuda-{name}" for name in self.precisions)]
        options += [f"--ignore=tests/ops/test_{op}.py" for op in self.without]
        return [sys.executable, "-m", "pytest", "-q", "--tb=short", *options, "tests/ops" if self.small else "tests"]

    def judge(self, setup: Setup, done: Done) -> Verdict:
        records = read_lines(setup.work / f"{self.name}.jsonl")
        outcomes = [record for record in records if "id" in record]
        counts = {name: sum(r["outcome"] == name for r in outcomes) for name in ("passed", "failed", "skipped")}
        chosen: dict[str, Any] = next((r for r in records if "selected" in r), {"selected": 0, "left_out": 0})
        messages = {
            name: [f"{r['id']}: {r['message']}" for r in outcomes if r["outcome"] == name][:SHOWN]
            for name in ("failed", "skipped")
        }
        kernels = summarize(outcomes)
        details = {**chosen, **counts, "kernels": kernels, "messages": messages}
        ran = f"{counts['passed']} of {chosen['selected']} tests passed"
        running = next((r["running"] for r in reversed(records) if "running" in r), "the collection of the tests")
        reason = ""
        if counts["failed"]:
            reason = f"{counts['failed']} of {len(outcomes)} tests failed"
        elif not any("finished" in record for record in records):
            reason = f"ended in {running}, exit status {done.status}: {ran}"
        elif done.status != 0:
            reason = f"exit status {done.status}"
        elif not any(entry["passed"] for entry in kernels):
            reason = "no test of an operation ran on the GPU"
        return Verdict(not reason, reason or ran + self.left_out(chosen["left_out"]), details)

    def left_out(self, number: int) -> str:
        """What the report says of the tests that were not selected."""
        if not self.small:
            return f"; left out, needing no GPU: {number}"
        precisions = f"; precisions: {' '.join(self.precisions)}" if self.precisions else ""
        return precisions + (f"; without: {' '.join(self.without)}" if self.without else "")


class Sanitizer(Tests):
    """The tool of compute-sanitizer that the stage is named after, on tests; passes where it finds nothing."""

    def command(self, setup: Setup) -> list[str]:
        program = needs.find_sanitizer(setup.environment)
        options = ["--tool", self.name, "--error-exitcode", str(SANITIZER_STATUS), "--print-limit", "20"]
        if self.name == "memcheck":
            # CuPy asks the driver for what it may not have; what our own calls return is checked where they are made.
            options += ["--padding", "64", "--report-api-errors", "no"]
        return [program, *options, *super().command(setup)]

    def judge(self, setup: Setup, done: Done) -> Verdict:
        verdict = super().judge(setup, done)
        summary = (re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", done.tail) or [""])[-1].strip()
        found, reason = done.status == SANITIZER_STATUS or re.search(r"[1-9]", summary), verdict.reason
        if found:
            reason = summary or "compute-sanitizer found errors"
        elif not summary:
            reason = f"no summary of {self.name}, exit status {done.status}{release_hint(setup)}; {reason}"
        return Verdict(bool(verdict.passed and summary and not found), reason, verdict.details | {"summary": summary})


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines; the last may be cut."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def summarize(outcomes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each operation and precision how many tests passed and failed on the GPU, and the largest error."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in outcomes:
        found = re.search(
            r"tests/ops/test_(\w+?)(?:_folded)?\.py.*[-\[]cuda-(float32|tf32|bfloat16|float16)\b", record["id"]
        )
        if found:
            groups[found[1], found[2]].append(record)
    result = []
    for (op, precision), group in sorted(groups.items()):
        entry: dict[str, Any] = {"op": op, "precision": precision}
        entry |= {name: sum(record["outcome"] == name for record in group) for name in ("passed", "failed")}
        measured = [(record.get("error_over_bound", -1.0), record["id"]) for record in group]
        worst, case = max(measured)
        entry |= {"worst_error_over_bound": min(worst, 1e300), "worst_case": case} if worst >= 0 else {}
        result.append(entry)
    return result


def release_hint(setup: Setup) -> str:
    """Return what to do where the tool may be newer than the driver, which an earlier stage has asked."""
    facts = setup.work / "facts.json"
    release = json.loads(facts.read_text(encoding="utf-8"))["cuda"].get("driver_cuda") if facts.exists() else None
    if not release:
        return ""
    version = f"{release // 1000}-{release % 1000 // 10}"
    return f"; the tool may be newer than the driver: update that, or install its release's cuda-sanitizer-{version}"


def all_stages(setup: Setup) -> list[Stage]:
    """Return the stages, the most telling first; the shares add up to ten.

    Estimates for 16 cores and the default ten minutes, of which a share is a minute; none was measured on a GPU. Build:
    60 s, of 170 s of one core in all for three architectures, a tenth of it in the longest file. Tests: 4,400, whose
    references take 65 s of one core (the same tests on the CPU backend, scaled by their number), 20 s of launches and
    copies. A sanitizer: 8 s to start and to collect the tests, 15 s to patch up to 265 kernels, 10 s of references, and
    up to 430 tests of some four launches each, a hundred times slower than 20 microseconds a kernel: 35 to 45 s.
    """
    pairs = [("two towers on one GPU", "cuda:0,cuda:0")]
    if setup.gpus > 1:
        pairs.append(("two towers on two GPUs", "cuda:0,cuda:1"))
    return [
        *([Build("build", 2.8, needs=())] if setup.build else []),
        Environment("environment", 0.2, needs=("build",) if setup.build else ()),
        Tests("operations", 0.6, small=True),
        Tests("tests", 2.2),
        Training("digits", 0.6, "cuda:0", DIGITS_ACCURACY),
        *(Training(name, 0.4 / len(pairs), devices, SHORT_ACCURACY, ("--epochs", "2")) for name, devices in pairs),
        Sanitizer("memcheck", 0.8, small=True),
        Sanitizer("racecheck", 0.8, True, SIZES, NO_SHARED),
        Sanitizer("synccheck", 0.8, True, SIZES, NO_SHARED),
        Sanitizer("initcheck", 0.8, True, SIZES),
    ]
