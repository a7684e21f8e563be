"""`_cuda.pyi` says what the extension has: functions, parameters with their types, results, the keys of configs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import alexnet_cuda

_cuda = pytest.importorskip(
    "alexnet_cuda._cuda", exc_type=ModuleNotFoundError, reason="built with ALEXNET_CUDA_BUILD=cpu"
)

STUB = ast.parse((Path(alexnet_cuda.__file__).parent / "_cuda.pyi").read_text(encoding="utf-8"))
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
DICTS = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}


def stub_type(pybind: str) -> str:
    """The stub's word for a type in a signature that pybind11 writes."""
    if "Sequence" in pybind:
        return "Sequence[int]"
    if "SupportsFloat" in pybind:
        return "float"
    if "SupportsInt" in pybind:
        return "int"
    return pybind


def signature(name: str) -> tuple[dict[str, str], str]:
    """Parameters with types, and the result's type, of a function of the extension, from pybind11's own words."""
    found = re.match(rf"{name}\((?:\*, )?(.*)\) -> (.+)$", getattr(_cuda, name).__doc__.splitlines()[0])
    assert found is not None
    parameters = dict(re.findall(r"(\w+): (.+?)(?=, \w+: |$)", found[1]))
    return {parameter: stub_type(kind) for parameter, kind in parameters.items()}, found[2]


def test_the_same_functions() -> None:
    assert set(FUNCTIONS) == {name for name in dir(_cuda) if not name.startswith("_")}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_parameters_and_result(name: str) -> None:
    arguments = FUNCTIONS[name].args
    assert not arguments.args, "keyword-only, as in the extension"
    stub = {argument.arg: ast.unparse(argument.annotation) for argument in arguments.kwonlyargs if argument.annotation}
    parameters, result = signature(name)
    assert list(stub.items()) == list(parameters.items())
    returns = ast.unparse(FUNCTIONS[name].returns or ast.Constant(...))
    assert (result == "dict") == (returns in DICTS)
    if result in ("None", "int", "bool"):
        assert returns == result


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_what_it_does(name: str) -> None:
    assert len(getattr(_cuda, name).__doc__.splitlines()) > 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("elementwise_config", {"count": 5, "dtype": "float32", "vectors": True}),
        ("bias_bprop_config", {"rows": 5, "columns": 3, "dtype": "float32"}),
        ("softmax_cross_entropy_config", {"rows": 5, "classes": 3}),
    ],
)
def test_the_same_keys(name: str, arguments: dict[str, object]) -> None:
    declared = DICTS[ast.unparse(FUNCTIONS[name].returns or ast.Constant(...))]
    fields = {
        ast.unparse(entry.target): ast.unparse(entry.annotation)
        for entry in declared.body
        if isinstance(entry, ast.AnnAssign)
    }
    result = getattr(_cuda, name)(**arguments)
    assert {key: type(value).__name__ for key, value in result.items()} == fields
