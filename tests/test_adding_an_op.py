"""docs/adding_an_op.md, done: its blocks, applied to a copy of the sources, are an operation that passes its test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11

import alexnet_cuda
from alexnet_cuda import _build_info
from simt import whole_executor

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(diff|python) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The binding of the operation and its kernels without those of others: `_simt` as far as the operation's test needs it.
MODULE = """
#include "bindings/activation.cpp"
#include "bindings/simt_module.cpp"
#include "ops/activation.cu"
"""
# An editable install would find the package elsewhere.
CONFTEST = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
sys.path.insert(0, "python")
"""


def apply(kind: str, path: Path, text: str) -> None:
    """Do what a block says: the whole of a new file, or lines to replace where they stand in a file once."""
    if kind == "python":
        assert not path.exists()
        path.write_text(text)
        return
    lines = text.splitlines(keepends=True)
    before, after = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
    before, after = before.removesuffix("\n"), after.removesuffix("\n")
    found = path.read_text()
    assert found.count(before) == 1, f"{path} has {found.count(before)} of:\n{before}"
    path.write_text(found.replace(before, after))


def build(folder: Path) -> None:
    """Compile the executor and the operation's part of `_simt` into the copy's package."""
    ops = folder / "csrc" / "bindings" / "ops.h"
    ops.write_text(re.sub(r"^.*\bbind_(?!activation|ops)\w+\(.*\n", "", ops.read_text(), flags=re.MULTILINE))
    (folder / "csrc" / "module.cpp").write_text(MODULE)
    includes = [folder / "csrc", pybind11.get_include(), sysconfig.get_path("include")]
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-fPIC", "-fvisibility=hidden", "-DALEXNET_CUDA_SIMT"]
    command += ["-Wno-unknown-pragmas", *(f"-I{include}" for include in includes)]

    def compile_one(source: Path) -> Path:
        target = source.with_suffix(".o")
        level = "-O0" if source.stem == "module" else "-O1"
        subprocess.run([*command, level, "-c", source, "-o", target], check=True)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, [folder / "csrc" / "module.cpp", whole_executor(folder)]))
    target = folder / "python" / "alexnet_cuda" / f"_simt{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run([*command, "-shared", *objects, "-o", target, "-pthread", "-ldl"], check=True)


def test_the_operation_of_the_page(tmp_path: Path) -> None:
    without = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc", ignore=without)
    shutil.copytree(Path(alexnet_cuda.__file__).parent, tmp_path / "python" / "alexnet_cuda", ignore=without)
    shutil.copy(_build_info.__file__, tmp_path / "python" / "alexnet_cuda")
    shutil.copytree(ROOT / "tests" / "ops", tmp_path / "tests" / "ops", ignore=without)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    blocks = BLOCK.findall((ROOT / "docs" / "adding_an_op.md").read_text(encoding="utf-8"))
    assert len({path for _, path, _ in blocks}) == 5
    for kind, path, text in blocks:
        apply(kind, tmp_path / path, text)
    build(tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/ops/test_softsign.py"]
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # A shape in one precision on the CPU, asked for NumPy and not, and three on the executor; and the reference itself.
    assert done.stdout.splitlines()[-1].startswith(f"{4 * 5 + 1} passed")
