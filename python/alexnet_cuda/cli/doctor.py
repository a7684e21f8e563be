"""What `alexnet-cuda doctor` tells: versions, GPUs, what the extension was built for, and what mends what is wrong."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from .._version import __version__
from ..backends.cpu import native
from ..backends.devices import runs_as
from ..base.parallel import num_threads

Facts = dict[str, Any]

# CUDA 13's own numbers.
CUDA_NEEDED = 13000
DRIVER_NEEDED = "580"
CUPY = "cupy-cuda13x"
REINSTALL = "python -m pip install --force-reinstall --no-deps --no-cache-dir ."


def report() -> Facts:
    """Gather all facts and the problems that follow from them.

    Returns
    -------
    dict
        JSON-able: ``package``, ``python``, ``platform``, ``numpy``, ``blas``, ``cpu``, ``cupy``, ``build``, ``cuda``
        (driver, runtime, GPUs, peer access) and ``problems``, each with ``problem`` and ``fix``.
    """
    facts: Facts = {
        "package": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": _version_of("numpy"),
        "blas": _blas(),
        "cpu": _cpu(),
        "cupy": _cupy(),
        "build": _build_info(),
        "cuda": _cuda_facts(),
    }
    facts["problems"] = find_problems(facts)
    return facts


def _version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _blas() -> list[str]:
    import numpy as np  # noqa: F401  (its BLAS must be loaded to be seen)
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return [f"{pool['internal_api']} {pool['version'] or 'unknown'}, {pool['num_threads']} threads" for pool in pools]


def _cpu() -> str:
    """What computes float32 on the CPU, or why nothing does."""
    try:
        module = native.extension()
        return f"{'NumPy' if module is None else module.selected()}, {num_threads()} threads"
    except (ImportError, ValueError) as error:
        return str(error)


def _cupy() -> dict[str, Any]:
    names = (str(found.metadata["Name"]).lower().replace("_", "-") for found in metadata.distributions())
    installed = sorted({name for name in names if re.fullmatch(r"cupy(-(cuda|rocm).*)?", name)})
    # Of several the last that was installed wins, which nothing tells.
    chosen = CUPY if CUPY in installed else installed[0] if installed else None
    return {
        "distribution": chosen,
        "version": None if chosen is None else _version_of(chosen),
        "others": [name for name in installed if name != chosen],
    }


def _build_info() -> dict[str, Any] | None:
    try:
        return dict(importlib.import_module("alexnet_cuda._build_info").BUILD_INFO)
    except ModuleNotFoundError:
        return None


def _cuda_facts() -> dict[str, Any]:
    try:
        extension = importlib.import_module("alexnet_cuda._cuda")
    except ImportError as error:
        return {**query_cuda(None), "extension_error": str(error)}
    return query_cuda(extension)


def query_cuda(extension: Any | None) -> dict[str, Any]:
    """Ask the extension for driver, runtime, GPUs and peer access; without one only the driver's own file is read."""
    facts: dict[str, Any] = {
        "extension": extension is not None,
        "extension_error": None,
        "driver": _driver_version(),
        "driver_cuda": None,
        "runtime_cuda": None,
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "gpus": [],
        "gpus_error": None,
        "peers": [],
    }
    if extension is None:
        return facts
    facts["runtime_cuda"] = extension.runtime_version()
    try:
        facts["driver_cuda"] = extension.driver_version()
        gpus = [extension.device_properties(device=i) for i in range(extension.device_count())]
        pairs = [(i, j) for i in range(len(gpus)) for j in range(len(gpus)) if i != j]
        peers = [(i, j, extension.can_access_peer(device=i, peer=j)) for i, j in pairs]
    except RuntimeError as error:
        facts["gpus_error"] = str(error)
        return facts
    facts["gpus"] = [
        {"device": f"cuda:{i}", **gpu, "capability": list(gpu["capability"])} for i, gpu in enumerate(gpus)
    ]
    facts["peers"] = [{"device": f"cuda:{i}", "peer": f"cuda:{j}", "access": access} for i, j, access in peers]
    return facts


def _driver_version() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return found.group(1) if found else None


def find_problems(facts: Facts) -> list[dict[str, str]]:
    """Return what is wrong, each with how to fix it; a function of the facts alone."""
    found = [*_build_problems(facts)]
    if facts["cuda"]["extension"]:
        found += [*_driver_problems(facts["cuda"]), *_gpu_problems(facts), *_peer_problems(facts["cuda"])]
    found += _cupy_problems(facts["cupy"], needed=bool(facts["cuda"]["extension"] and facts["cuda"]["gpus"]))
    return [{"problem": problem, "fix": fix} for problem, fix in found]


Pairs = Iterator[tuple[str, str]]


def _build_problems(facts: Facts) -> Pairs:
    build, cuda = facts["build"], facts["cuda"]
    if build is None:
        yield "The package has not been built: it is imported from its source folder.", "Run: python -m pip install ."
    elif build["build"] == "cpu":
        gpu = "this machine's" if cuda["driver"] else "any"
        problem = f"The package was built without CUDA kernels (ALEXNET_CUDA_BUILD=cpu), so {gpu} GPU stays unused."
        yield problem, f"Unset ALEXNET_CUDA_BUILD and run: {REINSTALL}"
    elif not cuda["extension"]:
        yield f"The CUDA extension does not load: {cuda['extension_error']}.", f"Run: {REINSTALL}"


