"""Each error of the CUDA runtime is told once, as that of the call that failed: `common/launch.h` on a stand-in."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "csrc"


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """Title and outcome of each step of launch_errors.cpp, in order."""
    program = tmp_path_factory.mktemp("launch_errors") / "launch_errors"
    compiler = [os.environ.get("CXX", "c++"), "-std=c++17", "-Wall", "-Wextra", "-Werror"]
    folders = [f"-I{HERE / 'standin'}", f"-I{SOURCES}"]
    subprocess.run([*compiler, *folders, HERE / "launch_errors.cpp", "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    pairs = [line.partition(": ") for line in done.stdout.splitlines()]
    return [(title, outcome) for title, _, outcome in pairs]


def test_no_error_is_left_and_no_launch_is_blamed_for_another_call(steps):
    assert [outcome for title, outcome in steps if title in ("launch", "next launch")] == ["ok"] * 5
    assert "an error is left" not in [outcome for _, outcome in steps]


@pytest.mark.parametrize(
    ("title", "start", "end"),
    [
        ("cudaFuncSetAttribute", "cudaFuncSetAttribute(function, ", ""),
        ("cudaLaunchKernel", "launching plain_kernel: invalid argument", ""),
        ("a template", "launching vector_kernel: invalid argument", ""),
        (
            "a kernel before",
            "launching plain_kernel: an illegal memory access was encountered",
            "a kernel that was launched before did this, CUDA_LAUNCH_BLOCKING=1 shows which",
        ),
        ("cudaGetDevice", "cudaGetDevice(&device): invalid argument", ""),
        ("cudaDeviceGetAttribute", "cudaDeviceGetAttribute(&machine.multiprocessors, ", ""),
    ],
)
def test_an_error_names_its_call(steps, title, start, end):
    (outcome,) = [outcome for each, outcome in steps if each == title]
    assert outcome.startswith(start)
    assert outcome.endswith(end)


def test_the_machine_is_asked_for_once_a_gpu(steps):
    last = steps[steps.index(("ask", "ok")) - 1 :]
    assert last == [
        ("machine", "100, 1000"),
        ("ask", "ok"),
        ("machine", "100, 1000"),
        ("ask again", "ok"),
        ("calls", "1"),
        ("machine", "101, 2000"),
        ("another GPU", "ok"),
    ]


def test_every_call_of_the_runtime_is_checked():
    """Nothing but these two files may look at an error or leave one unread."""
    for path in sorted(p for p in SOURCES.rglob("*") if p.suffix in (".h", ".cuh", ".cu", ".cpp")):
        name = path.relative_to(SOURCES).as_posix()
        if name.startswith("simt/") or name in ("common/launch.h", "common/check.h"):
            continue
        code = re.sub(r"ALEXNET_CUDA_CHECK\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", "", path.read_text())
        assert re.findall(r"\bcuda[A-Z]\w+\(", code) == [], name
