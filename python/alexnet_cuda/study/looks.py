"""What a study looks at beside its curves: into networks before and after training, and at images."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import ops
from ..base.files import CHECKPOINT_NAME
from ..checkpoint import load_checkpoint
from ..config import Config
from ..data import ImageSource, Loader, split
from ..model import Model
from ..network import views
from ..pages import pictures
from ..pages.page import write_text
from ..train.plots import colour_shares, filter_grid
from ..train.setup import TrainOptions
from .plan import BASE, kept_name
from .results import conclude
from .timing import time_steps

_IMAGES = 256
Found = tuple[dict[str, Any], str, str]  # for the JSON, "answer" being sentences; the picture; its caption


@dataclass(frozen=True)
class Look:
    """What there is to look at: a study's folder, its images, and each variant's runs, one a seed."""

    folder: Path
    source: ImageSource
    runs: Mapping[str, Sequence[TrainOptions]]
    kept: Sequence[int] = ()  # as of `Study`

    @property
    def checkpoints(self) -> dict[str, list[Path]]:
        """Each variant's networks after training, one a seed."""
        return {name: [run.output / CHECKPOINT_NAME for run in runs] for name, runs in self.runs.items()}

    def config(self, variant: str) -> Config:
        """The configuration of a variant at the first seed."""
        return load_checkpoint(self.checkpoints[variant][0]).network()[0]

    def images(self, variant: str, held_out: bool, seed: int = 0, most: int = _IMAGES) -> tuple[np.ndarray, np.ndarray]:
        """Squares and labels that a seed trained on, or held out, as the trainer cuts them."""
        part = split(self.source, BASE["validation_split"], seed)[held_out]
        config = self.config(variant)
        batch = min(most, len(part))
        loader = Loader(part, config.resize, batch, 0, shuffle=True, mode=config.resize_mode)
        with contextlib.closing(loader.epoch(0)) as batches:
            return next(iter(batches))[:2]


def quiet(path: Path, trained: bool = True) -> Model:
    """The model of a checkpoint on the CPU, as it is or as it began, without dropout, mirror and colour noise."""
    checkpoint = load_checkpoint(path)
    config = dataclasses.replace(checkpoint.network()[0], dropout=0.0, mirror=False, colour_noise=0.0)
    return Model.from_config(config, "cpu", checkpoint.parameters() if trained else None)


