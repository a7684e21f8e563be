"""Which part of the package imports which: `tests/test_layout.py` holds the rules, and this draws ``docs/house.svg``.

Run ``python tools/house.py`` after a part was added or moved.
"""

from __future__ import annotations

import ast
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "alexnet_cuda"
# From the ground up, each with what lives there. A part imports what is below it, and nothing beside or above it.
FLOORS = {
    "base": "arrays, parameters, precisions, random numbers, threads, locks, files",
    "backends": "cpu, kernels, cuda, simt: operations, and the devices they run on",
    "ops": "one function an operation and direction: checks, then the backend of the array",
    "config": "which network",
    "network": "plan, stages, towers, the link between them, layers, passes",
    "checkpoint": "the file of a model",
    "model": "Model",
    "data": "image sources and the loader",
    "train": "trainer, schedules, metrics",
    "cli": "the command alexnet-cuda",
}


def modules() -> dict[str, Path]:
    """Each module by its name below ``alexnet_cuda``, a package by its own; but re-exports and what a build makes."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0].startswith("_"):
            continue
        found[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return found


def imports() -> dict[str, set[str]]:
    """What each module imports of the package: at its top, in functions, for types, and by `late_import`."""
    known = modules()
    return {name: set(_imports(name, path, known)) for name, path in known.items()}


def _imports(name: str, path: Path, known: dict[str, Path]) -> list[str]:
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        targets = []
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            targets = [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "alexnet_cuda":
            targets = [".".join([*node.module.split(".")[1:], alias.name]) for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [a.name.partition(".")[2] for a in node.names if a.name.startswith("alexnet_cuda.")]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("alexnet_cuda."):
            targets = [node.value.partition(".")[2].rstrip(".")]  # the whole name, or what a variable completes
        for target in targets:
            while target and target not in known:  # a name in a module
                target = target.rpartition(".")[0]
            if target and target != name:
                found.append(target)
    return found


def floor(module: str) -> str:
    """The part of the package that a module belongs to."""
    return module.split(".")[0]


def between() -> set[tuple[str, str]]:
    """Which part imports from which other."""
    return {
        (floor(name), floor(target))
        for name, targets in imports().items()
        for target in targets
        if floor(name) != floor(target)
    }


def picture() -> str:
    """The parts as floors of a house, and an arrow from each to every part that it imports from."""
    names = list(reversed(FLOORS))
    height, top, left, width = 46, 20, 330, 700
    middle = {name: top + height * i + height / 2 - 3 for i, name in enumerate(names)}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 20} {top + height * len(names) + 70}" '
        'font-family="sans-serif" font-size="14">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#57606a"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for name in names:
        y = middle[name]
        lines += [
            f'<rect x="{left}" y="{y - 20:g}" width="{width}" height="40" rx="4" fill="#eaf2fb" stroke="#57606a"/>',
            f'<text x="{left + 12}" y="{y + 5:g}" font-weight="bold">{name}</text>',
            f'<text x="{left + 115}" y="{y + 5:g}">{escape(FLOORS[name])}</text>',
        ]
    for number, (source, target) in enumerate(sorted(between(), key=lambda e: (middle[e[1]] - middle[e[0]], e))):
        start, end = middle[source] + 8 - number % 3 * 4, middle[target] - 8 + number % 3 * 4
        reach = left - 20 - 9 * number
        lines.append(
            f'<path d="M{left} {start:g} C{reach} {start:g} {reach} {end:g} {left} {end:g}" fill="none" '
            'stroke="#57606a" marker-end="url(#head)"/>'
        )
    y = top + height * len(names) + 12
    lines += [
        f'<rect x="{left}" y="{y}" width="{width}" height="40" rx="4" fill="#f6e7d7" stroke="#57606a"/>',
        f'<text x="{left + 12}" y="{y + 25}" font-weight="bold">csrc</text>',
        f'<text x="{left + 115}" y="{y + 25}">kernels, bindings, CPU executor, compiled into extensions for backends'
        "</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "house.svg").write_text(picture())
