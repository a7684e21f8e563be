"""README's status table: what sources and reports say, and that nothing but a whole passed check reads as passed.

All reports here are made up; no GPU of these names exists.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools")]
sys.path.append(str(ROOT / "benchmarks"))

from gpu_check_parts import report as gpu_report  # noqa: E402
from gpu_check_parts import stages as gpu_stages  # noqa: E402

import status_table  # noqa: E402

OPS = [
    status_table.Operation("conv2d", numpy=True, compiled=True, executor=True),
    status_table.Operation("relu", numpy=True, compiled=True, executor=False),
]
NOTHING = "**No kernel has run on a GPU yet.**"


def made_up(name: str = "Made-up 1", started: str = "2030-01-02T03:04:05+00:00") -> dict[str, Any]:
    def kernel(op: str, direction: str, precision: str) -> dict[str, Any]:
        return {"op": op, "direction": direction, "precision": precision, "ran": 3, "passed": 3} | {
            "worst_error_over_bound": 0.25,
            "worst_case": "made up",
        }

    kernels = [kernel("relu", d, p) for d in ("fprop", "bprop") for p in status_table.PRECISIONS]
    kernels += [kernel("conv2d", d, p) for d in ("fprop", "dgrad") for p in status_table.PRODUCT_PRECISIONS]
    return {
        "kind": status_table.KIND,
        "passed": True,
        "started": started,
        "commit": "0123456789abcdef",
        "dirty": False,
        "built": True,
        "gpu": {"name": name, "capability": "9.0", "driver": "580.00"},
        "versions": {"nvcc": "13.0.88"},
        "stages": [{"name": stage, "status": "passed", "reason": ""} for stage in status_table.STAGES],
        "kernels": kernels,
    }


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of each row by its first."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells}


def on_gpu(*reports: dict[str, Any]) -> dict[str, str]:
    text = status_table.render(OPS, False, reports)
    return {first.strip("`"): cells[-1] for first, cells in rows(text).items() if first}


NETWORK = "the network: training, prediction, two towers"
NONE = {NETWORK: "not yet", "conv2d": "not yet", "relu": "not yet"}


def test_without_a_report_no_kernel_has_run() -> None:
    text = status_table.render(OPS, True, [])
    assert text.startswith(NOTHING + "\n\n| |")
    assert on_gpu() == NONE
    assert rows(text)["`conv2d`"] == ["yes", "yes", "yes", "not yet"]
    assert rows(text)["`relu`"] == ["yes", "yes", "not yet", "not yet"]
    assert rows(text)[NETWORK] == ["yes", "", "yes", "not yet"]


def test_a_whole_passed_check_counts() -> None:
    text = status_table.render(OPS, False, [made_up()])
    assert on_gpu(made_up()) == dict.fromkeys(NONE, "Made-up 1")
    assert NOTHING not in text
    assert "- Made-up 1 (sm_90, driver 580.00, nvcc 13.0.88), 2030-01-02, commit `0123456789ab`: everything" in text
    assert "the largest error was 0.25 of its bound" in text
    assert set(on_gpu(made_up("A"), made_up("B")).values()) == {"A, B"}


@pytest.mark.parametrize("status", ["failed", "out of time", "not run", "cut", "absent"])
@pytest.mark.parametrize("stage", status_table.STAGES)
def test_one_stage_that_did_not_pass_is_no_pass(stage: str, status: str) -> None:
    report = made_up()
    entry = next(entry for entry in report["stages"] if entry["name"] == stage)
    if status == "absent":
        report["stages"].remove(entry)
    else:
        entry.update(status=status, reason="a | reason\nof two lines")
    assert on_gpu(report) == NONE
    text = status_table.render(OPS, False, [report])
    assert "**No check on a GPU has passed yet**" in text
    assert f"**not passed**: {stage} {status}" in text
    assert "everything passed" not in text
    assert [line for line in text.splitlines() if line.startswith("of two")] == []
    # Beside one that passed, too.
    assert on_gpu(report, made_up("B")) == dict.fromkeys(NONE, "B")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("passed", False, "the report itself says so"),
        ("dirty", True, "the sources were not those of a commit"),
        ("dirty", None, "the sources were not those of a commit"),
        ("commit", None, "the sources were not those of a commit"),
        ("built", False, "the package was not built from the sources"),
    ],
)
def test_other_reasons_not_to_count(field: str, value: Any, words: str) -> None:
    report = made_up() | {field: value}
    assert on_gpu(report) == NONE
    assert words in status_table.render(OPS, False, [report])


@pytest.mark.parametrize("change", ["one failed", "none ran", "a precision is missing", "no such operation"])
def test_an_operation_counts_only_where_all_of_it_passed(change: str) -> None:
    report = made_up()
    entry = next(e for e in report["kernels"] if e["op"] == "conv2d" and e["precision"] == "tf32")
    if change == "one failed":
        entry["passed"] = 2
    elif change == "none ran":
        entry.update(ran=0, passed=0)
    elif change == "a precision is missing":
        report["kernels"].remove(entry)
    else:
        report["kernels"] = [e for e in report["kernels"] if e["op"] != "conv2d"]
    assert on_gpu(report) == {NETWORK: "Made-up 1", "conv2d": "not yet", "relu": "Made-up 1"}


def test_the_last_report_of_a_gpu_counts(tmp_path: Path) -> None:
    later = made_up(started="2030-02-01T00:00:00+00:00")
    later["stages"][0]["status"] = "failed"
    paths = []
    for number, report in enumerate((later, made_up(), made_up("B"))):
        paths.append(tmp_path / f"gpu-check-{number}.json")
        paths[-1].write_text(json.dumps(report))
    found = {report["gpu"]["name"]: report["started"] for report in status_table.latest_reports(paths)}
    assert found == {"Made-up 1": later["started"], "B": made_up()["started"]}
    assert on_gpu(*status_table.latest_reports(paths)) == dict.fromkeys(NONE, "B")
    paths[0].write_text("{}")
    with pytest.raises(ValueError, match="is no report of gpu_check"):
        status_table.latest_reports(paths)


def test_report_and_table_speak_of_the_same_stages() -> None:
    assert [s.name for s in gpu_stages.all_stages(gpu_stages.Setup(Path()))] == list(status_table.STAGES)
    assert status_table.KIND == gpu_report.KIND


def repository(root: Path) -> None:
    """Write as much of a repository as the table reads."""
    texts = {
        "csrc/ops/relu.h": "",
        "csrc/ops/relu.cu": "",
        "csrc/ops/sgd.h": "",
        "csrc/ops/sgd.cu": "",
        "csrc/ops/table.h": 'kName = "tanh"; kName = "cosh"',
        "csrc/ops/table.cu": "",
        "csrc/ops/pool_plan.h": "",
        "csrc/ops/relu_float16.cu": "",
        "python/alexnet_cuda/backends/cpu/relu.py": "",
        "python/alexnet_cuda/backends/cpu/table.py": "",
        "tests/ops/backends.py": "BACKENDS = {}",
        "tests/ops/test_relu.py": "def test(backend: Backend) -> None: ...",
        "tests/test_config.py": "_simt.relu_fprop_config(x); _simt.tanh_bprop(x)",
        "README.md": f"before\n{status_table.BEGIN}\nold\n{status_table.END}\nafter\n",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_operations_are_found_in_the_sources(tmp_path: Path) -> None:
    repository(tmp_path)
    found = {op.name: op for op in status_table.find_operations(tmp_path)}
    assert list(found) == ["cosh", "relu", "sgd", "tanh"]
    assert [op.numpy for op in found.values()] == [True, True, False, True]
    # A launch choice runs no kernel; a call does, and so do an operation's tests once there is the backend.
    assert [op.executor for op in found.values()] == [False, False, False, True]
    (tmp_path / "tests" / "ops" / "backends.py").write_text('BACKENDS = {"simt": 1}')
    assert [op.executor for op in status_table.find_operations(tmp_path)] == [False, True, False, True]
    parts = tmp_path / "benchmarks" / "gpu_check_parts"
    parts.mkdir(parents=True)
    (parts / "small_calls.py").write_text('CALLS = {\n    "sgd": sgd,\n}')
    assert [op.executor for op in status_table.find_operations(tmp_path)] == [False, True, True, True]


def test_only_committed_reports_are_read(tmp_path: Path) -> None:
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    for name in ("gpu-check-a.json", "gpu-check-b.json", "cpu.json"):
        (results / name).touch()
    assert [path.name for path in status_table.committed_reports(tmp_path)] == ["gpu-check-a.json", "gpu-check-b.json"]
    if shutil.which("git") is None:
        pytest.skip("no git here")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "add", "benchmarks/results/gpu-check-b.json"], check=True)
    assert [path.name for path in status_table.committed_reports(tmp_path)] == ["gpu-check-b.json"]


def test_check_fails_until_the_table_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository(tmp_path)
    before = (tmp_path / "README.md").read_text()
    assert status_table.main(["--check"], tmp_path) == 1
    assert "run python tools/status_table.py" in capsys.readouterr().out
    assert (tmp_path / "README.md").read_text() == before
    assert status_table.main([], tmp_path) == 0
    assert status_table.main(["--check"], tmp_path) == 0
    written = (tmp_path / "README.md").read_text()
    assert written.startswith(f"before\n{status_table.BEGIN}\n{NOTHING}\n")
    assert written.endswith(f"{status_table.END}\nafter\n")
    assert "old" not in written


def test_markers_must_be_there() -> None:
    for text in ("", status_table.BEGIN, f"{status_table.END} {status_table.BEGIN}", 2 * status_table.BEGIN):
        with pytest.raises(ValueError, match="must hold <!-- status:begin -->"):
            status_table.replace_block(text, "x")


def test_readme_is_up_to_date() -> None:
    assert status_table.main(["--check"]) == 0
