"""The real comparisons with PyTorch; without it `test_convert.py` and `test_refused.py` stand for them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alexnet_cuda import Model, cli
from alexnet_cuda.convert import torch_module
from tests.convert import networks
from tests.convert.networks import network
from tests.convert.test_convert import CONVERTIBLE
from tests.convert.test_refused import Evil
from tests.model.tiny import tiny

X = np.random.default_rng(1).normal(0, 1, (2, 99, 99, 3)).astype(np.float32)


@pytest.mark.parametrize("preset", CONVERTIBLE)
def test_the_module_gives_the_logits(tmp_path: Path, preset: str) -> None:
    model = tiny(preset=preset, devices="cpu", image_size=99)
    model.save(tmp_path / "own")
    out = str(tmp_path / "out.safetensors")
    assert cli.main(["convert", str(tmp_path / "own"), out, "--to", "torch"]) == 0
    with torch.inference_mode():
        found = torch_module.load(out)(torch.from_numpy(X).permute(0, 3, 1, 2)).numpy()
    want = model.forward(X)
    assert np.abs(found - want).max() < 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("wrapped", ["", "state_dict", "module."])
def test_files_of_torch_save(tmp_path: Path, wrapped: str) -> None:
    tensors = {name: torch.from_numpy(value) for name, value in networks.state_dict(network("pool")).items()}
    if wrapped == "module.":  # DataParallel's, of the whole or of the features
        tensors = {name.replace("features.", "features.module."): value for name, value in tensors.items()}
        tensors = {name: torch.nn.Parameter(value) for name, value in tensors.items()}
    old = wrapped == "state_dict"
    content: Any = {"epoch": 3, "state_dict": tensors} if old else tensors
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
    model = Model.load(tmp_path / "a.pth", devices="cpu")
    x = np.random.default_rng(1).normal(0, 60, (2, 3, 95, 95)).astype(np.float32)
    want = networks.logits(network("pool"), x)
    assert np.abs(model.forward(x.transpose(0, 2, 3, 1)) - want).max() < 1e-5 * np.abs(want).max()


def test_nothing_of_a_pth_is_run(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    weight = torch.zeros(2)
    for content, words in (
        ({0: weight}, "holds no state dict, but dict"),
        *(
            ({"features.0.weight": x}, "features.0.weight is no dense tensor")
            for x in (weight.to_sparse(), weight * 1j)
        ),
        ({"features.0.weight": Evil()}, "more than weights"),
        (torch.nn.Linear(2, 2), "more than weights; of a whole module save its state_dict\\(\\)$"),
        ([1, 2], "holds no state dict, but list"),
    ):
        torch.save(content, "a.pth", pickle_module=pickle)
        with pytest.raises(ValueError, match=words):
            Model.load("a.pth")
    data = Path("a.pth").read_bytes()
    Path("a.pth").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="truncated"):
        Model.load("a.pth")
    assert os.listdir() == ["a.pth"]
