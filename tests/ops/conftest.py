"""The fixtures `backend` and `precision`: a test that names both runs on every backend in every precision it offers.

Instead of `backend`, `kernels` is every backend that runs the kernels. Instead of `precision`, `product` is every
precision that convolutions and fully connected layers multiply in, and `layer_product` those that they are tested in at
AlexNet's own size. The executor multiplies in each with the sums of tensor cores, in bfloat16 with exact ones too.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from alexnet_cuda.backends.cpu import native

from . import tolerance
from .backends import BACKENDS, Backend, mma_sums
from .small import is_small

PRECISIONS = {"precision": "precisions", "product": "products", "layer_product": "layers"}


@pytest.fixture(autouse=True)
def mma(request: pytest.FixtureRequest) -> Iterator[None]:
    """The sums of the executor's `mma` that a test is parametrized with."""
    if getattr(request, "param", "") == "":
        yield
        return
    with mma_sums(request.param):
        yield


def pytest_itemcollected(item: pytest.Item) -> None:
    if is_small(item):
        item.add_marker("small")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keep the largest error of a test's comparisons, as part of its bound, for reports."""
    tolerance.ratios.clear()
    try:
        return (yield)
    finally:
        if tolerance.ratios:
            item.user_properties.append(("error_over_bound", max(tolerance.ratios)))


@pytest.fixture(autouse=True)
def _numpy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the backend "numpy": float32 as with ``ALEXNET_CUDA_CPU=numpy``."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and getattr(callspec.params.get("backend"), "name", "") == "numpy":
        monkeypatch.setattr(native, "extension", lambda: None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = metafunc.fixturenames
    where = next((name for name in ("backend", "kernels") if name in names), None)
    if where is None:
        return
    backends: list[Backend] = [b for b in BACKENDS.values() if where == "backend" or b.kernels]
    how = next((name for name in PRECISIONS if name in names), None)
    if how is None:
        metafunc.parametrize(where, backends, ids=[b.name for b in backends])
        return
    sets = [(b, p, "") for b in backends for p in getattr(b, PRECISIONS[how])]
    if how != "precision":
        sets += [(b, p, "exact") for b, p, _ in sets if (b.name, p.name) == ("simt", "bfloat16")]
    ids = ["-".join(filter(None, (b.name, p.name, sums))) for b, p, sums in sets]
    metafunc.parametrize((where, how, "mma"), sets, ids=ids, indirect=["mma"])
