"""What benchmarks/gpu_check.py asks for, the extra that brings it, and which tests and calls it chooses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from scikit_build_core.build._editable import editable_redirect

import alexnet_cuda

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import gpu_check  # noqa: E402
from gpu_check_parts import machine, small_calls, small_products, stages  # noqa: E402

BARE = {"PATH": "", "ALEXNET_CUDA_TOOLKIT": "wheels"}  # neither compiler nor CMake on the machine


def test_the_extra_brings_what_the_check_asks_for_and_nothing_else() -> None:
    asked = {*machine.build_requirements(BARE), *machine.run_requirements(), machine.sanitizer_requirement()}
    brought = machine.brought()
    assert asked == set(brought.values())
    assert {"cupy-cuda13x", "scikit-learn", "pytest", "cmake"} <= set(brought)
    # The extra's ranges hold what the build itself is pinned to, and of CUDA nothing that a driver 580 is too old for.
    for pin in (*machine.project()["build-system"]["requires"], *machine.toolkit.WHEELS):
        name, _, version = pin.partition("==")
        assert Requirement(brought[name]).specifier.contains(version), pin
    for name, line in brought.items():
        if name.startswith("nvidia-") and name != "nvidia-cuda-sanitizer-api":
            assert Requirement(line).specifier.contains("13.0.99"), line
            assert not Requirement(line).specifier.contains("13.1.48"), line
    sanitizer = Requirement(machine.sanitizer_requirement()).specifier
    assert [sanitizer.contains(v) for v in ("13.0.85", "13.3.75", "13.5.25", "14.0.1")] == [False, False, True, False]


def test_what_the_machine_has_is_not_asked_for(tmp_path: Path) -> None:
    for name in ("cmake", "make"):
        (tmp_path / name).touch(0o755)
    needed = {Requirement(line).name for line in machine.build_requirements({**BARE, "PATH": str(tmp_path)})}
    assert {"pip", "pybind11"} <= needed
    assert not {"cmake", "ninja"} & needed
    lines = ["pytest>=8", "pytest==0.1", "no-such-thing>=2; python_version >= '3'", "other; python_version < '3'"]
    assert machine.missing(lines) == ["pytest==0.1", "no-such-thing>=2"]
    assert "no C++ compiler (c++, g++, clang++) is on PATH" in machine.compiler_problem({"PATH": str(tmp_path)})


def test_sanitizer_is_found_on_path_beside_nvcc_and_in_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "site" / "nvidia" / "cu13" / "compute-sanitizer" / "compute-sanitizer"
    others = ("a/compute-sanitizer", "b/bin/compute-sanitizer", "b/bin/nvcc", "site/nvidia/cu13/bin/compute-sanitizer")
    for path in (wheel, *(tmp_path / name for name in others)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o755)
    assert machine.find_sanitizer({"PATH": str(tmp_path / "a")}) == str(tmp_path / "a" / "compute-sanitizer")

    def run(command: list[str]) -> str | None:
        return "release 13.0, V13.0.88" if command[0] == str(tmp_path / "b/bin/nvcc") else None

    environment = {"PATH": "", "CUDA_HOME": str(tmp_path / "b")}
    assert machine.find_sanitizer(environment, run) == str(tmp_path / "b" / "bin" / "compute-sanitizer")
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    assert machine.find_sanitizer({"PATH": ""}, lambda command: None) is None, "it lacks what it starts"
    wheel.with_name("TreeLauncherSubreaper").touch(0o755)
    assert machine.find_sanitizer({"PATH": ""}, lambda command: None) == str(wheel)


def test_a_dry_run_says_of_every_stage_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("something was run")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "find_gpus", list)
    monkeypatch.setattr(machine, "missing", lambda requirements: [])
    monkeypatch.setattr(machine, "compiler_problem", lambda environment: "")
    monkeypatch.setattr(machine, "find_sanitizer", lambda environment: "/made/up/compute-sanitizer")
    assert gpu_check.main(["--dry-run"], refuse) == 0
    names = [stage.name for stage in stages.all_stages(stages.Setup(tmp_path))]
    output = capsys.readouterr().out.splitlines()
    assert output[:-2] == [f"{', '.join(names)}: ready"]
    assert output[-1] == "nothing was run; every stage has what it needs"
    monkeypatch.setattr(machine, "compiler_problem", lambda environment: "no C++ compiler")
    monkeypatch.setattr(machine, "find_sanitizer", lambda environment: None)
    assert gpu_check.main(["--dry-run"], refuse) == 1
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "build: no C++ compiler"
    assert output[2].startswith("memcheck, racecheck, synccheck, initcheck: compute-sanitizer is not on PATH")
    assert output[-1] == "nothing was run; stages that lack something: 5"
    assert list(tmp_path.iterdir()) == []


def test_a_python_without_anything_is_told_what_brings_all() -> None:
    command = [sys.executable, "-S", str(ROOT / "benchmarks" / "gpu_check.py"), "--dry-run"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    expected = rf"\w+ is missing: .* -m pip install '{re.escape(str(ROOT))}\[gpu-check\]' brings all that is needed\n"
    assert re.fullmatch(expected, done.stderr)


def test_what_was_built_is_imported_in_spite_of_an_editable_install(tmp_path: Path) -> None:
    """By the finder that scikit-build-core installs, which comes before every path."""
    builder = venv.EnvBuilder(with_pip=False)
    builder.create(tmp_path / "venv")
    python = builder.ensure_directories(tmp_path / "venv").env_exe
    for folder in ("editable", "package"):
        (tmp_path / folder / "alexnet_cuda").mkdir(parents=True)
        for module in ("__init__", "part"):
            (tmp_path / folder / "alexnet_cuda" / f"{module}.py").touch()
    source = tmp_path / "editable" / "alexnet_cuda"
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    finder = editable_redirect(
        modules={"alexnet_cuda": str(source / "__init__.py"), "alexnet_cuda.part": str(source / "part.py")},
        installed={},
        directories={"alexnet_cuda": [str(source)]},
        packages=["alexnet_cuda"],
        reload_dir=None,
        rebuild=False,
        verbose=False,
        build_options=[],
        install_options=[],
        install_dir="",
    )
    (site / "_editable_made_up.py").write_text(finder)
    (site / "_editable_made_up.pth").write_text("import _editable_made_up\n")

    def imported(build: bool) -> list[str]:
        setup = stages.Setup(tmp_path, build, environment={})
        code = "import alexnet_cuda.part; print(alexnet_cuda.__file__, alexnet_cuda.part.__file__)"
        done = subprocess.run([python, "-c", code], env=setup.child_environment(), stdout=subprocess.PIPE, text=True)
        return [Path(path).parts[-3] for path in done.stdout.split()]

    assert imported(build=False) == ["editable", "editable"]
    assert imported(build=True) == ["package", "package"]


FAKE_GPU = """
import json, os, re, sys, types
from importlib.machinery import ModuleSpec
import alexnet_cuda
from alexnet_cuda import _simt