def _driver_problems(cuda: dict[str, Any]) -> Pairs:
    driver, visible = cuda["driver_cuda"], cuda["visible_devices"]
    install = f"install the NVIDIA driver {DRIVER_NEEDED} or newer"
    in_container = "in a container pass the GPUs through (--gpus all)."
    if not driver:
        fix = f"On a machine with an NVIDIA GPU {install}; {in_container}"
        yield "No NVIDIA driver: everything runs on the CPU.", fix
    elif driver < CUDA_NEEDED:
        version = f" {cuda['driver']}" if cuda["driver"] else ""
        needed = f"supports CUDA {_cuda_name(driver)}, the kernels need CUDA 13.0."
        yield f"The NVIDIA driver{version} {needed}", f"{install.capitalize()}."
    elif not cuda["gpus"] and visible is not None:
        fix = "Unset CUDA_VISIBLE_DEVICES or give it the number of a GPU that nvidia-smi lists."
        yield f'CUDA_VISIBLE_DEVICES is "{visible}", which leaves no GPU.', fix
    elif not cuda["gpus"]:
        reason = f": {cuda['gpus_error']}" if cuda["gpus_error"] else ""
        yield f"The driver is there but shows no GPU{reason}.", f"See whether nvidia-smi lists one; {in_container}"


def _gpu_problems(facts: Facts) -> Pairs:
    architectures = ((facts["build"] or {}).get("cuda") or {}).get("architectures", [])
    for gpu in facts["cuda"]["gpus"]:
        major, minor = gpu["capability"]
        name = f"{gpu['device']} ({gpu['name']}, sm_{major}{minor})"
        rebuild = f"Run: ALEXNET_CUDA_ARCHS={major}{minor} {REINSTALL}"
        how = runs_as((major, minor), architectures)
        if (major, minor) < (8, 0):
            yield f"{name} is too old: the kernels need sm_80 or newer.", 'Use devices="cpu" on this machine.'
        elif how == "":
            yield f"{name} cannot run this build, which is for {', '.join(architectures) or 'nothing'}.", rebuild
        elif how == "ptx":
            yield f"{name} runs this build only by compiling it anew at first use, which takes a while.", rebuild


def _peer_problems(cuda: dict[str, Any]) -> Pairs:
    closed = ", ".join(f"{pair['device']} to {pair['peer']}" for pair in cuda["peers"] if not pair["access"])
    if closed:
        yield (
            f"No direct access between GPUs ({closed}): two towers work, but what they exchange is staged through the"
            " host.",
            "Choose two GPUs joined by NVLink or on one PCIe switch (nvidia-smi topo -p2p r), and turn off PCIe ACS "
            "and the IOMMU where the machine's owner may.",
        )


def _cupy_problems(cupy: dict[str, Any], needed: bool) -> Pairs:
    chosen = cupy["distribution"]
    if cupy["others"]:
        names = sorted([chosen, *cupy["others"]])
        # Taking one away takes files of the other away too.
        fix = f"Run: python -m pip uninstall {' '.join(names)} && python -m pip install {CUPY}"
        yield f"{' and '.join(names)} are installed, which overwrite each other's files.", fix
    elif needed and chosen is None:
        yield "CuPy is missing, which holds the arrays on the GPU.", f"Run: python -m pip install {CUPY}"
    elif needed and chosen in ("cupy-cuda12x", "cupy-cuda11x"):
        fix = f"Run: python -m pip uninstall {chosen} && python -m pip install {CUPY}"
        yield f"{chosen} is for another CUDA than the kernels, which need {CUPY}.", fix


def _cuda_name(version: int | None) -> str:
    return f"{version // 1000}.{version % 1000 // 10}" if version else "none"


def render(facts: Facts) -> str:
    """Return `report`'s facts as plain text for a terminal."""
    cuda, build, cupy = facts["cuda"], facts["build"], facts["cupy"]
    toolkit = (build or {}).get("cuda") or {}
    built = "not built"
    if build is not None:
        built = f"{build['build']}, {build['build_type']}, {build['cxx']}"
    rows = [
        ("alexnet-cuda", facts["package"]),
        ("Python", f"{facts['python']} ({sys.executable})"),
        ("platform", facts["platform"]),
        ("NumPy", f"{facts['numpy']}; BLAS: {'; '.join(facts['blas']) or 'unknown'}"),
        ("CPU", facts["cpu"]),
        ("CuPy", f"{cupy['version']} ({cupy['distribution']})" if cupy["version"] else "missing"),
        ("build", built),
    ]
    if toolkit:
        rows.append(("nvcc", f"{toolkit['version']} ({toolkit['reason']})"))
        rows.append(("built for", f"{', '.join(toolkit['architectures'])} ({toolkit['architectures_reason']})"))
    rows.append(("CUDA runtime", _cuda_name(cuda["runtime_cuda"])))
    driver = cuda["driver"] or ("found" if cuda["driver_cuda"] else "none")
    rows.append(("driver", f"{driver}, CUDA {_cuda_name(cuda['driver_cuda'])}" if cuda["driver_cuda"] else driver))
    for gpu in cuda["gpus"]:
        major, minor = gpu["capability"]
        memory = gpu["memory_bytes"] / 2**30
        rows.append((gpu["device"], f"{gpu['name']}, sm_{major}{minor}, {memory:.1f} GiB"))
    if not cuda["gpus"]:
        rows.append(("GPUs", "none"))
    for pair in cuda["peers"]:
        access = "direct" if pair["access"] else "through the host"
        rows.append((f"{pair['device']} to {pair['peer']}", access))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {text}" for name, text in rows]
    for problem in facts["problems"]:
        lines += ["", problem["problem"], f"  -> {problem['fix']}"]
    if not facts["problems"]:
        lines += ["", "Nothing is wrong."]
    return "\n".join(lines)
