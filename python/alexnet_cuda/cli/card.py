"""``alexnet-cuda card``: a checkpoint as a model card, Markdown under the metadata that model hubs read."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..base.wording import counted
from .options import emit, place

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint
    from ..config import Config
    from ..train.recipe import Recipe
    from ..train.state import TrainState

_TASK = "image-classification"
_RECIPE = ("batch_size", "learning_rate", "schedule", "momentum", "weight_decay", "init", "seed", "precision")
_UNUSUAL = ("recipe", "milestones", "power", "warmup", "bias_rate", "lars", "accumulate")  # where not the default


@click.command()
@click.argument("checkpoint", type=place)
@click.option("--output", type=place, metavar="FILE", help="Where to write it, such as README.md. [default: print it]")
@click.option("--license", "license_name", metavar="ID", help="Licence of the weights, as hubs name it: mit, cc0-1.0.")
@click.option("--dataset", metavar="NAME", help="What it was trained on, as hubs name it: cifar10.")
def card(checkpoint: str, output: str | None, license_name: str | None, dataset: str | None) -> int:
    """Write a model card of CHECKPOINT: Markdown with the YAML header of Hugging Face's and other hubs.

    It says what the checkpoint's metadata know, and of a run's folder its metrics.jsonl; a licence and the data's name
    are known from their options alone.
    """
    from ..pages.page import write_text

    text = make_card(Path(checkpoint), license_name, dataset)
    if output is None:
        emit(text)
    elif Path(output).exists() and Path(output).samefile(checkpoint):
        raise ValueError(f"{output} is the checkpoint itself: give another --output")
    else:
        write_text(Path(output), text + "\n")
    return 0


def make_card(path: Path, license_name: str | None, dataset: str | None) -> str:
    """Give the card of a checkpoint; raises as `load_checkpoint`, and ValueError for a damaged run or its metrics."""
    from ..checkpoint import load_checkpoint
    from ..network.plan import build_plan
    from ..train.setup import read_run

    checkpoint = load_checkpoint(path)
    config, names, step = checkpoint.network()
    shapes = build_plan(config).parameter_shapes()
    checkpoint.check_shapes(shapes)
    run = None if checkpoint.metadata.get("train") is None else read_run(checkpoint)
    accuracy = {} if run is None else _accuracy(checkpoint, run[1], step)
    seen = "ten views" if run is not None and run[0].views == 10 else "centre crop"
    title = f"AlexNet ({config.preset}), {counted(config.num_classes, 'class')}"
    trained = [f"The checkpoint says only that {counted(step, 'update')} of its weights were made."]
    if run is not None:
        trained = [_data(run[1], run[2], run[0], dataset), *_recipe(run[0], run[1], run[2], step)]
    parts = [
        _header(title, accuracy, seen, license_name, dataset, held_out=run is not None and run[0].validation_split > 0),
        f"# {title}",
        f"The network of the preset `{config.preset}` for RGB images of {config.image_size} x {config.image_size} "
        f"pixels, {sum(checkpoint.tensors[name].size for name in shapes):,} parameters, trained and run by "
        "alexnet_cuda.",
        "## Training",
        *trained,
        "## Accuracy",
        _accuracy_table(accuracy, seen) if accuracy else "Not known from the checkpoint.",
        "## Classes",
        "The checkpoint does not name them." if names is None else _classes(names),
        "## Preprocessing",
        _preprocessing(config),
        "## Use",
        _use(path.name, names is not None),
    ]
    return "\n\n".join(parts)


def _accuracy(checkpoint: Checkpoint, state: TrainState, step: int) -> dict[str, float]:
    """What is known of these very weights: from the run's metrics, else from the state if it was the best epoch."""
    from ..base.files import METRICS_NAME
    from ..train.metrics import is_epoch, read_metrics

    if state.batch:  # within an epoch
        return {}
    path = checkpoint.path.parent / METRICS_NAME
    for record in read_metrics(path) if path.exists() else ():
        if is_epoch(record) and (record["epoch"], record["step"]) == (state.epoch, step):
            names = ("loss", "accuracy", "val_loss", "val_accuracy")
            return {name: record[name] for name in names if isinstance(record.get(name), (int, float))}
    if state.best_epoch == state.epoch and state.best_error is not None:
        return {"val_accuracy": 1 - state.best_error}
    return {}


