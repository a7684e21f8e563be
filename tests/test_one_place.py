"""What stands in one place of the package: names of presets, names of layers, how an array of CuPy is known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import alexnet_cuda
from alexnet_cuda.config import PRESETS

PACKAGE = Path(alexnet_cuda.__file__).parent


@pytest.mark.parametrize(
    ("pattern", "places"),
    [
        (r"\bcaffenet\b", ["config.py"]),
        (r'["\'](conv|lrn|pool|fc|dropout)\d["\']', ["looks.py"]),  # a study's question may name a layer
        (r"""[!=]= ["']cupy["']""", ["array.py"]),
    ],
    ids=["presets", "layers", "CuPy"],
)
def test_stands_in_one_place(pattern: str, places: list[str]) -> None:
    assert [path.name for path in PACKAGE.rglob("*.py") if re.search(pattern, path.read_text())] == places


def test_every_preset_is_in_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert [name for name in PRESETS if f"`{name}`" not in readme] == []
