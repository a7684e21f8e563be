"""The search for PyTorch's best configuration, and what a setting is called. PyTorch itself is not needed."""

from __future__ import annotations

import importlib.util

from benchmarks.harness import self_check
from benchmarks.opponents.torch_step import RUNS, Setting, finalists, fitted, search


def test_the_search_keeps_the_better_of_every_choice():
    tried: list[Setting] = []

    def seconds(s: Setting) -> float | None:
        tried.append(s)
        if s.run == "max-autotune":
            return None
        cost = {"autocast": 2.0, "pure": 1.0}[s.weights] + {3: 0.5, 4: 0.2, 8: 0.3}[s.channels]
        return cost + (s.groups == "split") * 0.1 - (s.convolutions == "cuDNN") * 0.05 + RUNS.index(s.run)

    ranked = search("bfloat16", seconds)
    best = ranked[0] if ranked[0].family == "torch" else ranked[1]
    assert best == Setting(weights="pure", channels=4, groups="grouped", run="graph")
    assert len(tried) == len(set(tried)) == 10
    assert {s.run for s in tried} == set(RUNS), "both of the compiler's modes, eager and the graph by hand"
    assert all(s.run != "max-autotune" for s in ranked)
    final = finalists(ranked)
    assert [s.family for s in final].count("torch") == 2
    assert [s.family for s in final].count("library") == 1
    assert final[0] == best


def test_nothing_may_run():
    assert search("tf32", lambda s: None) == []
    assert finalists([]) == []


def test_float32_has_one_kind_of_weights():
    tried: list[Setting] = []
    search("tf32", lambda s: tried.append(s) or 1.0)  # type: ignore[func-returns-value]
    assert {s.weights for s in tried} == {"float32"}
    assert fitted(Setting(weights="pure", channels=8), "float32") == Setting(weights="float32", channels=8)
    assert fitted(Setting(weights="pure"), "float16").weights == "pure"


def test_names_tell_settings_apart():
    assert Setting().name == "PyTorch, CUDA graph by hand, autocast"
    odd = Setting("pure", "max-autotune", 8, "split", "library", "cuDNN")
    assert odd.name == (
        "cuDNN and cuBLAS, compiled, max-autotune, pure weights, conv1 padded to 8, a call a group, library LRN"
    )
    assert (Setting().family, odd.family) == ("torch", "library")


def test_the_pytorch_network_is_ours_where_pytorch_is(capsys):
    """The self-check: 0 where PyTorch is and agrees, 1 with a sentence where it is not."""
    code, text = self_check.main(), capsys.readouterr().out
    if importlib.util.find_spec("torch"):
        assert code == 0, text
        assert text.count("ok ") == len(self_check.SETTINGS)
    else:
        assert code == 1
        assert "pip install torch" in text
