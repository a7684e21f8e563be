"""What a study leaves beside its runs: pictures, and the page that tells question, answer and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.files import CHECKPOINT_NAME
from ..config import config_from_preset
from ..data import ImageSource, split
from . import counts, pictures
from .page import Block, write_page
from .plan import BASE
from .results import Curve, shown

if TYPE_CHECKING:
    from .run import StudyOptions


def report_counts(options: StudyOptions) -> dict[str, Any]:
    """Write the page of ``counts`` and give its results."""
    found = counts.count(config_from_preset("paper"))
    results = {"study": "counts", **found, "answer": counts.answer(found)}
    panels = {
        "Parameters": {
            title: {layer["name"]: layer[kind] for layer in found["layers"]}
            for title, kind in (
                ("as it is", "parameters"),
                ("not shared", "unshared"),
                ("fully connected", "connected"),
            )
        }
    }
    picture = pictures.by_layer(options.output / "counts.png", panels)
    blocks = [Block("picture", "Parameters of each layer", [[picture]]), counts.table(found)]
    write_page(options.output, "Study counts", _page(options, results["answer"], blocks))
    return results


def report(
    options: StudyOptions,
    source: ImageSource,
    results: dict[str, Any],
    curves: Mapping[str, Sequence[Curve | None]],
    folders: Mapping[str, Sequence[Path]],
) -> None:
    """Draw the pictures, add to `results` what was looked at, and write the page."""
    from .looks import LOOKS, Look

    drawn = {name: [curve for curve in found if curve is not None] for name, found in curves.items()}
    whole = {name: found for name, found in drawn.items() if found}
    blocks = []
    if whole:
        blocks.append(
            (
                "Mean over seeds, and the band of its 95 % interval",
                pictures.curves(options.output / "curves.png", whole),
            )
        )
    blocks.append(
        ("Each seed, mean and 95 % interval", pictures.intervals(options.output / "measures.png", results["measures"]))
    )
    checkpoints = {
        name: [
            folder / CHECKPOINT_NAME for folder, curve in zip(folders[name], found, strict=True) if curve is not None
        ]
        for name, found in curves.items()
    }
    if options.study.looks and all(len(paths) == options.seeds for paths in checkpoints.values()):
        part = float(BASE["validation_split"])
        look = Look(options.output, checkpoints, [split(source, part, seed) for seed in range(options.seeds)])
        for name in options.study.looks:
            results[name], picture, caption = LOOKS[name](look)
            blocks.append((caption, picture))
    pages = [Block("picture", caption, [[picture]]) for caption, picture in blocks]
    write_page(options.output, f"Study {options.name}", _page(options, results["answer"], [_table(results), *pages]))


def _table(results: dict[str, Any]) -> Block:
    measures = results["measures"]
    rates = results["rates"]
    head = ["variant", *next(iter(measures.values())), *(["rate"] if any(rates.values()) else [])]
    rows = [
        [name, *(shown(measure, one) for measure, one in found.items()), *([f"{rates[name]:g}"] if rates[name] else [])]
        for name, found in measures.items()
    ]
    return Block("table", rows=[head, *rows])


def _page(options: StudyOptions, answer: Sequence[str], found: Sequence[Block]) -> list[Block]:
    study = options.study
    command = f"alexnet-cuda study {study.name}"
    trained = bool(study.variants)
    if trained:
        command += f" {options.source} --seeds {options.seeds}"
        command += f" --epochs {options.epochs}" if options.epochs else ""
    note = (
        f"{options.seeds} seeds; brackets are 95 % t intervals of means over them. Differences are taken seed by seed, all "
        "of a measure together at 95 %; one whose interval holds zero is within the noise."
    )
    return [
        Block("#", f"Study `{study.name}`"),
        Block("p", study.question),
        Block("##", "Answer"),
        Block("list", rows=[[sentence] for sentence in answer]),
        *([Block("p", note)] if trained else []),
        *found,
        Block("##", "Held equal"),
        Block("p", ("Seeds, order and split of the data. " if trained else "") + study.equal),
        Block("##", "What the paper and others say"),
        Block("p", study.paper),
        Block("##", "What this does not show"),
        Block("p", study.limits),
        Block("##", "To repeat it"),
        Block("p", f"`{command}`"),
    ]
