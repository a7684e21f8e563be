"""PEP 517 backend: scikit-build-core, with the nvcc wheels as a requirement only where the build uses them."""

from __future__ import annotations

import os
from typing import Any

from scikit_build_core import build
from scikit_build_core.build import build_editable, build_sdist, build_wheel, get_requires_for_build_sdist

import toolkit

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

Settings = dict[str, Any] | None


def cuda_requirements(config_settings: Settings) -> list[str]:
    """Return the nvcc wheels where the build compiles kernels and finds no toolkit of the user's or the machine's."""
    if os.environ.get("ALEXNET_CUDA_BUILD") == "cpu":
        return []
    compiler = (config_settings or {}).get("cmake.define.CMAKE_CUDA_COMPILER", "")
    try:
        choice = toolkit.choose_toolkit(os.environ, str(compiler))
    except toolkit.ToolkitError as error:
        raise SystemExit(f"alexnet_cuda: {error}") from None
    return list(toolkit.WHEELS) if choice.source == "wheels" else []


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return what building a wheel needs beyond pyproject.toml."""
    return [*build.get_requires_for_build_wheel(config_settings), *cuda_requirements(config_settings)]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """Return what an editable installation needs beyond pyproject.toml."""
    return [*build.get_requires_for_build_editable(config_settings), *cuda_requirements(config_settings)]