def inside(model: Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """What every layer but the last makes of the images' centres."""
    return model.features(images, [step.name for step in model.plan.steps[:-1] if step.op != "dropout"])


def _figure(value: Any) -> float:
    return float(f"{float(value):.6g}")


def start(look: Look) -> Found:
    """Norm of the loss's gradient by each layer's weights, over that of the weights, and scale of activations."""
    gradients, scales = {}, {}
    for name, paths in look.checkpoints.items():
        model = quiet(paths[0], trained=False)
        images, labels = look.images(name, held_out=False)
        scales[name] = {stage: _figure(np.std(value)) for stage, value in inside(model, images).items()}
        side = model.config.image_size
        top = (images.shape[1] - side) // 2
        model.forward(images[:, top : top + side, top : top + side].copy(), train=True)
        model.backward(labels)
        gradients[name] = {
            key.removesuffix(".weight"): _figure(np.linalg.norm(value) / np.linalg.norm(model.parameters[key]))
            for key, value in model.gradients.items()
            if key.endswith(".weight")
        }
    panels = {"Gradient over weight, norms": gradients, "Standard deviation of activations": scales}
    answer = [
        f"{name}: before the first step (seed 0) the gradient's norm is {norms['conv1']:.2g} of that of the weights in "
        f"conv1, {norms['fc8']:.2g} in fc8."
        for name, norms in gradients.items()
    ]
    picture = pictures.by_layer(look.folder / "start.png", panels)
    return {**panels, "answer": answer}, picture, "Layers before the first step, seed 0"


def maps(look: Look) -> Found:
    """Maps of conv1 of the first variant's network, and what each pool keeps of them."""
    name, paths = next(iter(look.checkpoints.items()))
    x = quiet(paths[0]).features(look.images(name, held_out=True)[0][:1], "conv1")
    kept = {"conv1": x}
    for size in (3, 2):
        kept[f"max {size}/2"] = ops.max_pool.fprop(x, size=size, train=False)[0]
        kept[f"average {size}/2"] = ops.avg_pool.fprop(x, size=size)
    liveliest = np.argsort(-x.std(axis=(0, 1, 2)), kind="stable")[:6]
    rows = [(title, [value[0, :, :, channel] for channel in liveliest]) for title, value in kept.items()]
    picture = pictures.grid(look.folder / "maps.png", rows, [f"kernel {channel}" for channel in liveliest])
    return {}, picture, f"Six maps of a held-out image after conv1 (network {name}), and what each pool keeps"


def filters(look: Look) -> Found:
    """The kernels of conv1, by tower, and how coloured those of each tower are."""
    rows, coloured, answer = [], {}, []
    for name, paths in look.checkpoints.items():
        config = look.config(name)
        kernels = [load_checkpoint(path).parameters()["conv1.weight"] for path in paths]
        rows.append((name, [filter_grid(kernels[0], config.groups, config.channel_order)]))
        if config.groups == 2:
            # The less coloured tower first: which of two it is has no meaning.
            shares = [sorted(map(_figure, colour_shares(weight, 2))) for weight in kernels]
            coloured[name] = shares
            grey, other = (100 * np.mean(shares, axis=0)).round().astype(int)
            answer.append(
                f"{name}: {grey} % of the kernels of conv1 is colour in the greyer tower and {other} % in the other; "
                "of random ones it is 67 %."
            )
    picture = pictures.grid(look.folder / "filters.png", rows)
    caption = "Kernels of conv1 after training, seed 0; of two towers the second's below the first's"
    return {"colour, by seed": coloured, "answer": answer}, picture, caption


def seen(look: Look) -> Found:
    """Six views that each variant's network gets of one image."""
    rows = []
    for name in look.checkpoints:
        config = look.config(name)
        batch = look.images(name, held_out=False, most=1)[0].repeat(6, axis=0)
        out = np.empty((6, config.image_size, config.image_size, 3), np.float32)
        chosen = views.random_views(batch.shape, config, 0)
        ops.augment.fprop(batch, chosen, mean=(0, 0, 0), std=(1, 1, 1), channel_order="RGB", out=out)
        rows.append((name, list(np.clip(np.rint(out), 0, 255).astype(np.uint8))))
    return {}, pictures.grid(look.folder / "views.png", rows), "Six views of one image as each variant trains on it"


def zeros(look: Look) -> Found:
    """Share of activations that are at most 1 % of their layer's greatest, from before to after training."""
    shares: dict[str, dict[str, dict[str, float]]] = {}
    carriers: dict[str, list[int]] = {}
    answer = []
    for name, paths in look.checkpoints.items():
        between = {f"after epoch {epoch}": paths[0].with_name(kept_name(epoch)) for epoch in look.kept}
        moments = {"before training": paths[0], **between, "after training": paths[0]}
        shares[name] = {
            moment: _zeros(look, name, path, moment != "before training")
            for moment, path in moments.items()
            if path.exists()
        }
        carriers[name], width = [], look.config(name).fc_widths[1]
        for seed, path in enumerate(paths):
            images, labels = look.images(name, held_out=True, seed=seed)
            carriers[name].append(_carriers(abs(quiet(path).features(images, "fc7")), labels))
        last = shares[name]["after training"].values()
        answer.append(
            f"{name}: after training (seed 0) {100 * min(last):.0f} to {100 * max(last):.0f} % of a layer is zero, or "
            "within 1 % of its greatest; half of what a class excites in fc7 is in "
            f"{min(carriers[name])} to {max(carriers[name])} of {width} units, over the seeds."
        )
    caption = "Activations within 1 % of their layer's greatest, seed 0, held-out images"
    picture = pictures.by_layer(look.folder / "zeros.png", shares, log=False)
    return {"zeros": shares, "units of half of a class": carriers, "answer": answer}, picture, caption


def _zeros(look: Look, name: str, path: Path, trained: bool) -> dict[str, float]:
    found = inside(quiet(path, trained), look.images(name, held_out=True)[0])
    return {layer: _figure(np.mean(abs(x) <= 0.01 * abs(x).max())) for layer, x in found.items()}


def _carriers(activity: np.ndarray, labels: np.ndarray) -> int:
    """The units that make up half of a class's mean activity: the median over classes."""
    means = np.array([activity[labels == label].mean(axis=0) for label in np.unique(labels)])
    parts = np.cumsum(np.sort(means, axis=1)[:, ::-1], axis=1) / means.sum(axis=1, keepdims=True)
    return int(np.median(np.count_nonzero(parts < 0.5, axis=1))) + 1


def cost(look: Look, steps: int = 20) -> Found:
    """The time of a training step of each variant, measured once, on a CPU the processor's for this process.

    In a file of its own: results hold no times.
    """
    path = look.folder / "times.json"
    if not path.exists():
        found = time_steps({name: runs[0] for name, runs in look.runs.items()}, steps, own=True)
        write_text(path, json.dumps({name: _figure(1000 * step) for name, (step, _) in found.items()}) + "\n")
    times = json.loads(path.read_text(encoding="utf-8"))
    first, *others = times
    text = "; ".join(f"{n} {times[n]:.3g} ms, {100 * (times[n] / times[first] - 1):+.0f} %" for n in others)
    caption = f"A step of training takes {times[first]:.3g} ms with {first}; {text}: the least of {steps}"
    return {}, pictures.bars(look.folder / "times.png", "Milliseconds a step", times), caption


def neighbours(look: Look, nearest: int = 5, most: int = 2000) -> Found:
    """How many of the nearest training images are of another class, in pixels, fc6 and fc7, by Euclid and cosine."""
    name, paths = next(iter(look.checkpoints.items()))
    wrong: dict[str, dict[str, list[float]]] = {}
    rows = []
    for seed, path in enumerate(paths):
        model = quiet(path)
        known, classes = look.images(name, held_out=False, seed=seed, most=most)
        asked, right = look.images(name, held_out=True, seed=seed)
        codes, wanted = _codes(model, known), _codes(model, asked)
        for space, kind in itertools.product(codes, ("Euclid", "cosine")):
            order = np.argsort(_distances(codes[space], wanted[space], kind), axis=1, kind="stable")[:, :nearest]
            row = wrong.setdefault(f"{space}, {kind}", {"neighbours of another class": []})
            row["neighbours of another class"].append(_figure(np.mean(classes[order] != right[:, None])))
            if seed == 0:
                rows.append((f"{space}, {kind}", [asked[0], *known[order[0]]]))
    columns = ["held out", *(f"nearest {i + 1}" for i in range(nearest))]
    picture = pictures.grid(look.folder / "neighbours.png", rows, columns)
    return conclude(wrong), picture, f"A held-out image and the {nearest} training images nearest to it, seed 0"


def _codes(model: Model, images: np.ndarray) -> dict[str, np.ndarray]:
    codes = model.features(images, ("fc6", "fc7"))
    return {"pixels": images.reshape(len(images), -1).astype(np.float32), **codes}


def _distances(known: np.ndarray, asked: np.ndarray, kind: str) -> np.ndarray:
    """What grows with the distance of each of `asked` from each of `known`: [asked, known]."""
    if kind == "cosine":
        known, asked = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30) for x in (known, asked))
    distances: np.ndarray = (known * known).sum(axis=1) - 2 * asked @ known.T
    return distances


LOOKS: dict[str, Callable[[Look], Found]] = {
    "start": start,
    "maps": maps,
    "filters": filters,
    "views": seen,
    "zeros": zeros,
    "cost": cost,
    "neighbours": neighbours,
}
