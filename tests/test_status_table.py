"""README's status table: what sources and reports say, and that nothing but a whole passed check reads as passed.

All reports here are invented; no GPU of these names exists.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools")]
sys.path.append(str(ROOT))

from benchmarks.gpu_check_parts import report as gpu_report  # noqa: E402
from benchmarks.gpu_check_parts import stages as gpu_stages  # noqa: E402

import status_table  # noqa: E402

OPS = [
    status_table.Operation("conv2d", numpy=True, compiled=True, executor=True),
    status_table.Operation("relu", numpy=True, compiled=True, executor=False),
]
NOTHING = "**No kernel has run on a GPU yet.**"
NETWORK = "the network: training, prediction, two towers"
NONE = {NETWORK: "not yet", "conv2d": "not yet", "relu": "not yet"}


def invented(name: str = "Invented 1", started: str = "2030-01-02T03:04:05+00:00") -> dict[str, Any]:
    ran = [("relu", p) for p in status_table.PRECISIONS] + [("conv2d", p) for p in (*status_table.PRECISIONS, "tf32")]
    kernels = [{"op": op, "precision": precision, "passed": 3, "failed": 0} for op, precision in ran]
    kernels[0]["worst_error_over_bound"] = 0.25
    stages = [{"name": stage, "status": "passed", "reason": "", "kernels": []} for stage in status_table.STAGES]
    stages[status_table.STAGES.index("tests")]["kernels"] = kernels
    stages[status_table.STAGES.index("environment")]["doctor"] = {"build": {"cuda": {"version": "13.0.88"}}}
    return {
        "kind": status_table.KIND,
        "format": status_table.FORMAT,
        "passed": True,
        "started": started,
        "commit": "0123456789ab",
        "built": True,
        "gpu": {"name": name, "capability": "9.0", "driver": "580.00"},
        "stages": stages,
    }


def rows(*reports: dict[str, Any]) -> dict[str, list[str]]:
    """Return the cells of each row of the table by its first."""
    text = status_table.render(OPS, False, reports)
    cells = [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "
    ]
    return {first: rest for first, *rest in cells if first}


def on_gpu(*reports: dict[str, Any]) -> dict[str, str]:
    return {first: rest[-1] for first, rest in rows(*reports).items()}


def test_without_a_report_no_kernel_has_run() -> None:
    assert status_table.render(OPS, True, []).startswith(NOTHING + "\n\n| |")
    assert rows() == {
        NETWORK: ["yes", "", "not yet", "not yet"],
        "conv2d": ["yes", "yes", "yes", "not yet"],
        "relu": ["yes", "yes", "not yet", "not yet"],
    }


def test_a_whole_passed_check_counts() -> None:
    text = status_table.render(OPS, False, [invented()])
    assert on_gpu(invented()) == dict.fromkeys(NONE, "Invented 1")
    assert NOTHING not in text
    assert "- Invented 1 (sm_90, driver 580.00, nvcc 13.0.88), 2030-01-02, commit `0123456789ab`: everything" in text
    assert "the largest error was 0.25 of its bound" in text
    assert set(on_gpu(invented("A"), invented("B")).values()) == {"A, B"}


@pytest.mark.parametrize("status", ["failed", "out of time", "not run", "cut", "absent"])
def test_one_stage_that_did_not_pass_is_no_pass(status: str) -> None:
    for number, stage in enumerate(status_table.STAGES):
        report = invented()
        if status == "absent":
            del report["stages"][number]
        else:
            report["stages"][number].update(status=status, reason="a | reason\nof two lines")
        text = status_table.render(OPS, False, [report])
        assert on_gpu(report) == NONE
        assert "**No check on a GPU has passed yet**" in text
        assert f"**not passed**: {stage} {status}" in text
        assert not any(line.startswith("of two") for line in text.splitlines())
        assert on_gpu(report, invented("B")) == dict.fromkeys(NONE, "B")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("passed", False, "the report itself says so"),
        ("commit", "0123456789ab+", "the sources were not those of a commit"),
        ("commit", "unknown", "the sources were not those of a commit"),
        ("built", False, "the package was not built from the sources"),
    ],
)
def test_other_reasons_not_to_count(field: str, value: Any, words: str) -> None:
    report = invented() | {field: value}
    assert on_gpu(report) == NONE
    assert words in status_table.render(OPS, False, [report])


@pytest.mark.parametrize("change", [{"failed": 1}, {"passed": 0}, {"precision": "float64"}, {"op": "conv3d"}], ids=str)
def test_an_operation_counts_only_where_all_of_it_passed(change: dict[str, Any]) -> None:
    report = invented()
    entry = next(
        e for e in status_table.stage(report, "tests")["kernels"] if (e["op"], e["precision"]) == ("conv2d", "tf32")
    )
    entry.update(change)
    assert on_gpu(report) == {NETWORK: "Invented 1", "conv2d": "not yet", "relu": "Invented 1"}


def test_the_last_report_of_a_gpu_counts(tmp_path: Path) -> None:
    later = invented(started="2030-02-01T00:00:00+00:00")
    later["stages"][0]["status"] = "failed"
    paths = []
    for number, report in enumerate((later, invented(), invented("B"))):
        paths.append(tmp_path / f"gpu-check-{number}.json")
        paths[-1].write_text(json.dumps(report))
    assert on_gpu(*status_table.latest_reports(paths)) == dict.fromkeys(NONE, "B")
    for other in ("{}", json.dumps(invented() | {"format": 1})):
        paths[0].write_text(other)
        with pytest.raises(ValueError, match="is not a report of gpu_check"):
            status_table.latest_reports(paths)


def test_report_and_table_speak_of_the_same_stages() -> None:
    assert [s.name for s in gpu_stages.all_stages(gpu_stages.Setup(Path()))] == list(status_table.STAGES)
    assert (status_table.KIND, status_table.FORMAT) == (gpu_report.KIND, gpu_report.FORMAT)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """As much of a repository as the table reads."""
    texts = {
        "python/alexnet_cuda/ops/_dispatch.py": "",
        "python/alexnet_cuda/ops/relu.py": 'backend("activation", x, y).fprop(x, y)',
        "python/alexnet_cuda/ops/sgd.py": "",
        "python/alexnet_cuda/backends/cpu/sgd.py": "",
        "python/alexnet_cuda/backends/kernels/activation.py": "",
        "tests/ops/backends.py": 'BACKENDS = {"simt": 1}',
        "tests/ops/test_relu.py": "def test(backend: Backend) -> None: ...",
        "benchmarks/results/gpu-check-a.json": "",
        "benchmarks/results/gpu-check-b.json": "",
        "benchmarks/results/cpu.json": "",
        "README.md": f"before\n{status_table.BEGIN}\nold\n{status_table.END}\nafter\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_operations_are_found_in_the_sources(repository: Path) -> None:
    relu = status_table.Operation("relu", numpy=False, compiled=True, executor=True)
    sgd = status_table.Operation("sgd", numpy=True, compiled=False, executor=False)
    assert status_table.find_operations(repository) == [relu, sgd]
    (repository / "tests" / "ops" / "backends.py").write_text("BACKENDS = {}")
    assert not any(op.executor for op in status_table.find_operations(repository))


def test_only_committed_reports_are_read(repository: Path) -> None:
    def found() -> list[str]:
        return [path.name for path in status_table.committed_reports(repository)]

    assert found() == ["gpu-check-a.json", "gpu-check-b.json"]
    subprocess.run(["git", "init", "-q", repository], check=True)
    subprocess.run(["git", "-C", repository, "add", "benchmarks/results/gpu-check-b.json"], check=True)
    assert found() == ["gpu-check-b.json"]


def test_check_fails_until_the_table_is_written(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (repository / "benchmarks" / "results" / f"gpu-check-{name}.json").unlink()
    before = (repository / "README.md").read_text()
    assert status_table.main(["--check"], repository) == 1
    assert "run python tools/status_table.py" in capsys.readouterr().out
    assert (repository / "README.md").read_text() == before
    assert status_table.main([], repository) == 0
    assert status_table.main(["--check"], repository) == 0
    written = (repository / "README.md").read_text()
    assert written.startswith(f"before\n{status_table.BEGIN}\n{NOTHING}\n")
    assert written.endswith(f"{status_table.END}\nafter\n")
    assert "old" not in written
    for text in ("", status_table.BEGIN, f"{status_table.END} {status_table.BEGIN}", 2 * status_table.BEGIN):
        with pytest.raises(ValueError, match="must hold <!-- status:begin -->"):
            status_table.replace_block(text, "x")


def test_readme_is_up_to_date() -> None:
    assert status_table.main(["--check"]) == 0
