"""What benchmarks/gpu_check.py asks for, the extra that installs it, and which tests it chooses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from scikit_build_core.build._editable import editable_redirect

import alexnet_cuda
from alexnet_cuda import ops

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from benchmarks.gpu_check_parts import needs, stages  # noqa: E402

PYTHON = Path(alexnet_cuda.__file__).parents[1]
BARE = {"PATH": "", "ALEXNET_CUDA_TOOLKIT": "wheels"}  # neither compiler nor CMake on the machine


def test_the_extra_brings_what_the_check_asks_for_and_nothing_else() -> None:
    offered = needs.extra_requirements()
    sanitizer = offered["nvidia-cuda-sanitizer-api"]
    asked = {*needs.build_requirements(BARE), *needs.extra_requirements("test").values(), sanitizer}
    assert asked == set(offered.values())
    assert {"cupy-cuda13x", "scikit-learn", "pytest", "cmake"} <= set(offered)
    # The extra's ranges hold what the build itself is pinned to, and of CUDA nothing that a driver 580 is too old for.
    for pin in (*needs.project()["build-system"]["requires"], *needs.toolkit.WHEELS):
        name, _, version = pin.partition("==")
        assert Requirement(offered[name]).specifier.contains(version), pin
    for name, line in offered.items():
        if name.startswith("nvidia-") and name != "nvidia-cuda-sanitizer-api":
            assert Requirement(line).specifier.contains("13.0.99"), line
            assert not Requirement(line).specifier.contains("13.1.48"), line
    assert [Requirement(sanitizer).specifier.contains(v) for v in ("13.0.85", "13.3.75", "13.5.25", "14.0.1")] == [
        False,
        False,
        True,
        False,
    ]


def test_what_the_machine_has_is_not_asked_for(tmp_path: Path) -> None:
    for name in ("cmake", "make"):
        (tmp_path / name).touch(0o755)
    needed = {Requirement(line).name for line in needs.build_requirements({**BARE, "PATH": str(tmp_path)})}
    assert {"pip", "pybind11"} <= needed
    assert not {"cmake", "ninja"} & needed
    lines = ["pytest>=8", "pytest==0.1", "no-such-thing>=2; python_version >= '3'", "other; python_version < '3'"]
    assert needs.missing(lines) == ["pytest==0.1", "no-such-thing>=2"]
    with pytest.raises(needs.NotRunError, match=r"no C\+\+ compiler \(c\+\+, g\+\+, clang\+\+\) is on PATH"):
        needs.require_compiler({"PATH": str(tmp_path)})


def test_sanitizer_is_found_on_path_beside_nvcc_and_in_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "site" / "nvidia" / "cu13" / "compute-sanitizer" / "compute-sanitizer"
    others = ("a/compute-sanitizer", "b/bin/compute-sanitizer", "b/bin/nvcc", "site/nvidia/cu13/bin/compute-sanitizer")
    for path in (wheel, *(tmp_path / name for name in others)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o755)
    assert needs.find_sanitizer({"PATH": str(tmp_path / "a")}) == str(tmp_path / "a" / "compute-sanitizer")

    def run(command: list[str]) -> str | None:
        return "release 13.0, V13.0.88" if command[0] == str(tmp_path / "b/bin/nvcc") else None

    environment = {"PATH": "", "CUDA_HOME": str(tmp_path / "b")}
    assert needs.find_sanitizer(environment, run) == str(tmp_path / "b" / "bin" / "compute-sanitizer")
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    with pytest.raises(needs.NotRunError, match="compute-sanitizer is not on PATH"):  # it lacks what it starts
        needs.find_sanitizer({"PATH": ""}, lambda command: None)
    wheel.with_name("TreeLauncherSubreaper").touch(0o755)
    assert needs.find_sanitizer({"PATH": ""}, lambda command: None) == str(wheel)


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
    (site / "_editable_invented.py").write_text(finder)
    (site / "_editable_invented.pth").write_text("import _editable_invented\n")

    def imported(build: bool) -> list[str]:
        setup = stages.Setup(tmp_path, build, environment={})
        code = "import alexnet_cuda.part; print(alexnet_cuda.__file__, alexnet_cuda.part.__file__)"
        done = subprocess.run([python, "-c", code], env=setup.child_environment(), stdout=subprocess.PIPE, text=True)
        return [Path(path).parts[-3] for path in done.stdout.split()]

    assert imported(build=False) == ["editable", "editable"]
    assert imported(build=True) == ["package", "package"]


FAKE_GPU = """
import json, re, sys, types
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
    wrong = []
    for item in items:
        gpu = hasattr(item, "callspec") and any(map(on_gpu, item.callspec.params.values()))
        if gpu != bool(item.get_closest_marker("gpu")) and not (gpu and item.nodeid.startswith("tests/cuda/")):
            wrong.append(item.nodeid)
    print(json.dumps({"wrong": wrong}))

def pytest_collection_finish(session):
    print(json.dumps({"selected": [item.nodeid for item in session.items]}))
    print(json.dumps({"small": [item.nodeid for item in session.items if item.get_closest_marker("small")]}))