fake = types.ModuleType("alexnet_cuda._cuda")
fake.__dict__.update(vars(_simt), __spec__=ModuleSpec("alexnet_cuda._cuda", None), __name__="alexnet_cuda._cuda")
fake.driver_version, fake.device_count = lambda: 13000, lambda: 1
sys.modules["alexnet_cuda._cuda"] = alexnet_cuda._cuda = fake

def on_gpu(value):
    if isinstance(value, (tuple, list)):
        return any(map(on_gpu, value))
    name = value if isinstance(value, str) else getattr(value, "name", "")
    return isinstance(name, str) and bool(re.match(r"cuda(?![A-Za-z])", name))  # not the CUDA runtime's functions

import pytest
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        item.on_gpu = hasattr(item, "callspec") and any(map(on_gpu, item.callspec.params.values()))

def pytest_deselected(items):
    pytest.wrong = [item.nodeid for item in items if item.on_gpu and not item.nodeid.startswith("tests/cuda/")]

def pytest_collection_finish(session):
    wrong = pytest.wrong + [item.nodeid for item in session.items if not item.on_gpu]
    files = sorted({item.location[0] for item in session.items})
    print(json.dumps({"wrong": wrong, "files": files, "errors": session.testsfailed}))
"""


def test_the_tests_that_a_gpu_adds_are_chosen_and_no_others(tmp_path: Path) -> None:
    """By the values that tests are given, on a machine that seems to have a GPU; the check itself goes by ids."""
    (tmp_path / "fake_gpu.py").write_text(FAKE_GPU)
    paths = [tmp_path, stages.PARTS, Path(alexnet_cuda.__file__).parents[1]]
    setup = stages.Setup(tmp_path, build=False)
    command = [*stages.tests_command(setup), "-p", "fake_gpu", "--collect-only", "--no-summary"]
    environment = {**setup.child_environment(), "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert (found["errors"], found["wrong"]) == (0, [])
    assert {"tests/ops/test_conv2d.py", "tests/model/test_kernels.py"} <= set(found["files"])
    chosen = stages.read_lines(tmp_path / "tests.jsonl")[0]
    assert chosen["selected"] > 4000
    assert chosen["need_no_gpu"] > 10000


def test_race_and_synccheck_run_every_operation_with_shared_memory() -> None:
    shared = set(small_products.PRODUCTS)  # csrc/gemm
    for op in small_calls.CALLS:
        file = "activation" if op in ("relu", "tanh") else op
        sources = "".join(path.read_text() for path in (ROOT / "csrc" / "ops").glob(f"{file}*.cu*"))
        assert sources
        if "SHARED(" in sources or "__syncthreads" in sources:
            shared.add(op)
    assert set(stages.SHARED) == shared
    names = {name for ops, _ in stages.SANITIZED.values() for name in ops}
    assert names <= {*small_products.PRODUCTS, *small_calls.CALLS}
