from __future__ import annotations

import os

import pytest

from .harness import Executor, build


@pytest.fixture(scope="session")
def _library(tmp_path_factory):
    # ALEXNET_CUDA_SANITIZE as for the extension's build; Python itself then needs the sanitizer's library preloaded.
    sanitize = os.environ.get("ALEXNET_CUDA_SANITIZE")
    flags = ["-O1"] if sanitize is None else ["-O1", "-g", f"-fsanitize={sanitize}", "-fno-omit-frame-pointer"]
    return Executor(build(tmp_path_factory.mktemp("executor"), flags))


@pytest.fixture
def executor(_library):
    yield _library
    _library.seed(0)
    _library.threads(2)
    _library.mma_sums("exact")