"""


def collect(tmp_path: Path, stage: str) -> dict[str, list[str]]:
    """What a stage's command would run on a machine that seems to have a GPU."""
    (tmp_path / "fake_gpu.py").write_text(FAKE_GPU)
    setup = stages.Setup(tmp_path, build=False, environment={**os.environ})
    paths = [tmp_path, stages.PARTS, PYTHON]
    tests = next(each for each in stages.all_stages(setup) if each.name == stage)
    command = [*stages.Tests.command(tests, setup), "-p", "fake_gpu", "--collect-only", "--no-summary"]
    command = [argument for argument in command if argument != "--no-pool"]
    environment = {**setup.child_environment(), "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found |= json.loads(line)
    return found


def operations(names: list[str]) -> set[tuple[str, str]]:
    """Operations and precisions of tests on the GPU."""
    return {(e["op"], e["precision"]) for e in stages.summarize([{"id": n, "outcome": "passed"} for n in names])}


def test_the_tests_that_a_gpu_adds_are_chosen_and_no_others(tmp_path: Path) -> None:
    """By the values that tests are given; the marker goes by ids."""
    found = collect(tmp_path, "tests")
    assert found["wrong"] == []
    files = {name.partition("::")[0] for name in found["selected"]}
    assert {"tests/ops/test_conv2d.py", "tests/model/test_kernels.py"} <= files
    chosen = stages.read_lines(tmp_path / "tests.jsonl")[0]
    assert chosen["selected"] == len(found["selected"]) > 4000
    assert chosen["left_out"] > 10000
    # The small set has every operation in every precision, and no more tests than compute-sanitizer has time for.
    expected = {(op, precision) for op in ops.__all__ for precision in ("float32", "bfloat16", "float16")}
    assert operations(found["small"]) == expected | {("conv2d", "tf32"), ("linear", "tf32")}
    assert len(found["small"]) < 500


def test_racecheck_runs_every_operation_with_shared_memory(tmp_path: Path) -> None:
    found = operations(collect(tmp_path, "racecheck")["selected"])
    assert found == {(op, size) for op in ops.__all__ if op not in stages.NO_SHARED for size in stages.SIZES}
    for path in (ROOT / "csrc" / "ops").glob("*.cu*"):
        text = path.read_text()
        assert path.stem not in stages.NO_SHARED or ("SHARED(" not in text and "__syncthreads" not in text), path


def run_with_plugin(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (stages.PARTS, tmp_path, PYTHON)))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "outcomes", "-p", "no:cacheprovider", *arguments]
    command += ["--outcomes", str(tmp_path / "lines")]
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    return stages.read_lines(tmp_path / "lines")


def test_each_test_is_written_as_it_ends(tmp_path: Path) -> None:
    (tmp_path / "test_invented.py").write_text(
        "import pytest\n"
        "def test_a(): pass\n"
        "def test_b(): assert 1 == 2, 'not so'\n"
        "def test_c(): pytest.skip('for a reason')\n"
        "@pytest.fixture\n"
        "def broken(): raise OSError('no fixture')\n"
        "def test_d(broken): pass\n"
        "def test_other(): pass\n"
    )
    (tmp_path / "test_broken.py").write_text("import no_such_module\n")
    options = ("--continue-on-collection-errors", "--rootdir", str(tmp_path), "-k", "not other")
    first, chosen, *records, last = run_with_plugin(tmp_path, str(tmp_path), *options)
    assert (chosen, last) == ({"selected": 4, "left_out": 1}, {"finished": True})
    assert [r["running"].rpartition("::")[2] for r in records[::2]] == ["test_a", "test_b", "test_c", "test_d"]
    ended = [first, *records[1::2]]
    assert [r["outcome"] for r in ended] == ["failed", "passed", "failed", "skipped", "failed"]
    for record, words in zip(ended, ("no_such_module", "", "not so", "for a reason", "no fixture"), strict=True):
        assert words in record.get("message", "")
    (tmp_path / "lines").write_text('{"a": 1}\n{"b": ')  # cut
    assert stages.read_lines(tmp_path / "lines") == [{"a": 1}]
    assert stages.read_lines(tmp_path / "absent") == []


def test_a_wrong_result_fails_in_the_small_set_with_its_error(tmp_path: Path) -> None:
    wrong = (
        "from alexnet_cuda.ops import tanh\nright = tanh.bprop\ntanh.bprop = lambda *a, **k: right(*a, **k) * 1.001\n"
    )
    (tmp_path / "wrong.py").write_text(wrong)
    tests = ("tests/ops/test_tanh.py", "-m", "small", "-k", "cpu-float32")
    for plugins, outcome in (((), "passed"), (("-p", "wrong"), "failed")):
        (tmp_path / "lines").unlink(missing_ok=True)
        records = [r for r in run_with_plugin(tmp_path, *tests, *plugins) if "id" in r]
        assert [r["outcome"] for r in records] == [outcome] * 2
        assert all((0 < r["error_over_bound"] <= 1) == (outcome == "passed") for r in records)
