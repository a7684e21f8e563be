"""The stubs say what the extensions have: functions, parameters with types and defaults, results, keys of configs."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import alexnet_cuda
from alexnet_cuda._build_info import BUILD_INFO

STUBS = {
    name: ast.parse((Path(alexnet_cuda.__file__).parent / f"{name}.pyi").read_text(encoding="utf-8"))
    for name in ("_cuda", "_simt")
}
FUNCTIONS = {
    module: {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}
    for module, stub in STUBS.items()
}
DICTS = {node.name: node for node in STUBS["_cuda"].body if isinstance(node, ast.ClassDef)}
DEVICE = {"driver_version", "runtime_version", "device_count", "device_properties", "can_access_peer"}
FUNCTIONS["_simt"] |= {name: node for name, node in FUNCTIONS["_cuda"].items() if name not in DEVICE}
# A build without CUDA has the executor alone.
BUILT = ["_simt"] if BUILD_INFO["build"] == "cpu" else ["_cuda", "_simt"]
EVERY_FUNCTION = [(module, name) for module in BUILT for name in FUNCTIONS[module]]


def extension(module: str) -> Any:
    return importlib.import_module(f"alexnet_cuda.{module}")


def stub_type(pybind: str) -> str:
    """The stub's word for a type in a signature that pybind11 writes."""
    if "Sequence" in pybind:
        return "Sequence[float]" if "SupportsFloat" in pybind else "Sequence[int]"
    if "SupportsFloat" in pybind:
        return "float"
    if "SupportsInt" in pybind:
        return "int"
    return pybind


def signature(module: str, name: str) -> tuple[dict[str, str], str]:
    """Parameters with "type" or "type = default", and the result's type, of a function, from pybind11's own words."""
    found = re.match(rf"{name}\((?:\*, )?(.*)\) -> (.+)$", getattr(extension(module), name).__doc__.splitlines()[0])
    assert found is not None
    parameters = dict(re.findall(r"(\w+): (.+?)(?=, \w+: |$)", found[1]))
    for parameter, text in parameters.items():
        kind, equals, default = text.partition(" = ")
        parameters[parameter] = stub_type(kind) + equals + default
    return parameters, found[2]


@pytest.mark.parametrize("module", BUILT)
def test_the_same_functions(module: str) -> None:
    assert set(FUNCTIONS[module]) == {name for name in dir(extension(module)) if not name.startswith("_")}


@pytest.mark.parametrize(("module", "name"), EVERY_FUNCTION)
def test_the_same_parameters_and_result(module: str, name: str) -> None:
    node = FUNCTIONS[module][name]
    assert not node.args.args, "keyword-only, as in the extension"
    stub = {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        assert argument.annotation is not None
        given = "" if default is None else f" = {ast.unparse(default)}"
        stub[argument.arg] = ast.unparse(argument.annotation) + given
    parameters, result = signature(module, name)
    assert list(stub.items()) == list(parameters.items())
    assert node.returns is not None
    returns = ast.unparse(node.returns)
    assert (result == "dict") == (returns in DICTS)
    if result in ("None", "int", "bool"):
        assert returns == result


@pytest.mark.parametrize(("module", "name"), EVERY_FUNCTION)
def test_every_function_says_what_it_does(module: str, name: str) -> None:
    assert len(getattr(extension(module), name).__doc__.splitlines()) > 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("elementwise_config", {"count": 5, "dtype": "float32", "vectors": True}),
        ("bias_bprop_config", {"rows": 5, "columns": 3, "dtype": "float32"}),
        ("softmax_cross_entropy_config", {"rows": 5, "classes": 3}),
        (
            "copy_config",
            {
                "rows": 5,
                "columns": 3,
                "x_pitch": 0,
                "addend_pitch": 0,
                "y_pitch": 4,
                "x_dtype": "float32",
                "y_dtype": "float16",
                "aligned": True,
            },
        ),
    ],
)
def test_the_same_keys(name: str, arguments: dict[str, object]) -> None:
    returns = FUNCTIONS["_simt"][name].returns
    assert returns is not None
    entries = [entry for entry in DICTS[ast.unparse(returns)].body if isinstance(entry, ast.AnnAssign)]
    result = getattr(extension("_simt"), name)(**arguments)
    assert {key: type(value).__name__ for key, value in result.items()} == {
        ast.unparse(entry.target): ast.unparse(entry.annotation) for entry in entries
    }
