"""A step's contest: search, finalists, what is wrong, what is left out; contenders are pretended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmarks.harness import results, steps
from benchmarks.harness.contest import DeviceLost, Unavailable, Wrong
from benchmarks.opponents.torch_step import Setting

from .fakes import FakeDevice

OPTIONS = {"mode": "training", "batch": 2, "precision": "bfloat16", "search": True}
Theirs = Callable[[Setting], float]


def run(
    monkeypatch: pytest.MonkeyPatch, theirs: Theirs, options: Any = None, **more: Any
) -> tuple[results.Record, list[str]]:
    device, stages = FakeDevice(), []

    def side(seconds: float) -> Callable[[], None]:
        return lambda: device.spend(seconds)

    monkeypatch.setattr(steps._Steps, "ours", lambda *arguments: side(1e-3))
    monkeypatch.setattr(steps._Steps, "theirs", lambda self, setting, *rest: side(theirs(setting)))
    arguments = {"shared": {}, "excluded": [], **more}
    record = steps.measure(device, {**OPTIONS, **(options or {})}, seconds=0.0, stage=stages.append, **arguments)
    results.check({**results.new({}), "measurements": [record]})
    return record, stages


def seconds(s: Setting) -> float:
    if s.convolutions == "cuDNN":
        raise Unavailable("no package cudnn: pip install nvidia-cudnn-frontend")
    if s.run == "max-autotune":
        raise ValueError("the compiler gave up")
    return {"graph": 2e-3, "eager": 5e-3, "reduce-overhead": 3e-3}[s.run] - (s.weights == "pure") * 5e-4


def test_the_best_configuration_is_found_and_named(monkeypatch):
    record, stages = run(monkeypatch, seconds)
    best = Setting(weights="pure")
    assert results.best(record, "torch") == (best.name, pytest.approx(1500.0))
    assert results.best(record, "ours") == ("ours", pytest.approx(1000.0))
    ours = record["contenders"]["ours"]
    assert ours["images_per_second"] == pytest.approx(2000)
    assert ours["cold"]["rounds"] >= 11
    assert record["settings"][0] == vars(best)
    status = {name: c["status"] for name, c in record["contenders"].items()}
    assert status[Setting(weights="pure", convolutions="cuDNN").name] == "unavailable"
    assert status[Setting(weights="pure", run="max-autotune").name] == "failed"
    eager = record["contenders"][Setting(weights="pure", run="eager").name]
    assert eager["cold"]["provisional"], "tried in the search, not in the last measurement"
    assert stages[0] == "ours"
    assert len(record["contenders"]) == 1 + 10


def test_later_batches_take_what_was_found(monkeypatch):
    shared = {"settings": {"training": [vars(Setting(weights="pure", channels=8)), vars(Setting())]}}
    record, stages = run(monkeypatch, seconds, {"search": False, "mode": "inference"}, shared=shared)
    assert stages == ["ours", Setting(weights="pure", channels=8).name, Setting().name]
    assert {c["family"] for c in record["contenders"].values()} == {"ours", "torch"}
    exact, _ = run(monkeypatch, seconds, {"search": False, "precision": "tf32"}, shared=shared)
    assert Setting(weights="float32", channels=8).name in exact["contenders"]


def test_a_search_ends_with_the_run(monkeypatch):
    record, stages = run(monkeypatch, seconds, end=1e-2)
    assert stages[0] == "ours"
    assert len(stages) == 2, "the first setting takes the rest of the time"
    assert results.best(record, "torch") is not None


def test_who_took_the_device_is_not_asked_again(monkeypatch):
    lost = Setting().name
    record, stages = run(monkeypatch, seconds, excluded=["ours", lost])
    assert "ours" not in record["contenders"]
    assert lost not in stages
    assert results.best(record, "torch") is not None


def test_another_network_is_wrong(monkeypatch):
    def other(s: Setting) -> float:
        if s.channels == 4:
            raise Wrong("logits are off")
        return seconds(s)

    record, _ = run(monkeypatch, other)
    wrong = results.wrong({"measurements": [record]})
    assert len(wrong) == 1
    assert "conv1 padded to 4: logits are off" in wrong[0]


def test_logits_are_compared_by_their_norm():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((4, 1000))
    near = logits * (1 + 0.02 * rng.standard_normal(logits.shape))
    steps.compare("x", near, logits, "bfloat16")
    for precision, other in (("float32", near), ("bfloat16", logits[::-1]), ("bfloat16", logits * np.nan)):
        with pytest.raises(Wrong, match="logits of x are off"):
            steps.compare("x", other, logits, precision)


def test_a_lost_device_is_passed_on(monkeypatch):
    device = FakeDevice()

    def fault(*arguments: Any) -> Any:
        device.lost = True
        raise RuntimeError("illegal address")

    monkeypatch.setattr(steps._Steps, "ours", fault)
    with pytest.raises(DeviceLost) as lost:
        steps.measure(device, OPTIONS, {}, 0.0, [])
    assert lost.value.contender == "ours"


def test_the_events_wait_for_the_models_own_streams(monkeypatch):
    log: list[str] = []

    def tower(name: str) -> Any:
        return SimpleNamespace(device=SimpleNamespace(record=lambda: log.append(f"record {name}") or name))

    stream = SimpleNamespace(wait_event=lambda event: log.append(f"wait for {event}"))
    cuda = SimpleNamespace(get_current_stream=lambda: stream)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    model = SimpleNamespace(towers=[tower("a"), tower("b")])
    step = steps.followed(model, lambda: log.append("step") or "loss")
    assert step() == "loss"
    assert log == ["step", "record a", "wait for a", "record b", "wait for b"]