def _header(
    title: str, accuracy: dict[str, float], seen: str, license_name: str | None, dataset: str | None, held_out: bool
) -> str:
    entries: dict[str, Any] = {
        "license": license_name,
        "library_name": "alexnet_cuda",
        "pipeline_tag": _TASK,
        "tags": ["alexnet", "alexnet_cuda", _TASK],
        "datasets": [dataset] if dataset else None,
    }
    if "val_accuracy" in accuracy:
        metric = {"type": "accuracy", "value": round(accuracy["val_accuracy"], 6), "name": f"top-1, {seen}"}
        # Hubs want a type; that of data whose name is not known is what they are: folders of images.
        name = dataset if dataset and held_out else None
        of = {"type": name or "imagefolder", "name": name or "images not trained on", "split": "validation"}
        result = {"task": {"type": _TASK}, "dataset": of, "metrics": [metric]}
        entries |= {"metrics": ["accuracy"], "model-index": [{"name": title, "results": [result]}]}
    lines = [f"{name}: {_yaml(value)}" for name, value in entries.items() if value is not None]
    return "\n".join(["---", *lines, "---"])


def _yaml(value: Any) -> str:
    """JSON, which is YAML, but that YAML refuses some characters and half a surrogate pair where JSON has them."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if c < "\U00010000" else f"\\U{ord(c):08x}" for c in text
    )


def _data(state: TrainState, sources: dict[str, Any], recipe: Recipe, dataset: str | None) -> str:
    sentence = f"Trained on {counted(sources['training']['images'], 'image')}"
    sentence += f" of {_code(dataset)}." if dataset else "; the checkpoint does not say of what data."
    if validating := sources["validating"]:
        where = "a source of its own" if sources["validation"] else f"{recipe.validation_split:g} of the source"
        sentence += f" Validated on {counted(validating['images'], 'image')}, {where}."
    if state.skipped:
        sentence += f" {counted(len(state.skipped), 'image file')} could not be decoded."
    return sentence


def _recipe(recipe: Recipe, state: TrainState, sources: dict[str, Any], step: int) -> list[str]:
    from ..pages.page import table

    values, defaults = recipe.to_dict(), type(recipe)().to_dict()
    rows = [("setting", "value"), ("epochs done", f"{state.epoch} of {recipe.epochs}"), ("updates", f"{step:,}")]
    shown = *_RECIPE, *(name for name in _UNUSUAL if values[name] != defaults[name])
    rows += [(name.replace("_", " "), str(values[name])) for name in shown]
    rows += [(name, _code(json.dumps(value))) for name, value in recipe.config.items()]
    paragraphs = [table(rows)]
    if start := sources.get("from"):
        new = f"; new: {', '.join(start['new'])}, at {recipe.new_rate:g} times the rate" if start["new"] else ""
        frozen = f"; frozen: {', '.join(recipe.freeze)}" if recipe.freeze else ""
        digest = f"{_code(start['name'])}, SHA-256 `{start['sha256']}`"
        paragraphs.append(f"It started from the weights of another checkpoint ({digest}){new}{frozen}.")
    return paragraphs


def _accuracy_table(accuracy: dict[str, float], seen: str) -> str:
    from ..pages.page import table

    columns = {"loss": "training loss", "accuracy": "training accuracy, augmented images"}
    columns |= {"val_loss": "validation loss", "val_accuracy": f"validation accuracy, {seen}"}
    rows = [(columns[name], f"{x:.4f}" if "loss" in name else f"{x:.2%}") for name, x in accuracy.items()]
    return table([("of the last epoch", "value"), *rows])


def _classes(names: tuple[str, ...]) -> str:
    return _fenced("\n".join(f"{label} {_yaml(name)}" for label, name in enumerate(names)), "text")


def _preprocessing(c: Config) -> str:
    mean, std = (", ".join(f"{x:.6g}" for x in values) for values in (c.mean, c.std))
    if c.resize_mode == "stretch":
        start = f"The whole image is stretched to {c.resize} x {c.resize} pixels"
    else:
        start = f"The shorter side is resized to {c.resize} pixels and the central square taken"
    return (
        f"{start} (bilinear, antialiased), of that the central {c.image_size} x {c.image_size}. From the RGB values, 0 "
        f"to 255, the mean ({mean}) is subtracted, and they are divided by ({std}); the network sees the channels as "
        f"{c.channel_order}. Grey images get three equal channels, transparent pixels lie on white. `read_square` and "
        "`Model.predict` do all of it."
    )


def _use(file: str, named: bool) -> str:
    answer = "[model.class_names[label] for label in classes[0]]" if named else "classes[0]"
    code = f"""import numpy as np
from alexnet_cuda import Model
from alexnet_cuda.data import read_square

model = Model.load({_yaml(file)})
square = read_square("photograph.jpg", model.config.resize, mode=model.config.resize_mode)
classes, probabilities = model.predict(np.stack([square]))
print({answer}, probabilities[0])"""
    shell = f"alexnet-cuda predict {shlex.quote(file)} photograph.jpg"
    return f"{_fenced(shell, 'bash')}\n\n{_fenced(code, 'python')}"


def _fence(text: str, least: int) -> str:
    """More backticks than the text has in a row."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


def _fenced(text: str, language: str) -> str:
    fence = _fence(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def _code(text: str) -> str:
    line, fence = " ".join(text.split()), _fence(text, 1)
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"
