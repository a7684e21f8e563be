"""Public functions say what they take, return and raise, in NumPy's style or in a line that names it all."""

from __future__ import annotations

import ast
import contextlib
import inspect
import operator
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import alexnet_cuda
from alexnet_cuda import data, ops, train


def _methods(kind: type) -> Iterator[Any]:
    for name, member in vars(kind).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(function) and function.__module__ == kind.__module__:
            yield function


def _public() -> Iterator[Any]:
    modules = [getattr(ops, name) for name in ops.__all__]
    exported = [getattr(package, name) for package in (alexnet_cuda, data, train) for name in package.__all__]
    own = [f for m in modules for n, f in vars(m).items() if n[0] != "_" and getattr(f, "__module__", "") == m.__name__]
    for member in [*exported, *own]:
        if inspect.isclass(member):
            yield from _methods(member)
        elif callable(member):
            yield inspect.unwrap(member)


def _named(name: str, function: Callable[..., Any]) -> Any:
    """What a name in backticks stands for in a function's docstring; None where that is no function or class."""
    module = sys.modules[function.__module__]
    owner = getattr(module, function.__qualname__.partition(".")[0])
    for place in (owner, module, ops):
        with contextlib.suppress(AttributeError):
            found = operator.attrgetter(name)(place)
            return found if inspect.isroutine(found) or inspect.isclass(found) else None
    return None


def _said(function: Callable[..., Any]) -> str:
    """The docstring, those of what it names in backticks and so on, and that of the package."""
    reached = {function: inspect.getdoc(function) or ""}
    pending = [function]
    while pending:
        for name in re.findall(r"`([\w.]+)`", reached[pending.pop()]):
            named = _named(name, function)
            if named is not None and named not in reached:
                reached[named] = inspect.getdoc(named) or ""
                pending.append(named)
    package = sys.modules[sys.modules[function.__module__].__package__ or ""]
    return "\n".join([*reached.values(), package.__doc__ or ""])


def _lacks(function: Callable[..., Any]) -> list[str]:
    """What is said nowhere of parameters, result and the exceptions that the body itself raises."""
    own, said = inspect.getdoc(function) or "", _said(function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name not in ("self", "cls")]
    missing = [f"parameter {n}" for n in names if not re.search(rf"\b({n}|{n.removesuffix('_out')})\b", said)]
    missing += [f"{name} under Raises" for name in raised if name not in own.partition("\nRaises\n")[2]]
    # A summary says what is returned by naming it ("The ...", "Means over windows, [N, P, Q, C]"), or with the verb.
    summary = own.partition("\n\n")[0]
    if signature.return_annotation != "None" and not re.match(r"(The|An?|Return|Give)\b|.*[\[`]", summary, re.DOTALL):
        missing += [] if re.search(r"\n(Returns|Yields)\n", own) or "\n" not in own else ["Returns"]
    return missing if own else ["docstring"]


def test_public_docstrings_are_complete() -> None:
    lacking = {f"{function.__module__}.{function.__qualname__}": _lacks(function) for function in _public()}
    assert len(lacking) > 50
    assert not {name: missing for name, missing in lacking.items() if missing}
