"""The house that docs/design.md draws: no import runs up, and none in a circle, those in functions included."""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import house  # noqa: E402

RANK = {name: i for i, name in enumerate(house.FLOORS)}


def test_every_module_is_on_a_floor() -> None:
    assert {house.floor(name) for name in house.modules()} == set(house.FLOORS)


def test_no_import_runs_up() -> None:
    wrong = [f"{source} imports {target}" for source, target in house.between() if RANK[source] <= RANK[target]]
    assert not wrong


def test_no_circle() -> None:
    try:
        TopologicalSorter(house.imports()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_picture_is_of_this_house() -> None:
    assert (ROOT / "docs" / "house.svg").read_text() == house.picture(), "run: python tools/house.py"
