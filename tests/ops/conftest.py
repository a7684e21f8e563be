"""The fixtures `backend` and `precision`: a test that names both runs on every backend in every precision it offers.

Instead of `backend`, `kernels` is every backend that runs the kernels. Instead of `precision`, `product` is every
precision that convolutions and fully connected layers multiply in, and `layer_product` those that they are tested in at
AlexNet's own size.
"""

from __future__ import annotations

import pytest

from .backends import BACKENDS, Backend

PRECISIONS = {"precision": "precisions", "product": "products", "layer_product": "layers"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = metafunc.fixturenames
    where = next((name for name in ("backend", "kernels") if name in names), None)
    if where is None:
        return
    backends: list[Backend] = [b for b in BACKENDS.values() if where == "backend" or b.kernels]
    how = next((name for name in PRECISIONS if name in names), None)
    if how is None:
        metafunc.parametrize(where, backends, ids=[b.name for b in backends])
    else:
        pairs = [(b, p) for b in backends for p in getattr(b, PRECISIONS[how])]
        metafunc.parametrize((where, how), pairs, ids=[f"{b.name}-{p.name}" for b, p in pairs])
