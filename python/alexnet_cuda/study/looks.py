"""What a study looks at beside its curves: into networks before and after training, and at images."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import ops
from ..checkpoint import load_checkpoint
from ..config import Config
from ..data import ImageSource, Loader
from ..model import Model
from ..network import views
from ..network.stages import fuse
from ..train.plots import filter_grid
from . import pictures
from .results import interval

_IMAGES = 256


@dataclass(frozen=True)
class Look:
    """What is to be looked at: a study's folder, each variant's checkpoints by seed, and the images they were made of."""

    folder: Path
    checkpoints: Mapping[str, Sequence[Path]]
    sources: Sequence[tuple[ImageSource, ImageSource]]  # of each seed, to train on and held out

    def config(self, variant: str) -> Config:
        """The configuration of a variant at the first seed."""
        return load_checkpoint(self.checkpoints[variant][0]).network()[0]

    def squares(self, variant: str, seed: int, held_out: bool, most: int = _IMAGES) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of one seed as the trainer cuts them, in a repeatable order."""
        source = self.sources[seed][int(held_out)]
        loader = Loader(source, self.config(variant).resize, min(most, len(source)), 0, shuffle=True)
        with contextlib.closing(loader.epoch(0)) as batches:
            images, labels, _ = next(iter(batches))
        return images, labels


Found = tuple[dict[str, Any], str, str]  # for the JSON, the picture, its caption


