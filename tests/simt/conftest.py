from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness import Executor, build


@pytest.fixture(scope="session")
def _library(tmp_path_factory: pytest.TempPathFactory) -> Executor:
    return Executor(build(tmp_path_factory.mktemp("executor"), ["-O1"]))


@pytest.fixture
def executor(_library: Executor) -> Iterator[Executor]:
    yield _library
    _library.seed(0)
    _library.threads(2)
