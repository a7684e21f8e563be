"""benchmarks/gpu_check.py without a GPU: order, time limits, what counts as passed, the JSON and the exit status.

The machine, its GPU and the results of the stages are invented.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from benchmarks import gpu_check  # noqa: E402
from benchmarks.gpu_check_parts import needs, process, stages  # noqa: E402
from benchmarks.gpu_check_parts.process import Done  # noqa: E402
from benchmarks.harness import machine  # noqa: E402

GPU = {"name": "NVIDIA Invented 1", "capability": "9.0", "driver": "580.00", "memory_mib": 81559}
SANITIZERS = ["memcheck", "racecheck", "synccheck", "initcheck"]
NAMES = ["build", "environment", "operations", "tests", "digits", "two towers on one GPU", *SANITIZERS]
FACTS = {
    "package": "0",
    "build": {"cuda": {"version": "13.0.88", "architectures": ["90-real"]}},
    "cuda": {"gpus": [GPU], "driver_cuda": 13000, "runtime_cuda": 13000},
    "problems": [],
    "copied": True,
    "package_folder": "{work}/package/alexnet_cuda",
}
CHOSEN = {"selected": 3, "left_out": 40}
FINISHED = {"finished": True}
SUMMARY = "========= ERROR SUMMARY: 0 errors\n"


def outcome(
    name: str = "relu", case: str = "cuda-float32-(17,)", outcome: str = "passed", **more: Any
) -> dict[str, Any]:
    return {"id": f"tests/ops/test_{name}.py::test_fprop[{case}]", "outcome": outcome, **more}


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


class FakeRunner:
    """Answers each stage as a machine on which everything passes would, but for what `change` says of a stage.

    A change may hold: status, timed_out, tail, files (name to content, in the work folder), raises.
    """

    def __init__(self, **change: dict[str, Any]) -> None:
        self.change = {name.replace("_", " "): value for name, value in change.items()}
        self.limits: dict[str, float] = {}
        self.commands: dict[str, str] = {}

    def __call__(self, command: list[str], environment: dict[str, str], limit: float, folder: Path, log: Path) -> Done:
        name, work = log.stem.replace("-", " "), log.parent
        self.limits[name], self.commands[name] = limit, " ".join(command)
        assert folder == ROOT
        change = self.change.get(name, {})
        if "raises" in change:
            raise change["raises"]
        for file, content in {**self.files(name), **change.get("files", {})}.items():
            (work / file).parent.mkdir(exist_ok=True)
            (work / file).write_text(content.replace("{work}", str(work)))
        tail = change.get("tail", SUMMARY if name in SANITIZERS else "the end of the output")
        return Done(change.get("status", 0), 1.5, change.get("timed_out", False), tail)

    def files(self, name: str) -> dict[str, str]:
        if name == "build":
            return {}
        if name == "environment":
            return {"facts.json": json.dumps(FACTS)}
        if name.startswith(("digits", "two towers")):
            return {f"{name}/metrics.jsonl": lines({"val_accuracy": 0.5}, {"loss": 1}, {"val_accuracy": 0.97})}
        return {f"{name}.jsonl": lines(CHOSEN, {"running": "a"}, outcome(error_over_bound=0.25), FINISHED)}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run the whole check on an invented machine: exit status and report."""
    monkeypatch.setattr(machine, "find_gpus", lambda: [GPU])
    monkeypatch.setattr(machine, "commit", lambda: "0123456789ab")
    monkeypatch.setattr(needs, "missing", lambda requirements: [])
    monkeypatch.setattr(needs, "require_compiler", lambda environment: None)
    monkeypatch.setattr(needs, "find_sanitizer", lambda environment: "/invented/compute-sanitizer")

    def run(runner: FakeRunner, *arguments: str) -> tuple[int, dict[str, Any]]:
        output = tmp_path / "report.json"
        status = gpu_check.main(["--output", str(output), *arguments], runner)
        return status, json.loads(output.read_text())

    return run


def entries(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in report["stages"]}


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {name: entry["status"] for name, entry in entries(report).items()}


