"""Which CUDA toolkit builds the kernels, and for which GPUs; run by CMake and by the build backend.

Order: the user's own choice (``CMAKE_CUDA_COMPILER`` or ``CUDACXX``), a CUDA 13 toolkit on this machine, the pinned
wheels. ``ALEXNET_CUDA_TOOLKIT=wheels`` forces the wheels; ``ALEXNET_CUDA_ARCHS="80,90a,80+ptx"`` says for which GPUs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

CUDA_MAJOR = 13
# One release for all: nvcc, its crt headers and nvvm of different releases do not work together.
WHEELS = (
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-cccl==13.0.85",
)
# Every GPU from sm_80 on runs one of these, the ones without their own code through the PTX of sm_80.
DEFAULT_ARCHITECTURES = ("80-real", "80-virtual", "90-real", "120-real")
WHEELS_HINT = "set ALEXNET_CUDA_TOOLKIT=wheels to build with the compiler from the nvidia-cuda-nvcc wheel"

Run = Callable[[list[str]], "str | None"]


class ToolkitError(Exception):
    """No CUDA compiler can be used; the message is the sentence for the user."""


@dataclass(frozen=True)
class Toolkit:
    """The chosen compiler: ``source`` is ``user``, ``machine`` or ``wheels``; ``nvcc`` is empty before wheels exist."""

    source: str
    nvcc: str
    version: str
    reason: str
    notes: tuple[str, ...] = field(default=())


def run_command(command: list[str]) -> str | None:
    """Return what `command` prints, None where it cannot run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def nvcc_version(nvcc: str, run: Run = run_command) -> str | None:
    """Return the version of the compiler at `nvcc`, such as ``13.0.88``, None where it is none."""
    found = re.search(r"release \d+\.\d+, V(\d+\.\d+\.\d+)", run([nvcc, "--version"]) or "")
    return found.group(1) if found else None


def _user_choice(environment: Mapping[str, str], cmake_compiler: str) -> tuple[str, str] | None:
    in_arguments = re.search(r"-D\s*CMAKE_CUDA_COMPILER(?::\w+)?=([^\s;]+)", environment.get("CMAKE_ARGS", ""))
    if cmake_compiler:
        return cmake_compiler, "CMAKE_CUDA_COMPILER"
    if in_arguments:
        return in_arguments.group(1), "CMAKE_CUDA_COMPILER in CMAKE_ARGS"
    if environment.get("CUDACXX"):
        return environment["CUDACXX"], "CUDACXX"
    return None


