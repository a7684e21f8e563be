"""Which part of the package imports which: `tests/test_layout.py` holds the rules, and this draws ``docs/house.svg``.

Run ``python tools/house.py`` after a part was added or moved.
"""

from __future__ import annotations

import ast
import re
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
    "convert": "networks from and to the files of Caffe, ONNX and PyTorch",
    "model": "Model",
    "torch": "for PyTorch: operators with autograd, a model as a module",
    "data": "image sources and the loader",
    "pages": "pages with their pictures inside, pictures",
    "train": "trainer, schedules, metrics",
    "show": "what a checkpoint makes of images, to look at",
    "study": "questions answered by runs: plans, intervals, answers",
    "cli": "the command alexnet-cuda",
}
# Of pictures, in the colours of GitHub's two pages; a browser takes the one that its user prefers.
STYLE = """<style>
text{font-size:14px;fill:#1f2328} path.way{fill:none} .page{fill:#fff}
.box{fill:#dcebfa} .side{fill:#b6d4f2} .other{fill:#f6e3cf} .line{stroke:#57606a;fill:#57606a}
.forward{stroke:#0969da;fill:#0969da} .backward{stroke:#bc4c00;fill:#bc4c00}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3} .page{fill:#0d1117} .box{fill:#1c3a5e} .side{fill:#2d5584} .other{fill:#4d3319}
.line{stroke:#9198a1;fill:#9198a1} .forward{stroke:#58a6ff;fill:#58a6ff} .backward{stroke:#f0883e;fill:#f0883e}
}</style>"""


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
        elif isinstance(node, (ast.Constant, ast.JoinedStr)):  # of `late_import`; a variable stands for any name
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else r"\w+" for p in parts]
            if texts and texts[0].startswith("alexnet_cuda"):
                targets = [t for t in known if re.fullmatch("".join(texts), f"alexnet_cuda.{t}")]
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


def document(width: int, height: int, body: list[str]) -> str:
    """An SVG for a light or a dark page, with arrow heads ``line``, ``forward`` and ``backward``."""
    heads = [
        f'<marker id="{name}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path class="{name}" d="M0 0 8 4 0 8z"/></marker>'
        for name in ("line", "forward", "backward")
    ]
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    page = f'<rect class="page" width="{width}" height="{height}" rx="6"/>'
    return "\n".join([opening, STYLE, "<defs>", *heads, "</defs>", page, *body, "</svg>\n"])


def picture() -> str:
    """The parts as floors of a house, and beside it for each part a line up, with a dot where another imports it."""
    names = list(reversed(FLOORS))
    left, width = 240, 720
    middle = {name: 40 + 46 * i for i, name in enumerate([*names, "csrc"])}
    lane = {name: left - 22 - 22 * i for i, name in enumerate(names)}
    kernels = "kernels, bindings, CPU executor, compiled into extensions for backends"
    edges, body = between(), []
    for name, text in [*((name, FLOORS[name]) for name in names), ("csrc", kernels)]:
        y = middle[name]
        kind = "other" if name == "csrc" else "box"
        body += [
            f'<rect class="{kind}" x="{left}" y="{y - 20}" width="{width}" height="40" rx="4"/>',
            f'<text x="{left + 12}" y="{y + 5}" font-weight="bold">{name}</text>',
            f'<text x="{left + 115}" y="{y + 5}">{escape(text)}</text>',
        ]
    for name in names:
        y = middle[name]
        users = [middle[source] - 9 for source, target in edges if target == name]
        used = [lane[target] for source, target in edges if source == name]
        if users:
            way = f"M{lane[name]} {min(users)} V{y + 9} H{left}"
            body.append(f'<path class="line way" d="{way}" marker-end="url(#line)"/>')
        if used:
            body.append(f'<path class="line way" d="M{left} {y - 9} H{min(used)}"/>')
        body += [f'<circle class="line" cx="{x}" cy="{y - 9}" r="4"/>' for x in sorted(used)]
    return document(left + width + 20, middle["csrc"] + 40, body)


if __name__ == "__main__":
    (ROOT / "docs" / "house.svg").write_text(picture())
