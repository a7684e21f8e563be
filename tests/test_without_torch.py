"""PyTorch is an extra: what imports it is known, and does so when it is called."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import house  # noqa: E402


def test_nothing_else_imports_it() -> None:
    importing = re.compile(r"^\s*(import|from) \.*torch\b", re.MULTILINE)
    places = {house.floor(name) for name, path in house.modules().items() if importing.search(path.read_text())}
    assert places == {"torch", "convert"}  # which reads and writes its files


def test_its_lack_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "alexnet_cuda.torch", raising=False)
    with pytest.raises(ImportError, match=r"alexnet_cuda.torch needs PyTorch: pip install 'alexnet-cuda\[torch\]'"):
        importlib.import_module("alexnet_cuda.torch")
