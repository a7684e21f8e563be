"""The commands that a run prints: whole, quoted for a shell, and good in any folder."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from .progress import shown
from .setup import TrainOptions, absolute

_POSITIONAL = ("source", "output", "given")


def train_command(options: TrainOptions) -> str:
    """Give the ``alexnet-cuda train`` command of some options; paths in it are absolute."""
    words = ["alexnet-cuda", "train", absolute(options.source), "--output", os.path.abspath(options.output)]
    for entry in dataclasses.fields(options):
        value = getattr(options, entry.name)
        if entry.name not in _POSITIONAL and value != entry.default:
            words += _option(entry.name, absolute(value) if entry.name in ("validation", "from_") else value)
    given: Mapping[str, Any] = options.given
    for name, value in given.items():
        words += _fields(value) if name == "config" else _option(name, value)
    return " ".join(map(_quoted, words))


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + name.rstrip("_").replace("_", "-")
    if value is True:
        return [flag]
    return [flag, ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)]


def _fields(config: Mapping[str, Any]) -> Iterator[str]:
    for name, value in config.items():
        yield from ("--set", f"{name}={value}")


def _quoted(word: str) -> str:
    if word.isprintable() and shown(word) == word:
        return shlex.quote(word)
    # Bytes that are no text, or that standard output cannot show: as bash and zsh write them.
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\{byte:03o}" for byte in os.fsencode(word))
    return f"$'{''.join(plain)}'"
