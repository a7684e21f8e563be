"""What this machine has: GPUs, a compiler, compute-sanitizer, Python packages; and the state of the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "cmake"))
sys.path.append(str(ROOT / "python"))  # last: before the build there is no package, after it that one is meant

import toolkit  # noqa: E402
from alexnet_cuda.base.files import atomic_path  # noqa: E402

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pip brings one
    from pip._vendor import tomli as tomllib
try:
    from packaging.requirements import Requirement
except ModuleNotFoundError:  # until pytest has brought it
    from pip._vendor.packaging.requirements import Requirement

__all__ = ["ROOT", "atomic_path", "toolkit"]

Run = Callable[[list[str]], "str | None"]


def find_gpus(run: Run = toolkit.run_command, environment: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """Return name, compute capability, driver and memory in MiB of each GPU; none where there is no driver.

    Those that CUDA_VISIBLE_DEVICES leaves, in its order; nvidia-smi itself does not look at it.
    """
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader,nounits"]
    gpus = []
    for line in (run(query) or "").splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 4 and re.fullmatch(r"\d+\.\d+", fields[1]):
            memory = int(fields[3]) if fields[3].isdigit() else None
            gpus.append({"name": fields[0], "capability": fields[1], "driver": fields[2], "memory_mib": memory})
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    names = [name.strip() for name in visible.split(",")]
    if all(re.fullmatch(r"\d+", name) for name in names):
        return [gpus[int(name)] for name in names if int(name) < len(gpus)]
    return gpus[: sum(name.startswith(("GPU-", "MIG-")) for name in names)]  # by a name that the query has not


def source_state(run: Run = toolkit.run_command) -> dict[str, Any]:
    """Return the commit and whether files differ from it; both None outside git."""
    git = ["git", "-C", str(ROOT)]
    commit, changes = run([*git, "rev-parse", "HEAD"]), run([*git, "status", "--porcelain"])
    if commit is None or changes is None:
        return {"commit": None, "dirty": None}
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def find_sanitizer(environment: Mapping[str, str], run: Run = toolkit.run_command) -> str | None:
    """Return compute-sanitizer: on PATH, beside nvcc, in its toolkit, or of a wheel that is whole."""
    candidates = [shutil.which("compute-sanitizer", path=environment.get("PATH", ""))]
    folders = [Path("/usr/local/cuda")]
    try:
        choice = toolkit.choose_toolkit(environment, run=run)
        if choice.nvcc:
            folders.insert(0, Path(choice.nvcc).resolve().parent.parent)
    except toolkit.ToolkitError:
        pass
    for folder in folders:
        candidates += [str(folder / "bin" / "compute-sanitizer"), str(folder / "compute-sanitizer/compute-sanitizer")]
    # Wheels that have it in bin lack what it starts; those that have it in a folder of its own are whole.
    spec = util.find_spec("nvidia")
    wheels = [
        Path(place) / "cu13" / "compute-sanitizer" for place in (spec.submodule_search_locations or [] if spec else [])
    ]
    candidates += [str(wheel / "compute-sanitizer") for wheel in wheels if (wheel / "TreeLauncherSubreaper").exists()]
    return next((found for found in candidates if found and os.access(found, os.X_OK)), None)


def _names(requirements: Iterable[str]) -> list[str]:
    return [Requirement(requirement).name for requirement in requirements]


def _lines(extras: Mapping[str, list[str]], extra: str) -> Iterator[str]:
    for line in extras[extra]:
        included = re.fullmatch(r"alexnet-cuda\[(.*)\]", line)
        yield from _lines(extras, included[1]) if included else [line]


def project() -> dict[str, Any]:
    """Return what pyproject.toml says."""
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return content


def brought(extra: str = "gpu-check") -> dict[str, str]:
    """Return what installing the package with an extra brings: name to requirement, as in pyproject.toml."""
    package = project()["project"]
    lines = [*package["dependencies"], *_lines(package["optional-dependencies"], extra)]
    return dict(zip(_names(lines), lines, strict=True))


def build_requirements(environment: Mapping[str, str]) -> list[str]:
    """Return what a build without a network has to find installed.

    In the versions of the extra, which are wider than the build's own pins.
    """
    needed = ["pip", *_names(project()["build-system"]["requires"])]
    if shutil.which("cmake", path=environment.get("PATH", "")) is None:
        needed.append("cmake")
    if not any(shutil.which(tool, path=environment.get("PATH", "")) for tool in ("ninja", "ninja-build", "make")):
        needed.append("ninja")
    if toolkit.choose_toolkit(environment).source == "wheels":
        needed += _names(toolkit.WHEELS)
    versions = brought()
    return [versions[name] for name in needed]


def compiler_problem(environment: Mapping[str, str]) -> str:
    """Return what keeps C++ from being compiled for this Python; nothing where it can."""
    names = [environment["CXX"].split()[0]] if environment.get("CXX", "").strip() else ["c++", "g++", "clang++"]
    if not any(shutil.which(name, path=environment.get("PATH", "")) for name in names):
        return f"no C++ compiler ({', '.join(names)}) is on PATH: install the system's package g++"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return "" if header.exists() else f"{header} is missing: install the system's package python3-dev"


def run_requirements() -> list[str]:
    """Return what the package, its tests and the digits need."""
    return list(brought("test").values())


def sanitizer_requirement() -> str:
    """Return the wheel with compute-sanitizer."""
    return brought()["nvidia-cuda-sanitizer-api"]


def missing(requirements: Iterable[str]) -> list[str]:
    """Return those that are asked for here and not installed, or in a version that does not fit."""
    absent = []
    for line in requirements:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        requirement.marker = None
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = ""
        if not version or not requirement.specifier.contains(version, prereleases=True):
            absent.append(str(requirement))
    return absent


def how_to_bring(requirements: Iterable[str]) -> str:
    """Return the command that brings packages, and the two that carry them to a machine without a network."""
    wanted = " ".join(f"'{requirement}'" for requirement in requirements)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"missing: {wanted}. {sys.executable} -m pip install '{ROOT}[gpu-check]' brings all. For a machine without a "
        f"network: python{version} -m pip download -d wheels {wanted}; carry the folder over, then: "
        f"{sys.executable} -m pip install --no-index --find-links wheels {wanted}"
    )


def versions() -> dict[str, str | None]:
    """Return the versions that a result may depend on."""
    result: dict[str, str | None] = {"python": sys.version.split()[0]}
    for name in ("cupy-cuda13x", "numpy", "ml_dtypes", "pytest", "scikit-learn"):
        try:
            result[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            result[name] = None
    done = subprocess.run(["uname", "-srm"], capture_output=True, text=True, check=False)
    result["system"] = done.stdout.strip()
    return result
