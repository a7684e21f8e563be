"""Measuring an operation: who is checked, captured, timed and reported how; on fake devices and on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from benchmarks import opponents
from benchmarks.harness import bench as bench_module
from benchmarks.harness import results
from benchmarks.harness.bench import Bench, Contender, Prepared, measure
from benchmarks.harness.cases import Case
from benchmarks.harness.contest import DeviceLost, Unavailable, Unsupported
from benchmarks.harness.device import Captured, kernel_names

from .fakes import FakeDevice

CASE = Case("softmax_cross_entropy", "fprop", "logits", 2, "float32")


def right(bench: Bench, index: int) -> None:
    a = bench.sets[index]
    power = np.exp(a["logits"])
    dlogits = np.divide(power, power.sum(axis=1, keepdims=True), out=a["dlogits"])
    dlogits[np.arange(2), a["labels"]] -= 1
    dlogits /= 2


def contender(
    device: FakeDevice, name: str, family: str, seconds: float, call: Callable[[Bench, int], Any] = right, **fields: Any
) -> Contender:
    def prepare(bench: Bench) -> Prepared:
        def run(index: int) -> None:
            call(bench, index)
            device.spend(seconds)

        bench.cleanup.callback(device.closed.append, name)
        return Prepared(run, bench.download, **fields)

    return Contender(name, family, prepare)


def raising(name: str, error: Exception) -> Contender:
    def prepare(bench: Bench) -> Prepared:
        raise error

    return Contender(name, "library", prepare)


def run(device: Any, *others: Contender, case: Case = CASE) -> tuple[results.Record, list[str]]:
    stages: list[str] = []
    return measure(Bench(case, device), list(others), 0.0, stages.append), stages


def test_everyone_is_reported():
    device = FakeDevice()
    record, stages = run(
        device,
        contender(device, "ours", "ours", 1e-4),
        contender(device, "fast", "library", 2e-4),
        contender(device, "slow", "library", 4e-4),
        contender(device, "slowest", "library", 9e-4),
        raising("absent", Unavailable("no libfast: pip install it")),
        raising("incapable", Unsupported("no bfloat16")),
        raising("broken", KeyError("x")),
    )
    c = record["contenders"]
    assert stages == ["ours", "fast", "slow", "slowest", "absent", "incapable", "broken"]
    assert [c[n]["status"] for n in stages] == ["ok"] * 4 + ["unavailable", "unsupported", "failed"]
    assert c["absent"]["message"] == "no libfast: pip install it"
    assert c["ours"]["cold"]["median"] == pytest.approx(100.0)
    assert c["ours"]["warm"]["median"] == pytest.approx(100.0)
    assert c["ours"]["kernels"] == ["fake"]
    assert "warm" not in c["slowest"], "the best two of a family go on"
    assert c["slowest"]["cold"]["provisional"]
    assert results.best(record, "library") == ("fast", pytest.approx(200.0))
    assert device.closed == ["ours", "fast", "slow", "slowest"], "what each opened is given back"
    results.check({**results.new({}), "measurements": [record]})


def test_nobody_is_begun_when_the_time_is_over():
    device = FakeDevice()
    both = [contender(device, "ours", "ours", 1e-4), contender(device, "late", "library", 2e-4)]
    record = measure(Bench(CASE, device, end=1e-4), both, 0.0)
    assert [c["status"] for c in record["contenders"].values()] == ["ok", "left out"]
    results.check({**results.new({}), "measurements": [record]})


def test_wrong_results_are_not_timed():
    def swapped(bench: Bench, index: int) -> None:
        right(bench, index)
        bench.sets[index]["dlogits"][...] = bench.sets[index]["dlogits"][::-1].copy()

    def partly(bench: Bench, index: int) -> None:
        right(bench, index)
        bench.sets[index]["dlogits"][1, 500:] = np.nan

    device = FakeDevice()
    record, _ = run(
        device,
        contender(device, "ours", "ours", 1e-4),
        contender(device, "swapped", "library", 1e-4, swapped),
        contender(device, "partly", "torch", 1e-4, partly),
        contender(device, "nothing", "torch", 1e-4, lambda bench, index: None),
    )
    c = record["contenders"]
    for name in ("swapped", "partly", "nothing"):
        assert c[name]["status"] == "wrong"
        assert "cold" not in c[name]
    assert "checked elements are off" in c["swapped"]["message"]
    assert "500 of 2000 elements are NaN" in c["partly"]["message"]
    assert "2000 of 2000 elements are NaN" in c["nothing"]["message"], "poisoned before, though ours had filled it"
    assert len(results.wrong({"measurements": [record]})) == 3


def test_a_search_turns_to_its_next_algorithm_after_wrong_results():
    device, at = FakeDevice(), [0]

    def call(bench: Bench, index: int) -> None:
        right(bench, index)
        if at[0] < 2:
            bench.sets[index]["dlogits"][...] *= 2

    def retry() -> bool:
        at[0] += 1
        return at[0] < 5

    record, _ = run(device, contender(device, "searching", "library", 1e-4, call, retry=retry))
    found = record["contenders"]["searching"]
    assert found["status"] == "ok"
    assert at[0] == 2
    assert len(found["detail"]["rejected"]) == 2


def test_a_lost_device_is_not_mistaken_for_a_failed_contender():
    device = FakeDevice()

    def fault(bench: Bench, index: int) -> None:
        device.lost = True
        raise RuntimeError("illegal address")

    with pytest.raises(DeviceLost) as lost:
        run(device, contender(device, "ours", "ours", 1e-4), contender(device, "faulty", "library", 1e-4, fault))
    assert lost.value.contender == "faulty"


def test_every_set_has_numbers_of_its_own_and_is_run():
    device, seen = FakeDevice(), []

    def call(bench: Bench, index: int) -> None:
        seen.append(index)
        right(bench, index)

    bench = Bench(CASE, device)
    assert len(bench.sets) >= 2
    assert not np.array_equal(bench.sets[0]["logits"], bench.sets[1]["logits"])
    measure(bench, [contender(device, "ours", "ours", 1e-3, call)], 0.0)
    assert set(seen) == set(range(len(bench.sets)))


def checks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs on the CPU takes longer than it may to be timed."""
    monkeypatch.setattr(bench_module, "_replay", lambda *arguments: lambda: None)
    monkeypatch.setattr(bench_module, "_capture", lambda *arguments: Captured(lambda: None))