def inside(model: Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of all stages but the last for the images' centres: name -> [N, ...]. The model drops and shifts nothing."""
    side, config = model.config.image_size, model.config
    top, left = ((extent - side) // 2 for extent in images.shape[1:3])
    model.forward(images[:, top : top + side, left : left + side].copy(), train=True)
    tower = model.towers[0]
    return {
        stage.name: np.array(tower.buffer(stage.name, (len(images), *stage.output)))
        for stage in fuse(build(config), 1)[:-1]
    }


def build(config: Config) -> Any:
    """The plan of a configuration."""
    from ..network.plan import build_plan

    return build_plan(config)


def quiet(path: Path, trained: bool = True) -> Model:
    """The model of a checkpoint on the CPU, as it is or as it began, without dropout, mirror and colour noise."""
    checkpoint = load_checkpoint(path)
    config = dataclasses.replace(checkpoint.network()[0], dropout=0.0, mirror=False, colour_noise=0.0)
    return Model.from_config(config, "cpu", checkpoint.parameters() if trained else None)


def start(look: Look) -> Found:
    """Norm of the loss's gradient by each layer's weights, over that of the weights, and scale of activations."""
    gradients: dict[str, dict[str, float]] = {}
    scales: dict[str, dict[str, float]] = {}
    for name, paths in look.checkpoints.items():
        model = quiet(paths[0], trained=False)
        images, labels = look.squares(name, 0, held_out=False)
        scales[name] = {stage: _figure(np.std(value)) for stage, value in inside(model, images).items()}
        model.backward(labels)
        gradients[name] = {
            layer.removesuffix(".weight"): _figure(np.linalg.norm(value) / np.linalg.norm(model.parameters[layer]))
            for layer, value in model.gradients.items()
            if layer.endswith(".weight")
        }
    panels = {"Gradient over weight, norms": gradients, "Standard deviation of activations": scales}
    picture = pictures.by_layer(look.folder / "start.png", panels)
    return {"gradient": gradients, "activation": scales}, picture, "Layer by layer before the first step, seed 0"


def _figure(value: Any) -> float:
    return float(f"{float(value):.6g}")


def maps(look: Look) -> Found:
    """A map of conv1 of the first variant's network, and what each pool keeps of it."""
    name, paths = next(iter(look.checkpoints.items()))
    images, labels = look.squares(name, 0, held_out=True)
    found = inside(quiet(paths[0]), images)["conv1"]
    liveliest = np.argsort(-found.std(axis=(0, 1, 2)), kind="stable")[:6]
    first = np.array([np.flatnonzero(labels == label)[0] for label in np.unique(labels)[:1]])
    x = np.ascontiguousarray(found[first])
    kept = [("conv1", x)]
    for size in (3, 2):
        kept.append((f"max {size}/2", ops.max_pool.fprop(x, size=size, train=False)[0]))
        kept.append((f"average {size}/2", ops.avg_pool.fprop(x, size=size)))
    rows = [(title, [value[0, :, :, channel] for channel in liveliest]) for title, value in kept]
    columns = [f"kernel {channel}" for channel in liveliest]
    picture = pictures.grid(look.folder / "maps.png", rows, columns)
    return {}, picture, f"Six maps of one image after conv1, of the network of {name}, and what each pool keeps of them"


def filters(look: Look) -> Found:
    """The kernels of conv1, by tower."""
    rows = []
    for name, paths in look.checkpoints.items():
        config = look.config(name)
        weight = load_checkpoint(paths[0]).parameters()["conv1.weight"]
        rows.append((name.replace(", ", ",\n"), [filter_grid(weight, config.groups, config.channel_order)]))
    drawn, axes = pictures.figure(len(rows), 1, height=1.6 * len(rows))
    for (name, (image,)), place in zip(rows, axes[:, 0], strict=True):
        place.imshow(image)
        place.set(xticks=[], yticks=[])
        place.set_ylabel(name, rotation=0, ha="right", va="center")
    picture = pictures.save(drawn, look.folder / "filters.png")
    return {}, picture, "Kernels of conv1 after training, seed 0; of two towers the second's below the first's"


def seen(look: Look) -> Found:
    """Six views that each variant's network gets of one image."""
    rows = []
    for name in look.checkpoints:
        config = look.config(name)
        image = look.squares(name, 0, held_out=False, most=1)[0]
        batch = image.repeat(6, axis=0)
        out = np.empty((6, config.image_size, config.image_size, 3), np.float32)
        chosen = views.random_views(batch.shape, config, 0)
        ops.augment.fprop(batch, chosen, mean=(0, 0, 0), std=(1, 1, 1), channel_order="RGB", out=out)
        rows.append((name, list(np.clip(np.rint(out), 0, 255).astype(np.uint8))))
    return {}, pictures.grid(look.folder / "views.png", rows), "Six views of one image as each variant trains on them"


def zeros(look: Look) -> Found:
    """Share of activations that are zero, or at most 1 % of their layer's greatest, before and after training."""
    shares: dict[str, dict[str, dict[str, float]]] = {"Before training": {}, "After training": {}}
    units = {}
    for name, paths in look.checkpoints.items():
        images, labels = look.squares(name, 0, held_out=True)
        for title, trained in (("Before training", False), ("After training", True)):
            found = inside(quiet(paths[0], trained), images)
            shares[title][name] = {layer: _small(value) for layer, value in found.items()}
        units[name] = _carriers(found["fc7"], labels)
    picture = pictures.by_layer(look.folder / "zeros.png", shares, log=False)
    caption = (
        "Share of activations within 1 % of their layer's greatest, seed 0, held-out images; `lrn` is after its pool"
    )
    carried = "; ".join(f"{name}: {count} of {total} units" for name, (count, total) in units.items())
    return (
        {"share": shares, "units": units},
        picture,
        f"{caption}. Half of a class's mean activity in fc7 is in {carried}.",
    )


def _small(value: np.ndarray) -> float:
    size = np.abs(value)
    return _figure(np.mean(size <= 0.01 * size.max()))


def _carriers(activity: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """The median over classes of how many units make up half of the class's mean absolute activity, and of how many."""
    counts = []
    for label in np.unique(labels):
        mean = np.sort(np.abs(activity[labels == label]).mean(axis=0))[::-1]
        counts.append(int(np.searchsorted(np.cumsum(mean), mean.sum() / 2)) + 1)
    return int(np.median(counts)), activity.shape[1]


def neighbours(look: Look, nearest: int = 5, most: int = 2000) -> Found:
    """Precision among the five nearest training images, in pixels, fc6 and fc7, by Euclid and cosine."""
    name, paths = next(iter(look.checkpoints.items()))
    precision: dict[str, list[float]] = {}
    rows: list[tuple[str, list[np.ndarray]]] = []
    for seed, path in enumerate(paths):
        model = quiet(path)
        known, classes = look.squares(name, seed, held_out=False, most=most)
        asked, right = look.squares(name, seed, held_out=True)
        for space, (a, b) in _spaces(model, known, asked).items():
            order = np.argsort(_distances(a, b, space), axis=1, kind="stable")[:, :nearest]
            precision.setdefault(space, []).append(_figure(np.mean(classes[order] == right[:, None])))
            if seed == 0:
                rows += [(f"{space}, image {i + 1}", [asked[i], *known[order[i]]]) for i in range(2)]
    found = {space: {"values": values, **interval(values)} for space, values in precision.items()}
    columns = ["held out", *(f"nearest {i + 1}" for i in range(nearest))]
    picture = pictures.grid(look.folder / "neighbours.png", sorted(rows, key=lambda row: row[0][-1]), columns)
    listed = "; ".join(
        f"{space} {100 * one['mean']:.1f} % [{100 * one['low']:.1f}, {100 * one['high']:.1f}]"
        for space, one in found.items()
    )
    return (
        {"precision": found},
        picture,
        f"Of the {nearest} nearest training images so many are of the image's class: {listed}.",
    )


def _spaces(model: Model, known: np.ndarray, asked: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    inner = [_chunked(model, images) for images in (known, asked)]
    flat = [images.reshape(len(images), -1).astype(np.float32) for images in (known, asked)]
    spaces = {"pixels": (flat[0], flat[1])}
    for layer in ("fc6", "fc7"):
        for kind in ("Euclid", "cosine"):
            spaces[f"{layer} {kind}"] = (inner[0][layer], inner[1][layer])
    return spaces


def _chunked(model: Model, images: np.ndarray) -> dict[str, np.ndarray]:
    parts = [inside(model, images[i : i + _IMAGES]) for i in range(0, len(images), _IMAGES)]
    return {layer: np.concatenate([part[layer] for part in parts]) for layer in ("fc6", "fc7")}


def _distances(known: np.ndarray, asked: np.ndarray, space: str) -> np.ndarray:
    """What grows with the distance of each of `asked` from each of `known`: [asked, known]."""
    a, b = known.astype(np.float64), asked.astype(np.float64)
    if space.endswith("cosine"):
        a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30) for x in (a, b))
    distances: np.ndarray = (a * a).sum(axis=1) - 2 * b @ a.T
    return distances


LOOKS: dict[str, Callable[[Look], Found]] = {
    "start": start,
    "maps": maps,
    "filters": filters,
    "views": seen,
    "zeros": zeros,
    "neighbours": neighbours,
}
