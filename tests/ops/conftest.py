"""`backend` and `precision`: a test that names both runs on every backend in every precision that it offers."""

from __future__ import annotations

import pytest

from .backends import BACKENDS
from .tolerance import PRECISIONS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "precision" in metafunc.fixturenames:
        pairs = [(b, PRECISIONS[name]) for b in BACKENDS.values() for name in b.precisions]
        metafunc.parametrize(("backend", "precision"), pairs, ids=[f"{b.name}-{p.name}" for b, p in pairs])
    elif "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", list(BACKENDS.values()), ids=list(BACKENDS))
