"""A model's network as a module: the same numbers, and the same memory."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alexnet_cuda import Model
from alexnet_cuda.config import PRESETS
from alexnet_cuda.torch import as_module
from tests.model.tiny import batch, tiny


def tensors(model: Model) -> tuple[Tensor, Tensor]:
    images, labels = batch(model)
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


def difference(actual: Tensor, expected: Any) -> float:
    """Relative to the norm."""
    return float(np.linalg.norm(actual.detach().numpy() - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(
    "overrides",
    [*({"preset": p} for p in PRESETS if p != "original"), {"pool": "average", "precision": "float64"}],
    ids=str,
)
def test_the_same_numbers_and_the_same_memory(overrides: dict[str, Any]) -> None:
    model = tiny(**overrides, seed=2**64 - 5)
    (images, labels), (x, targets) = batch(model), tensors(model)
    module = as_module(model)
    assert [name for name, _ in module.named_parameters()] == list(model.parameters)
    assert module.training
    eps = np.finfo(model.config.precision).eps
    same = 200 * eps if model.config.pool == "average" else 0.0  # PyTorch adds in another order; docs/design.md
    logits = module(x)
    assert difference(logits, model.forward(images, train=True)) <= same
    torch.nn.functional.cross_entropy(logits, targets).backward()
    model.backward(labels)
    for name, parameter in module.named_parameters():
        gradient = parameter.grad.permute(0, 2, 3, 1) if parameter.dim() == 4 else parameter.grad
        assert difference(gradient, model.gradients[name]) <= 200 * eps  # the loss's gradient is PyTorch's

    before = model.forward(images)
    torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9).step()
    module.eval()
    after = model.forward(images)
    assert not np.array_equal(after, before)
    assert difference(module(x), after) <= same
    model.train_step(images, labels)
    assert not np.array_equal(model.forward(images), after)
    assert difference(module(x), model.forward(images)) <= same


def test_every_training_pass_drops_others_as_the_models_steps_do() -> None:
    model = tiny(dropout=0.5)
    (images, labels), (x, _) = batch(model), tensors(model)
    model.train_step(images, labels, learning_rate=0.0)
    module = as_module(model)
    assert (module.step, model.step) == (1, 1)
    first, second = module(x), module(x)
    np.testing.assert_array_equal(first.detach().numpy(), model.forward(images, train=True))
    assert not torch.equal(first, second)
    assert module.step == 3
    other = as_module(tiny(dropout=0.5, seed=1))
    other.load_state_dict(module.state_dict())
    assert other.step == 3
    module.eval()
    other.eval()
    assert torch.equal(other(x), module(x))


def test_a_copy_is_a_copy() -> None:
    model = tiny()
    module = copy.deepcopy(as_module(model))
    before = model.parameters["fc8.bias"]
    with torch.no_grad():
        module.fc8.bias += 1
    np.testing.assert_array_equal(model.parameters["fc8.bias"], before)


def test_compiled_whole_with_its_gradients() -> None:
    model = tiny(num_classes=3)
    module, (x, _) = as_module(model), tensors(model)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    expected = [t.detach() for t in (module(x), module(x))]
    module.step.zero_()
    first, second = compiled(x), compiled(x)
    assert [torch.equal(a, e) for a, e in zip((first, second), expected, strict=True)] == [True, True]
    assert module.step == 2
    first.sum().backward()
    compiled_gradient = module.fc6.weight.grad.clone()
    module.zero_grad()
    module.step.zero_()
    module(x).sum().backward()
    assert torch.equal(module.fc6.weight.grad, compiled_gradient)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": ("cpu", "cpu")}, "takes a model of one tower, got one on cpu and cpu"),
        ({"devices": "simt"}, "takes a model on the CPU or a GPU, got one on 'simt'"),
        ({"devices": "simt", "precision": "bfloat16"}, "takes float32, tf32 or float64, got bfloat16"),
        ({"preset": "original"}, "preset original"),
    ],
)
def test_what_cannot_be_shared_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_module(tiny(**options))