def test_updates_in_place_start_anew_for_everyone(monkeypatch):
    checks_alone(monkeypatch)
    case, device = Case("linear", "wgrad_sgd", "fc8", 2, "float32"), FakeDevice()
    device.cache_bytes = 1
    ours = bench_module.ours(case)
    both = [ours, Contender("again", "library", ours.prepare)]
    record, _ = run(device, *both, case=case)
    assert [c["status"] for c in record["contenders"].values()] == ["ok", "ok"]


@pytest.mark.parametrize(
    "case",
    [
        Case("softmax_cross_entropy", "fprop", "logits", 8, "bfloat16"),
        Case("conv2d", "fprop_fused", "conv5", 2, "float32"),
        Case("conv2d", "dgrad", "conv5", 2, "float32"),
        Case("conv2d", "wgrad_sgd", "conv5", 2, "float32"),
        *(Case("linear", d, "fc8", 2, "float32") for d in ("fprop", "fprop_fused", "dgrad", "wgrad")),
        *(Case(op, d, "lrn2", 2, "float32") for op in ("lrn", "lrn_max_pool") for d in ("fprop", "bprop")),
        *(Case("max_pool", d, "pool5", 2, "bfloat16") for d in ("fprop", "bprop")),
    ],
    ids=lambda c: c.key,
)
def test_what_runs_on_the_cpu_runs_here(case, monkeypatch):
    """PyTorch where it is, on NumPy's arrays; every opponent that is not installed says how to get it."""
    checks_alone(monkeypatch)
    device = FakeDevice()
    device.cache_bytes = 1
    theirs = [c for c in opponents.contenders(case) if c.family == "torch" and "compiled" not in c.name]
    record = measure(Bench(case, device), theirs, 0.0)
    assert record["contenders"]
    for c in record["contenders"].values():
        assert c["status"] in ("ok", "unavailable"), c
        assert c["status"] == "ok" or "pip install" in c["message"]


def test_kernel_names_of_a_graph():
    dot = (
        'digraph dot {\n"graph_1_node_0"[style="bold" shape="record" label="{KERNEL\n'
        "| {ID | 0 (topoId: 3) | _ZN7cutlass7Kernel2I3abcEEvNT_6ParamsE\\<\\<\\<64,256,49152\\>\\>\\>}\n"
        '| {{node handle | func handle} | {0x1 | 0x2}}}"];\n"graph_1_node_1"[label="{\nMEMSET\n| {{ID}}}"];\n'
        '"graph_1_node_2"[label="{KERNEL\n| {ID | 2 (topoId: 1) | relu\\<\\<\\<\\{1,2\\},128,0\\>\\>\\>}\n}"];\n}'
    )
    assert kernel_names(dot) == ["_ZN7cutlass7Kernel2I3abcEEvNT_6ParamsE", "relu"]


def test_all_contenders_of_all_cases_are_named_apart():
    from benchmarks import ops

    for case in ops.cases(128, "bfloat16") + ops.cases(128, "float32"):
        names = [c.name for c in opponents.contenders(case)]
        assert names[0] == "ours"
        assert len(set(names)) == len(names)
        if case.op in ("conv2d", "linear") and case.direction in ("fprop", "dgrad", "wgrad"):
            assert {c.family for c in opponents.contenders(case)} == {"ours", "library", "torch"}
