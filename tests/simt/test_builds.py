"""The executor under sanitizers, with the switch for other processors, and with another runner of launches."""

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
sys.path.append("tools")
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


def test_sanitizers(tmp_path):
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


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """As built for another processor, with the runner of runner.cpp as cmake/simt builds it in."""
    flags = ["-O0", "-DALEXNET_SIMT_PORTABLE_SWITCH=1", "-D_FORTIFY_SOURCE=0"]
    flags += ["-DALEXNET_SIMT_RUNNER", "-fvisibility=default"]
    return Executor(build(tmp_path_factory.mktemp("other"), flags, [Path(__file__).with_name("runner.cpp")]))


def test_another_runner_gets_all_of_a_launch(other):
    other.runner_log()
    rng = np.random.default_rng(5)
    gone = other.empty(3)
    a, b = (other.array(rng.standard_normal(shape, np.float32)) for shape in ((21, 7), (7, 18)))
    del gone
    c = other.empty((21, 18))
    other.seed(1 << 40 | 3)
    other.threads(3)
    other.run("gemm", a, b, c, scalars=[21, 18, 7], grid=(2, 3), block=(16, 16))
    np.testing.assert_allclose(c, a.astype(float) @ b.astype(float), atol=1e-5)  # 7 products of about one
    x = np.arange(96, dtype=np.float32)
    there, y = other.array(x), other.empty(96)
    other.run("reverse_twice", there, y, scalars=[0], block=96, shared=384)
    np.testing.assert_array_equal(y, 3 * x[::-1])
    other.run("mma_tf32", *(other.array(np.zeros(n, np.float32)) for n in (256, 192, 768)), scalars=[1])

    lines = [line.partition(" buffers ") for line in other.runner_log()]
    assert [line[0] for line in lines] == [
        "_ZN5tests11gemm_kernelEPKfS1_Pfiii 2,3,1 16,16,1 shared 0 arguments 8 8 8 4 4 4 seed 1099511627779 threads 3",
        "_ZN5tests20reverse_twice_kernelEPKfPfi 1,1,1 96,1,1 shared 384 arguments 8 8 4 seed 1099511627779 threads 3",
        "_ZN5tests10mma_kernelILN7alexnet3ptx8MmaInputE0EEEvPKjS5_Pfi 1,1,1 32,1,1 shared 0 arguments 8 8 8 4"
        " seed 1099511627779 threads 3",
    ]
    for line, arrays in zip(lines[:2], ((a, b, c), (a, b, c, there, y)), strict=True):
        buffers = [each.partition(":") for each in line[2].split()]
        assert sorted(each[2] for each in buffers) == sorted(f"{z.ctypes.data}+{z.nbytes}" for z in arrays)
        assert len({each[0] for each in buffers}) == len(arrays)
    with pytest.raises(ExecutorError, match=r"a block of \(0, 1, 1\) threads; expected 1 to 1024"):
        other.run("gemm", a, b, c, scalars=[21, 18, 7], block=0)
    assert other.runner_log() == []


def test_switch_without_assembly(other):
    for _ in range(2):
        x = np.arange(5 * 96, dtype=np.float32)
        y = other.empty(5 * 96)
        other.run("reverse", other.array(x), y, scalars=[0], grid=5, block=96)
        np.testing.assert_array_equal(y, x.reshape(5, 96)[:, ::-1].ravel())
        with pytest.raises(ExecutorError, match="no thread can go on"):
            other.run("divergent_barrier", other.empty(64), scalars=[0], block=64)
        with pytest.raises(ExecutorError, match="past the end of buffer"):
            other.run("global_access", other.array(np.zeros(64, np.float32)), y, scalars=[64, 5], grid=2)