def test_everything_passes(check: Any, capsys: pytest.CaptureFixture[str]) -> None:
    runner = FakeRunner()
    status, report = check(runner)
    output = capsys.readouterr().out
    assert "tests ... passed (2 s) 1 of 3 tests passed; left out, needing no GPU: 40\n" in output
    assert "racecheck ... passed (2 s) 1 of 3 tests passed; precisions: float32 bfloat16; without: relu tanh" in output
    assert f"\npassed: {', '.join(NAMES)}; not passed: nothing\n" in output
    assert (status, report["passed"], list(runner.limits)) == (0, True, NAMES)
    assert statuses(report) == dict.fromkeys(NAMES, "passed")
    assert (report["gpu"], report["commit"], report["built"]) == (GPU, "0123456789ab", True)
    assert entries(report)["environment"]["doctor"]["build"]["cuda"]["version"] == "13.0.88"
    entry = entries(report)["operations"]
    assert entry["kernels"] == [
        {"op": "relu", "precision": "float32", "passed": 1, "failed": 0}
        | {"worst_error_over_bound": 0.25, "worst_case": outcome()["id"]}
    ]
    assert (entry["selected"], entry["left_out"], entry["messages"]["failed"]) == (3, 40, [])
    assert entries(report)["digits"]["accuracy"] == 0.97


WRONG = outcome(outcome="failed", message="2 of 9 out of bounds", error_over_bound=7.5)
CHANGES: list[tuple[str, dict[str, Any], str, str]] = [
    ("build", {"status": 1}, "failed", "exit status 1"),
    ("environment", {"files": {"facts.json": json.dumps(FACTS | {"package_folder": "/x"})}}, "failed", "--no-b"),
    ("environment", {"files": {"facts.json": "{"}}, "failed", "cannot be read"),
    ("environment", {"status": 1}, "failed", "exit status 1"),
    ("environment", {"files": {"facts.json": json.dumps(FACTS | {"copied": False})}}, "failed", "CuPy cannot use the"),
    ("environment", {"files": {"facts.json": json.dumps(FACTS | {"cuda": {"gpus": []}})}}, "failed", "CuPy cannot use"),
    ("operations", {"files": {"operations.jsonl": lines(CHOSEN, FINISHED)}}, "failed", "no test of an operation ran"),
    ("operations", {"files": {"operations.jsonl": lines(CHOSEN, WRONG, FINISHED)}}, "failed", "1 of 1 tests failed"),
    (
        "tests",
        {"timed_out": True, "status": -9, "files": {"tests.jsonl": lines(CHOSEN, outcome(), {"running": "test_b"})}},
        "out of time",
        "seconds ran out; ended in test_b, exit status -9: 1 of 3 tests passed",
    ),
    ("tests", {"status": -11, "files": {"tests.jsonl": ""}}, "failed", "ended in the collection of the tests, exit"),
    ("tests", {"status": 5}, "failed", "exit status 5"),
    ("digits", {"files": {"digits/metrics.jsonl": lines({"val_accuracy": 0.9})}}, "failed", "0.900, expected at least"),
    ("digits", {"files": {"digits/metrics.jsonl": lines({"val_accuracy": None})}}, "failed", "accuracy None"),
    ("two towers on one GPU", {"status": 1}, "failed", "exit status 1"),
    ("memcheck", {"status": 97, "tail": "========= ERROR SUMMARY: 3 errors"}, "failed", "3 errors"),
    ("memcheck", {"status": 1}, "failed", "exit status 1"),
    ("racecheck", {"tail": "= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)"}, "failed", "1 hazard"),
    ("synccheck", {"tail": "killed"}, "failed", "or install its release's cuda-sanitizer-13-0"),
    ("initcheck", {"files": {"initcheck.jsonl": lines(CHOSEN, WRONG, FINISHED)}}, "failed", "1 of 1 tests failed"),
]


@pytest.mark.parametrize(("stage", "change", "expected", "words"), CHANGES)
def test_one_stage_that_does_not_pass(check: Any, stage: str, change: Any, expected: str, words: str) -> None:
    status, report = check(FakeRunner(**{stage: change}))
    entry = entries(report)[stage]
    assert (status, report["passed"], entry["status"]) == (1, False, expected)
    assert words in entry["reason"]
    assert entry["tail"]
    later = {statuses(report)[name] for name in NAMES[NAMES.index(stage) + 1 :]}
    assert later <= {"not run" if stage in ("build", "environment") else "passed"}


