"""The small set that compute-sanitizer runs: its shapes and calls are right, and it fails what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .ops.backends import BACKENDS

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "benchmarks"))

from gpu_check_parts import small_calls, small_products, small_set  # noqa: E402

from alexnet_cuda import ops  # noqa: E402

PRODUCTS, CALLS = small_products.PRODUCTS, small_calls.CALLS
# On a GPU the check itself runs it.
HERE = [backend for backend in BACKENDS.values() if backend.name not in ("cuda", "numpy")]


def records_of(backend: str, precision: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    small_set.run_all(BACKENDS[backend], records.append, [precision])
    return records


@pytest.mark.parametrize(
    ("backend", "precision"),
    [(b.name, p.name) for b in HERE for p in b.products],
    ids=[f"{b.name}-{p.name}" for b in HERE for p in b.products],
)
def test_all_calls_pass(backend: str, precision: str) -> None:
    records = records_of(backend, precision)
    assert [record for record in records if record["status"] != "passed"] == []
    expected = {*PRODUCTS, *(CALLS if precision != "tf32" else ())} - ({"bias"} if backend == "cpu" else set())
    assert {record["op"] for record in records} == expected
    assert all(0 <= record["error_over_bound"] <= 1 for record in records)
    assert any(record["error_over_bound"] > 0.01 for record in records)


def test_every_operation_is_called() -> None:
    assert {*PRODUCTS, *CALLS} == {*ops.__all__, "bias"}
    directions = {(r["op"], r["direction"]) for r in records_of("cpu", "float32")}
    for op in PRODUCTS:
        assert {direction for name, direction in directions if name == op} == {"fprop", "dgrad", "wgrad"}
    for op in ("relu", "tanh", "max_pool", "avg_pool", "lrn", "lrn_max_pool"):
        assert {direction for name, direction in directions if name == op} == {"fprop", "bprop"}


@pytest.mark.parametrize("wrong", ["one element", "unwritten", "raises", "scaled"])
def test_what_is_wrong_fails(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    right = ops.conv2d.dgrad

    def dgrad(dy: Any, *arguments: Any, **options: Any) -> Any:
        dx = right(dy, *arguments, **options)
        if dy.dtype == np.float64:  # the reference
            return dx
        if wrong == "raises":
            raise RuntimeError("an illegal memory access")
        dx.flat[-1] = dx.flat[-1] + 1 if wrong == "one element" else np.nan if wrong == "unwritten" else dx.flat[-1]
        return dx * np.float32(1.001) if wrong == "scaled" else dx

    monkeypatch.setattr(ops.conv2d, "dgrad", dgrad)
    failed = [r for r in records_of("cpu", "float32") if r["status"] != "passed"]
    assert len({r["case"] for r in failed}) == len(small_products.CONVOLUTIONS) + 2  # two of them also fused
    assert {(r["op"], r["direction"]) for r in failed} == {("conv2d", "dgrad")}
    assert all("illegal memory access" in r["message"] for r in failed) == (wrong == "raises")


def test_an_operation_that_breaks_before_its_calls_fails_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(small: Any) -> None:
        raise AttributeError("no such operation")

    monkeypatch.setitem(CALLS, "relu", broken)
    records = records_of("cpu", "float32")
    assert [r["message"] for r in records if r["status"] != "passed"] == ["AttributeError: no such operation"]
    assert {"tanh", "augment"} <= {r["op"] for r in records}


def test_command_writes_a_line_a_comparison(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_check_parts" / "small_set.py")]
    output = tmp_path / "small.jsonl"
    done = subprocess.run(
        [*command, "--backend", "cpu", "--output", str(output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(output.read_text().splitlines()) == len(records_of("cpu", "float32"))
    assert json.loads(output.read_text().splitlines()[0])["op"] == "conv2d"
    if "cuda" not in BACKENDS:
        done = subprocess.run([*command, "--output", str(output)], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "no backend 'cuda' here" in done.stdout
