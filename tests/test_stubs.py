"""The stubs are what the extensions say of themselves. ``python -m tests.test_stubs`` writes them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import alexnet_cuda
from alexnet_cuda._build_info import BUILD_INFO

FOLDER = Path(alexnet_cuda.__file__).parent
HEADS = {
    "_cuda": '''"""The CUDA kernels; what tests/test_stubs.py makes of the module, which says more of each function."""

from collections.abc import Sequence
from typing import Any

from .backends.runtime import Tensor
from .backends.kernels.conv2d import Problem
from .base.params import Conv2dShape, DropoutParams, FoldedLayout, LrnParams, PoolParams, SgdParams

''',
    "_simt": '''"""The CPU executor of the CUDA kernels, as `_cuda.pyi`; and what it has beside them."""

from ._cuda import *  # noqa: F403

''',
}
# What asks for devices, which the executor has none of.
DEVICE = {"driver_version", "runtime_version", "device_count", "device_properties", "can_access_peer"}
# A build without CUDA has the executor alone.
BUILT = ["_simt"] if BUILD_INFO["build"] == "cpu" else ["_cuda", "_simt"]
WORDS = {
    r"typing\.Annotated\[(.+?\]), \"FixedSize\(\d+\)\"\]": r"\1",
    r"typing\.SupportsInt \| typing\.SupportsIndex": "int",
    r"typing\.SupportsFloat \| typing\.SupportsIndex": "float",
    r"collections\.abc\.": "",
    r"-> dict$": "-> dict[str, Any]",
}


def functions(module: str) -> dict[str, str]:
    """Of each function a line of the stub, from the signature that pybind11 writes."""
    extension = importlib.import_module(f"alexnet_cuda.{module}")
    result = {}
    for name in sorted(name for name in dir(extension) if not name.startswith("_")):
        line, *rest = getattr(extension, name).__doc__.splitlines()
        assert any(rest), f"{name} says nothing of itself"
        for pattern, word in WORDS.items():
            line = re.sub(pattern, word, line)
        result[name] = f"def {line}: ..."
    return result


def committed(module: str) -> dict[str, str]:
    text = (FOLDER / f"{module}.pyi").read_text(encoding="utf-8")
    return {line[4 : line.index("(")]: line for line in text.splitlines() if line.startswith("def ")}


@pytest.mark.parametrize("module", BUILT)
def test_the_stubs_say_what_the_extensions_have(module: str) -> None:
    stub = committed("_cuda")
    if module == "_simt":
        stub = {name: line for name, line in stub.items() if name not in DEVICE} | committed("_simt")
    assert functions(module) == stub


if __name__ == "__main__":
    old, simt = committed("_cuda"), functions("_simt")
    common = {name: line for name, line in simt.items() if name not in committed("_simt")}
    # A build for the CPU keeps the lines of the functions that it lacks.
    cuda = functions("_cuda") if "_cuda" in BUILT else common | {name: old[name] for name in DEVICE}
    own = {name: line for name, line in simt.items() if name not in cuda}
    for module, lines in {"_cuda": cuda, "_simt": own}.items():
        text = HEADS[module] + "\n".join(lines[name] for name in sorted(lines)) + "\n"
        (FOLDER / f"{module}.pyi").write_text(text, encoding="utf-8")