def test_the_report_names_what_failed_and_by_how_much(check: Any) -> None:
    wrong = outcome("conv2d_folded", "relu-cuda-tf32-folded", "failed", message="not finite")
    records = [outcome(error_over_bound=0.5), WRONG, wrong, outcome(case="cuda"), outcome("dispatch", "simt-tf32")]
    report = check(FakeRunner(operations={"files": {"operations.jsonl": lines(CHOSEN, *records, FINISHED)}}))[1]
    conv2d, relu = entries(report)["operations"]["kernels"]
    assert conv2d == {"op": "conv2d", "precision": "tf32", "passed": 0, "failed": 1}
    assert (relu["passed"], relu["failed"], relu["worst_error_over_bound"]) == (1, 1, 7.5)
    failed = entries(report)["operations"]["messages"]["failed"]
    assert failed == [f"{WRONG['id']}: 2 of 9 out of bounds", f"{wrong['id']}: not finite"]


def test_how_to_install_what_is_missing_is_said_once(
    check: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a dry run and at the end of a check, whichever stages lack something."""

    def no_sanitizer(environment: Any) -> str:
        raise needs.NotRunError("compute-sanitizer is not on PATH", ["sanitizer>=1"])

    monkeypatch.setattr(needs, "find_sanitizer", no_sanitizer)
    absent = {"pybind11~=3.1.0", "pytest>=8"}
    monkeypatch.setattr(needs, "missing", lambda given: sorted(absent & set(given)))
    runner = FakeRunner()
    status, report = check(runner)
    assert (status, set(statuses(report).values()), runner.limits) == (1, {"not run"}, {})
    assert report["stages"][0]["reason"] == "missing: pybind11~=3.1.0"
    checked = capsys.readouterr().out
    assert gpu_check.main(["--dry-run"], runner) == 1
    dry = capsys.readouterr().out
    assert "\nenvironment: missing: pybind11~=3.1.0, pytest>=8\n" in dry
    assert "\nmemcheck, racecheck, synccheck, initcheck: compute-sanitizer is not on PATH\n" in dry
    assert dry.endswith("\nnothing was run; stages that lack something: 6\n")
    for output, wanted in ((checked, "'pybind11~=3.1.0'"), (dry, "'pybind11~=3.1.0' 'pytest>=8' 'sanitizer>=1'")):
        assert output.count("[gpu-check]") == 1
        assert f"-m pip download -d wheels {wanted};" in output
        assert f"-m pip install --no-index --find-links wheels {wanted}\n" in output


def test_a_dry_run_of_a_machine_that_has_everything(check: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["--dry-run"], FakeRunner(build={"raises": AssertionError("something was run")})) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0] == f"{', '.join(NAMES)}: ready"
    assert output[-1] == "nothing was run; every stage has what it needs"


def test_no_build_uses_the_installed_package_and_says_so(check: Any) -> None:
    runner = FakeRunner(environment={"files": {"facts.json": json.dumps(FACTS | {"package_folder": "/installed"})}})
    status, report = check(runner, "--no-build")
    assert (status, report["built"], list(runner.limits)) == (0, False, NAMES[1:])


def test_an_earlier_stage_leaves_its_time_to_later_ones(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = FakeRunner()
    check(runner, "--minutes", "5")
    shares = {stage.name: stage.share for stage in stages.all_stages(stages.Setup(Path()))}
    assert sum(shares.values()) == pytest.approx(10)
    assert runner.limits["build"] == pytest.approx(shares["build"] * 30, abs=5)
    later = sum(shares[name] for name in NAMES[NAMES.index("tests") + 1 :])
    assert runner.limits["tests"] == pytest.approx((10 - later) * 30, abs=5)  # what the build did not need, too
    assert runner.limits["initcheck"] == pytest.approx(300, abs=5)
    monkeypatch.setattr(gpu_check, "limit_of", lambda *_: 0.5)
    status, report = check(FakeRunner())
    assert (status, report["stages"][0]["reason"]) == (1, "no time was left")


def test_a_cut_run_keeps_what_it_has(check: Any, tmp_path: Path) -> None:
    """Also while a stage runs the file is complete."""
    seen = {}

    class Looking(FakeRunner):
        def files(self, name: str) -> dict[str, str]:
            seen[name] = json.loads((tmp_path / "report.json").read_text())
            return super().files(name)

    with pytest.raises(KeyboardInterrupt):
        check(Looking(digits={"raises": KeyboardInterrupt()}))
    for report, name, following in (
        (seen["tests"], "tests", "digits"),
        (json.loads((tmp_path / "report.json").read_text()), "digits", "memcheck"),
    ):
        found = statuses(report)
        assert (report["passed"], found["operations"], found[name]) == (False, "passed", "cut")
        assert found[following] == "not run"
        assert entries(report)["operations"]["kernels"]
    assert list(tmp_path.glob(".*")) == []


def test_two_gpus_are_tried_as_two_towers(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_gpus", lambda: [GPU, GPU])
    runner = FakeRunner()
    assert check(runner)[0] == 0
    assert "--devices cuda:0,cuda:1" in runner.commands["two towers on two GPUs"]
    assert "--devices cuda:0,cuda:0" in runner.commands["two towers on one GPU"]


def test_folder_of_another_run_is_refused(check: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "operations.jsonl").touch()
    with pytest.raises(SystemExit, match="2"):
        check(FakeRunner(), "--keep", str(tmp_path / "kept"))
    assert "is not empty; expected a new folder" in capsys.readouterr().err


def test_without_a_gpu_and_without_packages(tmp_path: Path) -> None:
    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        command = [sys.executable, *arguments]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
        done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    script, output = str(ROOT / "benchmarks" / "gpu_check.py"), tmp_path / "report.json"
    status, error = run(script, "--output", str(output), PATH=str(tmp_path))
    assert (status, output.exists()) == (2, False)
    assert error.startswith("no NVIDIA GPU: nvidia-smi is missing or lists none.")
    status, error = run("-S", script, "--dry-run")
    assert status == 1
    assert f" is missing: {sys.executable} -m pip install '{ROOT}[gpu-check]' installs all" in error
    assert error.count("\n") == 1


def run_process(tmp_path: Path, code: str, limit: float) -> Done:
    return process.run([sys.executable, "-c", code], os.environ, limit, tmp_path, tmp_path / "log")


def test_a_process_that_hangs_ends_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)
    code = (
        "import signal, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    done = run_process(tmp_path, code, 1.0)
    assert (done.timed_out, done.status) == (True, -9)
    for _ in range(100):
        try:
            os.kill(int(done.tail), 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        # An orphan that nobody waits for stays as a zombie where the machine's first process does not reap.
        assert Path(f"/proc/{int(done.tail)}/stat").read_text().split()[2] == "Z"


def test_the_end_of_the_output_is_kept(tmp_path: Path) -> None:
    done = run_process(tmp_path, "import sys; print('x' * 100_000); print('last words'); sys.exit(3)", 30)
    assert (done.status, done.timed_out, len(done.tail)) == (3, False, process.TAIL)
    assert done.tail.endswith("x\nlast words\n")
    absent = process.run([str(tmp_path / "absent")], {}, 5, tmp_path, tmp_path / "log")
    assert absent.status == 127
    assert "absent" in absent.tail


def test_gpus_are_read_from_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    text: str | None = "NVIDIA H100 80GB HBM3, 9.0, 580.65.06, 81559\nNVIDIA GB10, 12.1, 580.95.05, [N/A]\nno device\n"
    monkeypatch.setattr(machine, "_output", lambda *command: text)
    first, second = machine.find_gpus({})
    assert first == {"name": "NVIDIA H100 80GB HBM3", "capability": "9.0", "driver": "580.65.06", "memory_mib": 81559}
    assert second["memory_mib"] is None
    for visible, seen in {"1": [second], "1,0": [second, first], "0,7": [first], "": [], "GPU-8f": [first]}.items():
        assert machine.find_gpus({"CUDA_VISIBLE_DEVICES": visible}) == seen
    text = None
    assert machine.find_gpus({}) == []
    assert gpu_check.default_output("NVIDIA H100 80GB HBM3").name.startswith("gpu-check-h100-80gb-hbm3-2")
