"""benchmarks/gpu_check.py without a GPU: order, time limits, what counts as passed, the JSON and the exit status.

All reports here are made up.
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
sys.path.append(str(ROOT / "benchmarks"))

import gpu_check  # noqa: E402
from gpu_check_parts import machine, outcomes, process, stages  # noqa: E402
from gpu_check_parts.process import Done  # noqa: E402

GPU = {"name": "NVIDIA Made-up 1", "capability": "9.0", "driver": "580.00", "memory_mib": 81559}
NAMES = ["build", "environment", "operations", "tests", "digits", "two towers on one GPU", *stages.SANITIZERS]
FACTS = {
    "package": "0",
    "build": {"cuda": {"version": "13.0.88", "architectures": ["90-real"]}},
    "cuda": {"gpus": [GPU], "driver_cuda": 13000, "runtime_cuda": 13000},
    "problems": [],
    "copied": True,
}
COMPARISON = {"op": "relu", "direction": "fprop", "precision": "float32", "case": "c", "status": "passed"}
GPU_TEST = {"id": "tests/ops/test_relu.py::test[cuda-float32]", "outcome": "passed", "seconds": 0.1}
CHOSEN = {"selected": 3, "need_no_gpu": 40}
FINISHED = {"finished": True, "exit_status": 0}
SUMMARY = "========= ERROR SUMMARY: 0 errors\n"


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


class FakeRunner:
    """Answers each stage as a machine on which everything passes would, but for what `change` says of a stage.

    A change may hold: status, timed_out, tail, files (name to content, in the work folder), raises.
    """

    def __init__(self, **change: dict[str, Any]) -> None:
        self.change = {name.replace("_", " "): value for name, value in change.items()}
        self.ran: list[str] = []
        self.limits: dict[str, float] = {}
        self.commands: dict[str, list[str]] = {}

    def __call__(self, command: list[str], environment: dict[str, str], limit: float, folder: Path, log: Path) -> Done:
        name = log.stem.replace("-", " ")
        work = log.parent
        self.ran.append(name)
        self.limits[name], self.commands[name] = limit, command
        assert folder == ROOT
        change = self.change.get(name, {})
        if "raises" in change:
            raise change["raises"]
        for file, content in {**self.files(name, work), **change.get("files", {})}.items():
            (work / file).parent.mkdir(exist_ok=True)
            (work / file).write_text(content.replace("{work}", str(work)))
        tail = change.get("tail", SUMMARY if name in stages.SANITIZERS else "the end of the output")
        return Done(change.get("status", 0), 1.5, change.get("timed_out", False), tail)

    def files(self, name: str, work: Path) -> dict[str, str]:
        if name == "environment":
            return {"facts.json": json.dumps(FACTS | {"package_folder": str(work / "package" / "alexnet_cuda")})}
        if name == "operations" or name in stages.SANITIZERS:
            return {f"{name}.jsonl": lines({**COMPARISON, "error_over_bound": 0.25})}
        if name == "tests":
            return {"tests.jsonl": lines(CHOSEN, GPU_TEST, FINISHED)}
        if name.startswith(("digits", "two towers")):
            return {f"{name}/metrics.jsonl": lines({"val_accuracy": 0.5}, {"loss": 1}, {"val_accuracy": 0.97})}
        return {}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run the whole check on a made-up machine: exit status and report."""
    monkeypatch.setattr(machine, "find_gpus", lambda: [GPU])
    monkeypatch.setattr(machine, "missing", lambda requirements: [])
    monkeypatch.setattr(machine, "compiler_problem", lambda environment: "")
    monkeypatch.setattr(machine, "find_sanitizer", lambda environment: "/made/up/compute-sanitizer")
    monkeypatch.setattr(machine, "source_state", lambda: {"commit": "made up", "dirty": False})

    def run(runner: FakeRunner, *arguments: str) -> tuple[int, dict[str, Any]]:
        output = tmp_path / "report.json"
        status = gpu_check.main(["--output", str(output), *arguments], runner)
        return status, json.loads(output.read_text())

    return run


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["status"] for entry in report["stages"]}


