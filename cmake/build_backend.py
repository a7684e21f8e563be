"""PEP 517 backend: scikit-build-core, with the nvcc wheels as a requirement only where the build uses them."""

from __future__ import annotations

import os
from typing import Any

import toolkit
from scikit_build_core import build as _build
from scikit_build_core.build import *  # noqa: F403  (the hooks that stay as they are)

Settings = dict[str, Any] | None


def _cuda_requirements(config_settings: Settings) -> list[str]:
    if os.environ.get("ALEXNET_CUDA_BUILD") == "cpu":
        return []
    compiler = (config_settings or {}).get("cmake.define.CMAKE_CUDA_COMPILER", "")
    try:
        choice = toolkit.choose_toolkit(os.environ, str(compiler))
    except toolkit.ToolkitError as error:
        raise SystemExit(str(error)) from None
    return list(toolkit.WHEELS) if choice.source == "wheels" else []


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return what building a wheel needs beyond pyproject.toml."""
    return [*_build.get_requires_for_build_wheel(config_settings), *_cuda_requirements(config_settings)]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """Return what an editable installation needs beyond pyproject.toml."""
    return [*_build.get_requires_for_build_editable(config_settings), *_cuda_requirements(config_settings)]
