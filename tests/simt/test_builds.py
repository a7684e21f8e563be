"""The executor under AddressSanitizer and UndefinedBehaviorSanitizer, and with the switch for other processors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .harness import Executor, ExecutorError, build

ROOT = Path(__file__).parents[2]
SANITIZED = """
import sys
import numpy as np
from pathlib import Path
from tests.simt.harness import Executor, ExecutorError

executor = Executor(Path(sys.argv[1]))
x = np.arange(5 * 96, dtype=np.float32)
y = executor.empty(5 * 96)
executor.run("reverse_twice", executor.array(x), y, scalars=[0], grid=5, block=96, shared=4 * 96)
assert (y == 3 * x.reshape(5, 96)[:, ::-1].ravel()).all()
d = executor.array(np.zeros(768, np.float32))
a, b = executor.array(np.zeros(256, np.uint32)), executor.array(np.zeros(192, np.uint32))
executor.run("mma_bf16", a, b, d, scalars=[1])
assert (d == 0).all()
z = executor.empty(64)
for mode in (0, 1):
    try:
        executor.run("divergent_barrier", z, scalars=[mode], block=64)
    except ExecutorError:
        executor.run("divergent_barrier", z, scalars=[2], block=64)
executor.run("misaligned", executor.array(x), executor.empty(16), block=1)
print("up to here", flush=True)
executor.run("trap", executor.array(np.array([5, 0], np.int32)), scalars=[3], block=1)
"""


def _library(name: str) -> str:
    compiler = os.environ.get("CXX", "c++")
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_sanitizers(tmp_path: Path) -> None:
    libraries = [_library("libasan.so"), _library("libubsan.so")]
    if not all(Path(library).is_absolute() for library in libraries):
        pytest.skip("the C++ compiler has no sanitizer libraries")
    flags = ["-O0", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
    done = subprocess.run(
        [sys.executable, "-c", SANITIZED, build(tmp_path, flags)],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "up to here\n", done.stderr
    reports = [line for line in done.stderr.splitlines() if "runtime error: " in line or "ERROR: Address" in line]
    assert not any("csrc/" in line for line in reports), done.stderr
    assert "misaligned address" in reports[0]
    assert "stack-buffer-overflow" in reports[-1]
    assert done.returncode != 0


def test_switch_without_assembly(tmp_path: Path) -> None:
    executor = Executor(build(tmp_path, ["-O0", "-DALEXNET_SIMT_PORTABLE_SWITCH=1", "-D_FORTIFY_SOURCE=0"]))
    for _ in range(2):
        x = np.arange(5 * 96, dtype=np.float32)
        y = executor.empty(5 * 96)
        executor.run("reverse", executor.array(x), y, scalars=[0], grid=5, block=96)
        np.testing.assert_array_equal(y, x.reshape(5, 96)[:, ::-1].ravel())
        with pytest.raises(ExecutorError, match="no thread can go on"):
            executor.run("divergent_barrier", executor.empty(64), scalars=[0], block=64)
        with pytest.raises(ExecutorError, match="past the end of buffer"):
            executor.run("global_access", executor.array(np.zeros(64, np.float32)), y, scalars=[64, 5], grid=2)
