"""docs/paper.md: what it names is there, its commands are commands, and its picture is of this network."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from pathlib import Path

import pytest

from alexnet_cuda.cli import command
from alexnet_cuda.cli.options import parse_fields
from alexnet_cuda.config import Config, config_from_preset
from alexnet_cuda.train.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import towers  # noqa: E402

PAGE = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`alexnet-cuda ([^`]+)`", PAGE)))


def test_files_and_tests_exist() -> None:
    links = re.findall(r"\[([^]]*)\]\(([^)]+)\)", PAGE)
    assert len(links) > 50
    for text, target in [*links, *(("", f"../{path}") for path in re.findall(r"`python (\S+)`", PAGE))]:
        source = (ROOT / "docs" / target).read_bytes()
        name, _, test = text.partition("::")
        assert not test or (name == Path(target).name and f"def {test}(".encode() in source), text


def test_fields_exist() -> None:
    for kind in (Config, Recipe):
        named = set(re.findall(rf"`{kind.__name__}\.(\w+)`", PAGE))
        assert named
        assert named <= {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_are_parsed(words: str) -> None:
    name, *arguments = shlex.split(words)
    given = command.commands[name].make_context(name, arguments).params
    config_from_preset(**parse_fields(given.get("assignments", ())))


def test_the_example_holds() -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, {})


def test_the_picture_is_of_this_network() -> None:
    assert (ROOT / "docs" / "towers.svg").read_text(encoding="utf-8") == towers.picture(), "run: python tools/towers.py"