def _machine_candidates(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    found = shutil.which("nvcc", path=environment.get("PATH", ""))
    candidates = [(found, "nvcc on PATH")] if found else []
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if environment.get(variable):
            candidates.append((str(Path(environment[variable]) / "bin" / "nvcc"), variable))
    candidates.append(("/usr/local/cuda/bin/nvcc", "/usr/local/cuda"))
    return candidates


def choose_toolkit(environment: Mapping[str, str], cmake_compiler: str = "", run: Run = run_command) -> Toolkit:
    """Choose the CUDA compiler; for the wheels `nvcc` is left empty, `locate_wheels` finds it once installed.

    Raises
    ------
    ToolkitError
        The user's own choice is not a CUDA 13 compiler, or ALEXNET_CUDA_TOOLKIT has an unknown value.
    """
    wanted = environment.get("ALEXNET_CUDA_TOOLKIT", "")
    if wanted not in ("", "wheels"):
        raise ToolkitError(
            f'ALEXNET_CUDA_TOOLKIT is "{wanted}"; expected "wheels" or nothing (CUDACXX names a compiler)'
        )
    if wanted == "wheels":
        return Toolkit("wheels", "", "", "ALEXNET_CUDA_TOOLKIT=wheels")
    user = _user_choice(environment, cmake_compiler)
    if user is not None:
        nvcc, how = user
        version = nvcc_version(nvcc, run)
        if version is None or int(version.split(".")[0]) != CUDA_MAJOR:
            what = f"is CUDA {version}" if version else "does not answer as nvcc"
            raise ToolkitError(
                f"{how} names {nvcc}, which {what}; expected CUDA {CUDA_MAJOR}: unset it, or {WHEELS_HINT}"
            )
        return Toolkit("user", nvcc, version, f"named by {how}")
    notes: list[str] = []
    for nvcc, how in _machine_candidates(environment):
        version = nvcc_version(nvcc, run)
        if version is None:
            continue
        if int(version.split(".")[0]) == CUDA_MAJOR:
            return Toolkit("machine", nvcc, version, f"found through {how}", tuple(notes))
        notes.append(f"{nvcc} is CUDA {version}, not CUDA {CUDA_MAJOR}: passed over")
    return Toolkit("wheels", "", "", f"no CUDA {CUDA_MAJOR} toolkit on this machine", tuple(notes))


def locate_wheels(toolkit: Toolkit, run: Run = run_command) -> Toolkit:
    """Return `toolkit` with the compiler of the installed wheels filled in.

    Raises
    ------
    ToolkitError
        The wheels are not installed for this interpreter.
    """
    try:
        import nvidia.cu13

        roots = [Path(root) for root in nvidia.cu13.__path__]
    except ImportError:
        roots = []
    for root in roots:
        nvcc = str(root / "bin" / "nvcc")
        version = nvcc_version(nvcc, run)
        if version is not None:
            return Toolkit("wheels", nvcc, version, toolkit.reason, toolkit.notes)
    raise ToolkitError(
        f"{toolkit.reason}, and the compiler's wheels are not installed for {sys.executable}: "
        f"python -m pip install {' '.join(WHEELS)}; or set ALEXNET_CUDA_BUILD=cpu to build without CUDA"
    )


def find_toolkit(environment: Mapping[str, str], cmake_compiler: str = "") -> Toolkit:
    """Return the chosen compiler, that of the installed wheels included; raises `ToolkitError`."""
    toolkit = choose_toolkit(environment, cmake_compiler)
    return locate_wheels(toolkit) if toolkit.source == "wheels" else toolkit


def library_folder(nvcc: str) -> str:
    """Return the folder that nvcc's own profile misses (it looks in lib64, the wheels have lib), or nothing."""
    root = Path(nvcc).resolve().parent.parent
    missed = not (root / "lib64").exists() and (root / "lib" / "libcudart_static.a").exists()
    return str(root / "lib") if missed else ""


def parse_architectures(text: str) -> list[str]:
    """Return CMake's names for a list such as ``80,90a,80+ptx`` (``+ptx``: PTX beside the machine code).

    Raises
    ------
    ToolkitError
        An entry is not an architecture, or older than sm_80.
    """
    result: list[str] = []
    for entry in re.split(r"[\s,;]+", text.strip().lower()):
        found = re.fullmatch(r"(?:sm_)?(\d{2,3})([af]?)(\+ptx)?", entry)
        if found is None or int(found.group(1)) < 80:
            raise ToolkitError(f'ALEXNET_CUDA_ARCHS has "{entry}"; expected sm_80 or newer, such as "80,90a,120+ptx"')
        result.append(f"{found.group(1)}{found.group(2)}-real")
        if found.group(3):
            result.append(f"{found.group(1)}-virtual")
    return list(dict.fromkeys(result))


def choose_architectures(environment: Mapping[str, str], nvcc: str, run: Run = run_command) -> tuple[list[str], str]:
    """Return CMake's names of the architectures to build for, and why these.

    Machine code for the GPUs that are present, PTX of sm_80 for any other; `DEFAULT_ARCHITECTURES` with none present.
    """
    wanted = environment.get("ALEXNET_CUDA_ARCHS", "")
    if wanted.strip():
        return parse_architectures(wanted), "ALEXNET_CUDA_ARCHS"
    printed = run(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]) or ""
    present = sorted({int(major) * 10 + int(minor) for major, minor in re.findall(r"^(\d+)\.(\d+)\s*$", printed, re.M)})
    if not present:
        return list(DEFAULT_ARCHITECTURES), "no GPU present: a list that every GPU from sm_80 on can run"
    known = run([nvcc, "--list-gpu-code"]) or ""
    usable = [
        capability for capability in present if capability >= 80 and re.search(rf"^sm_{capability}$", known, re.M)
    ]
    if not usable:
        names = ", ".join(f"sm_{capability}" for capability in present)
        return list(DEFAULT_ARCHITECTURES), f"{names} is present, for which this compiler has no code: the common list"
    return [*(f"{capability}-real" for capability in usable), "80-virtual"], "the GPUs present, and PTX for any other"


def code_flags(architectures: list[str]) -> list[str]:
    """Return nvcc's flags for architectures by CMake's names.

    The kernels use nothing newer than sm_80, so its PTX is made once and turned into machine code for each GPU: half of
    the compiler's time goes into making PTX. Only a chip's own code (90a: wgmma, TMA) needs PTX of its own.
    """
    codes: dict[str, list[str]] = {}
    for name in architectures:
        number, kind = name.split("-")
        if kind == "virtual":
            codes.setdefault(number, []).append(f"compute_{number}")
        else:
            codes.setdefault(number if number[-1] in "af" else "80", []).append(f"sm_{number}")
    return [f"-gencode=arch=compute_{virtual},code=[{','.join(codes[virtual])}]" for virtual in sorted(codes)]


def main() -> int:
    """Print the choice as JSON for CMake; the compiler that the user gave CMake is the only argument."""
    try:
        toolkit = find_toolkit(os.environ, sys.argv[1] if len(sys.argv) > 1 else "")
        architectures, architectures_reason = choose_architectures(os.environ, toolkit.nvcc)
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return 1
    choice = asdict(toolkit) | {
        "library_folder": library_folder(toolkit.nvcc),
        "architectures": architectures,
        "architectures_reason": architectures_reason,
        "code_flags": code_flags(architectures),
    }
    print(json.dumps(choice))
    return 0


if __name__ == "__main__":
    sys.exit(main())