def test_everything_passes(check: Any, capsys: pytest.CaptureFixture[str]) -> None:
    runner = FakeRunner()
    status, report = check(runner)
    assert status == 0
    output = capsys.readouterr().out
    assert "tests ... passed (2 s) 1 on the GPU; left out, needing none: 40\n" in output
    assert "initcheck ... passed (2 s) 1 calls; operations: all; precisions: float32 bfloat16\n" in output
    assert f"\npassed: {', '.join(NAMES)}; not passed: nothing\n" in output
    assert report["passed"] is True
    assert runner.ran == NAMES
    assert statuses(report) == dict.fromkeys(NAMES, "passed")
    assert (report["gpu"], report["commit"], report["dirty"], report["built"]) == (GPU, "made up", False, True)
    assert report["versions"]["nvcc"] == "13.0.88"
    assert report["kernels"] == [
        {
            "op": "relu",
            "direction": "fprop",
            "precision": "float32",
            "ran": 1,
            "passed": 1,
            "worst_error_over_bound": 0.25,
            "worst_case": "c",
        }
    ]
    entries = {entry["name"]: entry for entry in report["stages"]}
    assert entries["digits"]["accuracy"] == 0.97
    assert entries["tests"]["tests"]["on_gpu"] == {"relu": {"passed": 1, "failed": 0, "skipped": 0}}
    assert (entries["tests"]["tests"]["selected"], entries["tests"]["tests"]["need_no_gpu"]) == (3, 40)
    assert entries["racecheck"]["calls"] == 1
    assert entries["racecheck"]["precisions"] == ["float32", "bfloat16"]
    assert entries["memcheck"]["ops"] == "all"


CHANGES: list[tuple[str, dict[str, Any], str, str]] = [
    ("build", {"status": 1}, "failed", "exit status 1"),
    (
        "environment",
        {"files": {"facts.json": json.dumps(FACTS | {"package_folder": "/elsewhere"})}},
        "failed",
        "--no-b",
    ),
    ("environment", {"files": {"facts.json": "{"}}, "failed", "cannot be read"),
    ("environment", {"status": 1}, "failed", "exit status 1"),
    (
        "environment",
        {"files": {"facts.json": json.dumps(FACTS | {"package_folder": "{work}/package/a", "copied": False})}},
        "failed",
        "CuPy cannot use the GPU",
    ),
    (
        "environment",
        {"files": {"facts.json": json.dumps(FACTS | {"package_folder": "{work}/package/a", "cuda": {"gpus": []}})}},
        "failed",
        "CuPy cannot use the GPU",
    ),
    ("operations", {"timed_out": True, "status": -9}, "out of time", "after 1 comparisons that passed"),
    ("operations", {"files": {"operations.jsonl": ""}}, "failed", "no comparison was made"),
    ("operations", {"status": -11}, "failed", "exit status -11"),
    (
        "operations",
        {"files": {"operations.jsonl": lines(COMPARISON, {**COMPARISON, "status": "failed", "message": "wrong"})}},
        "failed",
        "1 of 2 comparisons failed",
    ),
    ("tests", {"files": {"tests.jsonl": lines(GPU_TEST)}}, "failed", "ended before their end"),
    (
        "tests",
        {"timed_out": True, "status": -9, "files": {"tests.jsonl": lines(CHOSEN, GPU_TEST)}},
        "out of time",
        "1 of 3 passed, 2 were left out",
    ),
    (
        "tests",
        {"files": {"tests.jsonl": lines({**GPU_TEST, "id": "tests/ops/test_relu.py::test[cpu-float32]"}, FINISHED)}},
        "failed",
        "no test of an operation ran on the GPU",
    ),
    (
        "tests",
        {"files": {"tests.jsonl": lines(GPU_TEST, {**GPU_TEST, "outcome": "failed", "message": "m"}, FINISHED)}},
        "failed",
        "1 of 2 tests failed",
    ),
    ("tests", {"status": 5}, "failed", "exit status 5"),
    ("digits", {"files": {"digits/metrics.jsonl": lines({"val_accuracy": 0.9})}}, "failed", "0.900, expected at least"),
    ("digits", {"files": {"digits/metrics.jsonl": lines({"val_accuracy": None})}}, "failed", "accuracy None"),
    ("two towers on one GPU", {"status": 1}, "failed", "exit status 1"),
    ("memcheck", {"status": 97, "tail": "========= ERROR SUMMARY: 3 errors"}, "failed", "3 errors"),
    ("racecheck", {"tail": "= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)"}, "failed", "1 hazard"),
    ("synccheck", {"tail": "killed"}, "failed", "or install its release's cuda-sanitizer-13-0"),
    ("initcheck", {"files": {"initcheck.jsonl": ""}}, "failed", "no summary of initcheck"),
    ("memcheck", {"status": 1}, "failed", "exit status 1"),
]


