"""What a study leaves beside its runs: pictures, and the page that tells question, answer and limits."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import config_from_preset
from ..pages.page import table, write_page
from . import counts, pictures
from .plan import Study
from .results import Curve, shown

if TYPE_CHECKING:
    from ..data import ImageSource
    from ..train.setup import TrainOptions

_SMALL = (
    "A narrow network and few images: on another network or source the answer may be another. Intervals are over seeds "
    "(weights, order, split), not over data sets."
)


def report_counts(study: Study, folder: Path) -> dict[str, Any]:
    """Write the page of ``counts`` and give its results."""
    found = counts.count(config_from_preset("paper"))
    _write(study, folder, found, counts.show(found, folder), [])
    return found


def report(
    study: Study,
    folder: Path,
    source: ImageSource,
    results: dict[str, Any],
    curves: Mapping[str, Sequence[Curve | None]],
    runs: Mapping[str, Sequence[TrainOptions]],
) -> None:
    """Draw the pictures, add to `results` what was looked at, and write the page."""
    from .looks import LOOKS, Look

    drawn = {name: [curve for curve in found if curve is not None] for name, found in curves.items()}
    shown_as = {}
    if whole := {name: found for name, found in drawn.items() if found}:
        shown_as["Means over seeds, and bands of their 95 % intervals"] = pictures.curves(folder / "curves.png", whole)
    if all(len(found) == results["seeds"] for found in drawn.values()):  # none diverged
        look = Look(folder, source, runs, study.kept)
        for name in study.looks:
            results[name], picture, caption = LOOKS[name](look)
            results["answer"] += results[name].pop("answer", [])
            shown_as[caption] = picture
    recipe = next(iter(results["recipes"].values()))
    note = (
        f"{results['seeds']} seeds on {results['source']}, {results['images']['images']:,} images of which "
        f"{100 * recipe['validation_split']:g} % are held out; in brackets 95 % t intervals of the means over them. "
        "Differences are taken seed by seed, and all of one measure hold together with 95 %; one whose interval holds "
        "zero is within the noise."
    )
    pages = [note, _table(results), *(f"![{text}]({picture})\n\n*{text}*" for text, picture in shown_as.items())]
    numbers = ["--seeds", str(results["seeds"]), "--epochs", str(recipe["epochs"])]
    _write(study, folder, results, pages, [results["source"], *numbers])


def _table(results: dict[str, Any]) -> str:
    measures, rates, searched = results["measures"], results["rates"], results["searched_rates"]
    rows = [["variant", *next(iter(measures.values())), *(["rate"] if any(rates.values()) else [])]]
    for name, found in measures.items():
        edge = ", the end of the search" if rates[name] in searched[:1] + searched[-1:] else ""
        rate = [f"{rates[name]:g}{edge}"] if rates[name] else []
        rows.append([name, *(shown(measure, one) for measure, one in found.items()), *rate])
    return table(rows)


def _write(study: Study, folder: Path, results: Mapping[str, Any], found: Sequence[str], arguments: list[str]) -> None:
    sections = {
        "Held equal": ("Seeds, order and split of the data. " if study.variants else "") + study.equal,
        "What the paper and others say": study.paper,
        "What this does not show": f"{study.limits} {_SMALL if study.variants else ''}".strip(),
        "To repeat it": f"`{shlex.join(['alexnet-cuda', 'study', study.name, *arguments])}`",
    }
    answer = "\n".join(f"- {sentence}" for sentence in results["answer"])
    last = [part for title, text in sections.items() for part in (f"## {title}", text)]
    write_page(folder, f"Study `{study.name}`", [study.question, "## Answer", answer, *found, *last])
