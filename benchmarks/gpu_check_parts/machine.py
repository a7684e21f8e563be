"""What this machine has: GPUs, a compiler, compute-sanitizer, Python packages; and the state of the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "cmake"))
sys.path.append(str(ROOT / "python"))  # last: before the build there is no package, after it that one is meant

import toolkit  # noqa: E402
from alexnet_cuda.files import atomic_path  # noqa: E402

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pip brings one
    from pip._vendor import tomli as tomllib

__all__ = ["ROOT", "atomic_path", "toolkit"]

Run = Callable[[list[str]], "str | None"]
SANITIZER_WHEEL = "nvidia-cuda-sanitizer-api"


def find_gpus(run: Run = toolkit.run_command) -> list[dict[str, Any]]:
    """Return name, compute capability, driver and memory in MiB of each GPU; none where there is no driver."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader,nounits"]
    gpus = []
    for line in (run(query) or "").splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 4 and re.fullmatch(r"\d+\.\d+", fields[1]):
            memory = int(fields[3]) if fields[3].isdigit() else None
            gpus.append({"name": fields[0], "capability": fields[1], "driver": fields[2], "memory_mib": memory})
    return gpus


def source_state(run: Run = toolkit.run_command) -> dict[str, Any]:
    """Return the commit and whether files differ from it; both None outside git."""
    git = ["git", "-C", str(ROOT)]
    commit, changes = run([*git, "rev-parse", "HEAD"]), run([*git, "status", "--porcelain"])
    if commit is None or changes is None:
        return {"commit": None, "dirty": None}
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def find_sanitizer(environment: Mapping[str, str], run: Run = toolkit.run_command) -> str | None:
    """Return compute-sanitizer: on PATH, beside nvcc, in its toolkit, or of the wheels."""
    candidates = [shutil.which("compute-sanitizer", path=environment.get("PATH", ""))]
    folders = [Path("/usr/local/cuda")]
    try:
        choice = toolkit.choose_toolkit(environment, run=run)
        if choice.nvcc:
            folders.insert(0, Path(choice.nvcc).resolve().parent.parent)
    except toolkit.ToolkitError:
        pass
    spec = util.find_spec("nvidia")
    folders += [Path(place) / "cu13" for place in (spec.submodule_search_locations or [] if spec else [])]
    for folder in folders:
        candidates += [str(folder / "bin" / "compute-sanitizer"), str(folder / "compute-sanitizer/compute-sanitizer")]
    return next((found for found in candidates if found and os.access(found, os.X_OK)), None)


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project


def build_requirements(environment: Mapping[str, str]) -> list[str]:
    """Return what a build without a network has to find installed."""
    needed = list(_project()["build-system"]["requires"])
    if shutil.which("cmake", path=environment.get("PATH", "")) is None:
        needed.append("cmake")
    if not any(shutil.which(tool, path=environment.get("PATH", "")) for tool in ("ninja", "ninja-build", "make")):
        needed.append("ninja")
    if toolkit.choose_toolkit(environment).source == "wheels":
        needed += toolkit.WHEELS
    return needed


def run_requirements() -> list[str]:
    """Return what the package, its tests and the digits need."""
    project = _project()["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["demo"], *extras["test"]]
    return [line.partition(";")[0].strip() for line in lines if not line.startswith("alexnet-cuda")]


def missing(requirements: Iterable[str]) -> list[str]:
    """Return those that are not installed, or in another version than a pin with ``==`` asks for."""
    absent = []
    for requirement in requirements:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert name is not None
        pinned = re.search(r"==\s*([\w.]+)", requirement)
        try:
            version = metadata.version(name[0])
        except metadata.PackageNotFoundError:
            absent.append(requirement)
            continue
        if pinned and version != pinned[1]:
            absent.append(requirement)
    return absent


def how_to_bring(requirements: Iterable[str]) -> str:
    """Return the two commands that carry packages to a machine without a network."""
    wanted = " ".join(f"'{requirement}'" for requirement in requirements)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"missing: {wanted}. Where there is a network: python{version} -m pip download -d wheels {wanted}; "
        f"carry the folder over, then: {sys.executable} -m pip install --no-index --find-links wheels {wanted}"
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