@pytest.mark.parametrize(("stage", "change", "expected", "words"), CHANGES)
def test_one_stage_that_does_not_pass(check: Any, stage: str, change: Any, expected: str, words: str) -> None:
    status, report = check(FakeRunner(**{stage: change}))
    entry = next(entry for entry in report["stages"] if entry["name"] == stage)
    assert status == 1
    assert report["passed"] is False
    assert entry["status"] == expected
    assert words in entry["reason"]
    assert entry["tail"]
    needed = stage in ("build", "environment")
    others = {name: value for name, value in statuses(report).items() if name not in NAMES[: NAMES.index(stage) + 1]}
    assert set(others.values()) <= {"not run" if needed else "passed"}


def test_what_is_missing_is_not_run_and_does_not_pass(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_sanitizer", lambda environment: None)
    status, report = check(FakeRunner())
    assert status == 1
    assert {name: statuses(report)[name] for name in stages.SANITIZERS} == dict.fromkeys(stages.SANITIZERS, "not run")
    assert "compute-sanitizer is not on PATH" in report["stages"][-1]["reason"]
    monkeypatch.setattr(machine, "missing", lambda requirements: ["ninja", "pybind11==3.1.0"])
    status, report = check(FakeRunner())
    reason = report["stages"][0]["reason"]
    assert (status, set(statuses(report).values())) == (1, {"not run"})
    assert "-m pip download -d wheels 'ninja' 'pybind11==3.1.0'" in reason
    assert "-m pip install --no-index --find-links wheels 'ninja' 'pybind11==3.1.0'" in reason


def test_no_build_uses_the_installed_package_and_says_so(check: Any) -> None:
    runner = FakeRunner(environment={"files": {"facts.json": json.dumps(FACTS | {"package_folder": "/installed"})}})
    status, report = check(runner, "--no-build")
    assert (status, report["built"], runner.ran) == (0, False, NAMES[1:])


def test_an_earlier_stage_leaves_its_time_to_later_ones(check: Any) -> None:
    runner = FakeRunner()
    check(runner, "--minutes", "5")
    shares = {stage.name: stage.share for stage in stages.all_stages(stages.Setup(Path()))}
    assert sum(shares.values()) == pytest.approx(10)
    assert list(shares) == NAMES
    assert runner.limits["build"] == pytest.approx(shares["build"] * 30, abs=5)
    later = sum(shares[name] for name in NAMES[NAMES.index("tests") + 1 :])
    assert runner.limits["tests"] == pytest.approx((10 - later) * 30, abs=5)  # what the build did not need, too
    assert runner.limits["initcheck"] == pytest.approx(300, abs=5)


def test_no_time_is_left(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "limit_of", lambda *_: 0.5)
    status, report = check(FakeRunner())
    assert status == 1
    assert report["stages"][0]["reason"] == "no time was left"


def test_a_cut_run_keeps_what_it_has(check: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        check(FakeRunner(tests={"raises": KeyboardInterrupt()}))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["passed"] is False
    assert statuses(report)["operations"] == "passed"
    assert statuses(report)["tests"] == "cut"
    assert statuses(report)["digits"] == "not run"
    assert report["kernels"]
    assert list(tmp_path.glob(".*")) == []


def test_the_report_is_there_while_a_stage_runs(check: Any, tmp_path: Path) -> None:
    seen = {}

    class Looking(FakeRunner):
        def files(self, name: str, work: Path) -> dict[str, str]:
            seen[name] = json.loads((tmp_path / "report.json").read_text())
            return super().files(name, work)

    check(Looking())
    assert statuses(seen["tests"])["tests"] == "cut"
    assert statuses(seen["tests"])["operations"] == "passed"
    assert not any(report["passed"] for report in seen.values())


def test_two_gpus_are_tried_as_two_towers(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_gpus", lambda: [GPU, GPU])
    runner = FakeRunner()
    assert check(runner)[0] == 0
    commands = {name: " ".join(command) for name, command in runner.commands.items()}
    assert "--devices cuda:0,cuda:1" in commands["two towers on two GPUs"]
    assert "--devices cuda:0,cuda:0" in commands["two towers on one GPU"]


def test_folder_of_another_run_is_refused(check: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "operations.jsonl").touch()
    with pytest.raises(SystemExit) as caught:
        check(FakeRunner(), "--keep", str(tmp_path / "kept"))
    assert caught.value.code == 2
    assert "is not empty; expected a new folder" in capsys.readouterr().err


def test_without_a_gpu(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_check.py"), "--output", str(tmp_path / "report.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("no NVIDIA GPU: nvidia-smi is missing or lists none.")
    assert not (tmp_path / "report.json").exists()


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
    start = time.monotonic()
    done = run_process(tmp_path, code, 1.0)
    assert done.timed_out
    assert done.status == -9
    assert time.monotonic() - start < 30
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


def test_gpus_are_read_from_nvidia_smi() -> None:
    text = "NVIDIA H100 80GB HBM3, 9.0, 580.65.06, 81559\nNVIDIA GB10, 12.1, 580.95.05, [N/A]\nno such thing\n"
    first, second = machine.find_gpus(lambda command: text)
    assert first == {"name": "NVIDIA H100 80GB HBM3", "capability": "9.0", "driver": "580.65.06", "memory_mib": 81559}
    assert second["memory_mib"] is None
    assert machine.find_gpus(lambda command: None) == []
    for visible, seen in {"1": [second], "1,0": [second, first], "0,7": [first], "": [], "GPU-8f": [first]}.items():
        assert machine.find_gpus(lambda command: text, {"CUDA_VISIBLE_DEVICES": visible}) == seen
    assert gpu_check.default_output("NVIDIA H100 80GB HBM3").name.startswith("gpu-check-h100-80gb-hbm3-2")


def test_plugin_leaves_the_tests_on_the_gpu_and_writes_each_outcome(tmp_path: Path) -> None:
    (tmp_path / "test_made_up.py").write_text(
        "import pytest\n"
        "on_gpu = pytest.mark.parametrize('place', ['cuda, two towers'])\n"
        "@pytest.mark.parametrize('backend', ['simt', 'cpu', '_cuda', 'cuda-float32'])\n"
        "def test_a(backend): pass\n"
        "def test_cuda_without_a_gpu(): raise AssertionError\n"
        "@on_gpu\n"
        "def test_b(place): assert 1 == 2, 'not so'\n"
        "@on_gpu\n"
        "def test_c(place): pytest.skip('for a reason')\n"
        "@pytest.fixture\n"
        "def broken(): raise OSError('no fixture')\n"
        "@on_gpu\n"
        "def test_d(place, broken): pass\n"
    )
    (tmp_path / "test_broken.py").write_text("import no_such_module\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(outcomes.__file__).parent),
        "GPU_CHECK_OUTCOMES": str(tmp_path / "tests.jsonl"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "outcomes", "-p", "no:cacheprovider", str(tmp_path)]
    command += ["--continue-on-collection-errors", "--rootdir", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    first, chosen, *records, last = stages.read_lines(tmp_path / "tests.jsonl")
    assert (first["id"], first["outcome"]) == ("test_broken.py", "failed")
    assert chosen == {"selected": 4, "need_no_gpu": 4}
    assert last == {"finished": True, "exit_status": 1}
    found = {record["id"].rpartition("::")[2].partition("[")[0]: record["outcome"] for record in records}
    assert found == {"test_a": "passed", "test_b": "failed", "test_c": "skipped", "test_d": "failed"}
    messages = [record.get("message", "") for record in (first, *records)]
    for message, words in zip(messages, ("no_such_module", "", "not so", "for a reason", "no fixture"), strict=True):
        assert words in message


def test_a_line_that_was_cut_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text('{"a": 1}\n{"b": ')
    assert stages.read_lines(path) == [{"a": 1}]
    assert stages.read_lines(tmp_path / "absent") == []


def test_worst_errors_and_failures_of_an_operation() -> None:
    records = [
        {**COMPARISON, "case": "a", "error_over_bound": 0.5},
        {**COMPARISON, "case": "b", "error_over_bound": 0.75},
        {**COMPARISON, "case": "c", "status": "failed", "message": "not finite"},
        {**COMPARISON, "precision": "tf32", "status": "failed", "message": "m"},
    ]
    first, second = stages.summarize_operations(records)
    assert (first["ran"], first["passed"], first["worst_error_over_bound"], first["worst_case"]) == (3, 2, 0.75, "b")
    assert first["failures"] == ["c: not finite"]
    assert (second["precision"], second["passed"], second["worst_error_over_bound"]) == ("tf32", 0, None)
