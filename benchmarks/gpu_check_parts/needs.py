"""What the stages need: a compiler, Python packages, compute-sanitizer; what of it is missing and how to install it."""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import ROOT

sys.path.insert(0, str(ROOT / "cmake"))
import toolkit

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pip has one
    from pip._vendor import tomli as tomllib
try:
    from packaging.requirements import Requirement
except ModuleNotFoundError:  # until pytest has installed it
    from pip._vendor.packaging.requirements import Requirement

EXTRA = "gpu-check"


class NotRunError(Exception):
    """A stage cannot be run here; the message says why, `packages` are the requirements to install."""

    def __init__(self, message: str, packages: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.packages = list(packages)


def project() -> dict[str, Any]:
    """Return what pyproject.toml says."""
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return content


def _lines(extras: Mapping[str, list[str]], extra: str) -> Iterator[str]:
    for line in extras[extra]:
        included = re.fullmatch(r"alexnet-cuda\[(.*)\]", line)
        yield from _lines(extras, included[1]) if included else [line]


def extra_requirements(extra: str = EXTRA) -> dict[str, str]:
    """Return what installing the package with an extra installs: name to requirement, as in pyproject.toml."""
    package = project()["project"]
    lines = [*package["dependencies"], *_lines(package["optional-dependencies"], extra)]
    return {Requirement(line).name: line for line in lines}


def build_requirements(environment: Mapping[str, str]) -> list[str]:
    """Return what a build without a network has to find installed, in the extra's versions.

    Raises
    ------
    NotRunError
        The user's choice of a CUDA toolkit cannot be used.
    """
    path = environment.get("PATH", "")
    lines = list(project()["build-system"]["requires"])
    try:
        if toolkit.choose_toolkit(environment).source == "wheels":
            lines += toolkit.WHEELS
    except toolkit.ToolkitError as error:
        raise NotRunError(str(error)) from None
    names = ["pip", *(Requirement(line).name for line in lines)]
    if shutil.which("cmake", path=path) is None:
        names.append("cmake")
    if not any(shutil.which(tool, path=path) for tool in ("ninja", "ninja-build", "make")):
        names.append("ninja")
    versions = extra_requirements()
    return [versions[name] for name in names]


def missing(requirements: Iterable[str]) -> list[str]:
    """Return the requirements that apply here and are not installed, or in a version that does not fit."""
    absent = []
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        requirement.marker = None
        try:
            fits = requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
        except metadata.PackageNotFoundError:
            fits = False
        if not fits:
            absent.append(str(requirement))
    return absent


def require(requirements: Iterable[str]) -> None:
    """Raise `NotRunError` where a requirement is missing."""
    if absent := missing(requirements):
        raise NotRunError(f"missing: {', '.join(absent)}", absent)


def require_compiler(environment: Mapping[str, str]) -> None:
    """Raise `NotRunError` where C++ cannot be compiled for this Python."""
    names = [environment["CXX"].split()[0]] if environment.get("CXX", "").strip() else ["c++", "g++", "clang++"]
    if not any(shutil.which(name, path=environment.get("PATH", "")) for name in names):
        raise NotRunError(f"no C++ compiler ({', '.join(names)}) is on PATH: install the system's package g++")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        raise NotRunError(f"{header} is missing: install the system's package python3-dev")


def find_sanitizer(environment: Mapping[str, str], run: toolkit.Run = toolkit.run_command) -> str:
    """Return compute-sanitizer: on PATH, beside nvcc, in its toolkit, or of a wheel that is complete.

    Raises
    ------
    NotRunError
        It is in none of these places.
    """
    folders = [Path("/usr/local/cuda")]
    try:
        nvcc = toolkit.choose_toolkit(environment, run=run).nvcc
        folders = [Path(nvcc).resolve().parent.parent, *folders] if nvcc else folders
    except toolkit.ToolkitError:
        pass
    found = [shutil.which("compute-sanitizer", path=environment.get("PATH", ""))]
    found += [str(folder / name / "compute-sanitizer") for folder in folders for name in ("bin", "compute-sanitizer")]
    # Wheels that have it in bin lack a program that it starts; those that have it in a folder of its own are complete.
    spec = util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        wheel = Path(place) / "cu13" / "compute-sanitizer"
        if (wheel / "TreeLauncherSubreaper").exists():
            found.append(str(wheel / "compute-sanitizer"))
    for program in found:
        if program and os.access(program, os.X_OK):
            return program
    wheel_name = extra_requirements()["nvidia-cuda-sanitizer-api"]
    message = (
        "compute-sanitizer is not on PATH, beside nvcc or in the toolkit: install the toolkit's package cuda-sanitizer"
    )
    raise NotRunError(f"{message}, or the wheel {wheel_name}", [wheel_name])


def how_to_install(requirements: Iterable[str]) -> str:
    """Return the commands that install requirements, with and without a network."""
    wanted = " ".join(f"'{requirement}'" for requirement in dict.fromkeys(requirements))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"how to fix it: {sys.executable} -m pip install '{ROOT}[{EXTRA}]' installs all of it. For a machine without "
        f"a network: python{version} -m pip download -d wheels {wanted}; copy the folder there, then: "
        f"{sys.executable} -m pip install --no-index --find-links wheels {wanted}"
    )
