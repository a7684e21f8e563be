"""Build `_simt` under AddressSanitizer and UndefinedBehaviorSanitizer and run kernels in it; fails on any report.

``python tools/sanitize.py [--sanitizers address,undefined] [--build FOLDER] [--jobs 2] [PYTEST ARGUMENTS]``; no GPU is
needed.
The executor by itself finds what a kernel does to the buffers it was given. What it cannot see, its own host code, the
launchers, arrays in registers and on the stack, undefined shifts and casts, is for these two.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The executor's own tests, without those that provoke a report on purpose; every kernel in every precision.
TESTS = (
    (
        "tests/simt",
        "--ignore=tests/simt/test_builds.py",
        "--deselect=tests/simt/test_faults.py::test_faults_of_a_thread[1-integer division by zero]",
        "tests/kernels/test_bias.py",
        "tests/kernels/test_folded.py",
    ),
    ("tests/ops", "-m", "small", "-k", "simt and not exact"),
)
RUNTIMES = {"address": "libasan.so", "undefined": "libubsan.so"}
# A name that the compiler leaves in what it has instrumented.
MARKS = {"address": b"__asan_report_", "undefined": b"__ubsan_handle_"}


class SanitizeError(Exception):
    """The sanitized run cannot be done; the message is the sentence for the user."""


def configure_command(build: Path) -> list[str]:
    """Return the call of CMake that prepares `build`.

    Raises
    ------
    SanitizeError
        CMake or pybind11 is missing.
    """
    cmake = shutil.which("cmake")
    if cmake is None or importlib.util.find_spec("pybind11") is None:
        requirements = re.findall(r'"(pybind11==[^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        raise SanitizeError(f"cmake and pybind11 are needed: python -m pip install cmake ninja {requirements[0]}")
    asked = subprocess.run([sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    definitions = {
        "SKBUILD_PROJECT_VERSION": "0",  # scikit-build-core would give it; only `doctor` shows it
        "CMAKE_BUILD_TYPE": "",  # all flags are those of cmake/simt, and assertions stay
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": asked.stdout.strip(),
    }
    return [cmake, *generator, "-S", str(ROOT), "-B", str(build), *(f"-D{k}={v}" for k, v in definitions.items())]


def build_library(build: Path, sanitizers: Sequence[str], jobs: int) -> Path:
    """Build `_simt` in `build`; returns the extension.

    Raises
    ------
    SanitizeError
        It does not build, or the result is not instrumented.
    """
    environment = {**os.environ, "ALEXNET_CUDA_BUILD": "cpu", "ALEXNET_CUDA_SANITIZE": ",".join(sanitizers)}
    compile_command = ["cmake", "--build", str(build), "--target", "_simt", "--parallel", str(jobs)]
    for command in (configure_command(build), compile_command):
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise SanitizeError(f"{' '.join(command)} failed:\n{done.stdout[-8000:]}")
    library = next((build / "cmake" / "simt").glob("_simt.*.so"))
    content = library.read_bytes()
    for name in sanitizers:
        if MARKS[name] not in content:
            raise SanitizeError(f"{library} holds no checks of -fsanitize={name}: {build} was built otherwise")
    return library


def runtime(name: str) -> str:
    """Return the shared library of a sanitizer, which has to be in the process before everything else.

    Raises
    ------
    SanitizeError
        The C++ compiler has none.
    """
    compiler = os.environ.get("CXX", "c++")
    asked = subprocess.run([compiler, f"-print-file-name={RUNTIMES[name]}"], capture_output=True, text=True, check=True)
    if not os.path.isabs(asked.stdout.strip()):
        raise SanitizeError(f"{compiler} has no {RUNTIMES[name]}: install the sanitizer libraries of this compiler")
    return asked.stdout.strip()


def sanitized_environment(sanitizers: Sequence[str]) -> dict[str, str]:
    """Return the environment of a Python whose extensions are sanitized."""
    return {
        **os.environ,
        "ALEXNET_CUDA_SANITIZE": ",".join(sanitizers),  # tests/simt compiles its kernels so, too
        "LD_PRELOAD": " ".join(runtime(name) for name in sanitizers),
        "ASAN_OPTIONS": "detect_leaks=0",  # CPython leaves memory to the system at its end
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # Small buffers of Python are then malloc's, so that writes beyond them are seen.
        "PYTHONMALLOC": "malloc",
    }


def find_reports(text: str) -> list[str]:
    """Return the first line of every report in what the sanitizers wrote."""
    return [line for line in text.splitlines() if re.search(r"runtime error: |==\d+==\s?ERROR: ", line)]


def run_tests(library: str, arguments: list[str]) -> int:
    """Run pytest with `library` in the place of the installed `_simt`."""
    import pytest

    name = "alexnet_cuda._simt"
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return int(pytest.main(arguments))


def check(library: Path, sanitizers: Sequence[str], tests: Sequence[str]) -> int:
    """Run the tests on `library`; returns 0 where they pass and no sanitizer has anything to report."""
    # Not pytest's usual capture: it would swallow what the sanitizers write while a test passes. libubsan ignores
    # log_path beside libasan, so standard error is what is read.
    inside = [sys.executable, str(Path(__file__).resolve()), "--inside", str(library), "--capture=sys"]
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        done = subprocess.run(
            [*inside, "-q", "-p", "no:cacheprovider", *tests],
            cwd=ROOT,
            env=sanitized_environment(sanitizers),
            stderr=errors,
        )
        errors.seek(0)
        text = errors.read()
    sys.stdout.write(text)
    reports = find_reports(text)
    for report in reports:
        print(f"reported: {report}")
    return 1 if reports or done.returncode != 0 else 0


def main() -> int:
    """Build, run and say how long it took."""
    if sys.argv[1:2] == ["--inside"]:
        return run_tests(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="Any other argument is pytest's; by default the executor's own tests and every kernel once.",
    )
    parser.add_argument("--sanitizers", default="address,undefined")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "sanitize", help="kept for the next run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    given, tests = parser.parse_known_args()
    sanitizers = given.sanitizers.split(",")
    if unknown := set(sanitizers) - set(RUNTIMES):
        parser.error(f"unknown sanitizer {sorted(unknown)[0]!r}; expected {' and '.join(RUNTIMES)}")
    start = time.monotonic()
    try:
        library = build_library(given.build.resolve(), sanitizers, given.jobs)
        print(f"built {library.name} in {time.monotonic() - start:.0f} s", flush=True)
        status = max(check(library, sanitizers, arguments) for arguments in ([tests] if tests else TESTS))
    except SanitizeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{'ok' if status == 0 else 'FAILED'}, {time.monotonic() - start:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
