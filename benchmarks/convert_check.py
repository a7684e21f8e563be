"""Converted networks against PyTorch and ONNX Runtime on photographs, weights random (He's): logits and top-5 classes.

``python benchmarks/convert_check.py PHOTOGRAPHS.tar`` needs torch, torchvision, onnx and onnxruntime; ``--wrong`` shows
instead what one gets where one thing is done as another framework does it.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexnet_cuda import Model
from alexnet_cuda.cli import main as command
from alexnet_cuda.data import read_square

Array = np.ndarray[Any, Any]
_BATCH = 50


def photographs(tar: str, count: int) -> list[bytes]:
    with tarfile.open(tar) as archive:
        files = sorted((m for m in archive.getmembers() if m.name.lower().endswith(".jpeg")), key=lambda m: m.name)
        return [archive.extractfile(m).read() for m in files[:count]]  # type: ignore[union-attr]


def batches(files: list[bytes], read: Callable[[bytes], Array]) -> Iterator[Array]:
    for start in range(0, len(files), _BATCH):
        yield np.stack([read(file) for file in files[start : start + _BATCH]])


def run(files: list[bytes], read: Callable[[bytes], Array], forward: Callable[[Array], Array]) -> Array:
    return np.concatenate([forward(batch) for batch in batches(files, read)])


def ours(model: Model, mode: str | None = None) -> tuple[Callable[[bytes], Array], Callable[[Array], Array]]:
    """What ``predict`` does with a file."""
    config = model.config
    return lambda file: read_square(file, config.resize, mode=mode or config.resize_mode), model.forward


def compare(name: str, ours: Array, theirs: Array) -> None:
    def top(logits: Array) -> Array:
        return np.argsort(-logits, axis=1, kind="stable")[:, :5]

    same, sets = (top(ours) == top(theirs)).all(axis=1), (np.sort(top(ours)) == np.sort(top(theirs))).all(axis=1)
    first = (top(ours)[:, 0] == top(theirs)[:, 0]).mean()
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    different = len(np.unique(np.sort(top(theirs)), axis=0))
    print(
        f"{name:44} top-5 in order {same.sum():4}/{len(same)}, as sets {sets.sum():4}/{len(same)}, top-1 {first:6.1%}, "
        f"logits differ by {error:.1e} of the largest ({different} different sets)",
        flush=True,
    )


def torchvision_check(folder: Path, files: list[bytes]) -> None:
    import torch
    from safetensors.torch import load_file, save_file
    from torchvision import transforms
    from torchvision.models import alexnet

    torch.manual_seed(0)
    network = alexnet()
    for layer in network.modules():
        if hasattr(layer, "weight"):
            torch.nn.init.kaiming_normal_(layer.weight)
            torch.nn.init.normal_(layer.bias, std=0.1)
    network.eval()
    save_file(network.state_dict(), folder / "tv.safetensors")
    assert command(["convert", str(folder / "tv.safetensors"), str(folder / "ours.safetensors")]) == 0
    assert (
        command(["convert", str(folder / "ours.safetensors"), str(folder / "back.safetensors"), "--to", "torch"]) == 0
    )
    back = load_file(folder / "back.safetensors")
    assert all(torch.equal(back[name], value) for name, value in network.state_dict().items())
    print("there and back: the same bits")
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    normalise = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    transform = transforms.Compose([*steps, normalise])

    def forward(x: Array) -> Array:
        with torch.inference_mode():
            return network(torch.from_numpy(x)).numpy()

    theirs = run(files, lambda file: transform(Image.open(io.BytesIO(file)).convert("RGB")).numpy(), forward)
    model = Model.load(folder / "ours.safetensors", devices="cpu")
    compare("torchvision, its transforms", run(files, *ours(model)), theirs)


def preset_check(folder: Path, files: list[bytes], preset: str) -> None:
    """ONNX Runtime and the PyTorch module, each after its own preprocessing of the file."""
    import onnxruntime
    import torch

    from alexnet_cuda.convert import torch_module

    Model(preset, init="he", devices="cpu").save(folder / "own.safetensors")
    model = Model.load(folder / "own.safetensors", devices="cpu")
    for out, kind in (("own.onnx", "onnx"), ("own.torch.safetensors", "torch")):
        assert command(["convert", str(folder / "own.safetensors"), str(folder / out), "--to", kind]) == 0
    session = onnxruntime.InferenceSession(str(folder / "own.onnx"), providers=["CPUExecutionProvider"])
    module = torch_module.load(folder / "own.torch.safetensors")
    config = model.config

    def read(file: bytes) -> Array:
        image = Image.open(io.BytesIO(file)).convert("RGB")
        if config.resize_mode == "stretch":
            image = image.resize((256, 256), Image.Resampling.BILINEAR)
        else:
            image = Image.fromarray(read_square(file, 256, mode=config.resize_mode))
        corner = (256 - config.image_size) // 2
        x = np.asarray(image, np.float32)[corner:, corner:][: config.image_size, : config.image_size]
        x = (x - np.float32(config.mean)) / np.float32(config.std)
        x = x[..., ::-1] if config.channel_order == "BGR" else x
        return np.ascontiguousarray(x.transpose(2, 0, 1))

    def torch_forward(x: Array) -> Array:
        with torch.inference_mode():
            return module(torch.from_numpy(x)).numpy()

    mine = run(files, *ours(model))
    compare(f"{preset}, ONNX Runtime", mine, run(files, read, lambda x: session.run(None, {"images": x})[0]))
    compare(f"{preset}, the PyTorch module", mine, run(files, read, torch_forward))


def wrong(files: list[bytes]) -> None:
    """Each line does one thing otherwise than the network's own pipeline."""
    for preset in ("caffe", "torchvision"):
        model = Model(preset, init="he", devices="cpu")
        config, parameters = model.config, dict(model.parameters)
        right = run(files, *ours(model))
        other = "RGB" if config.channel_order == "BGR" else "BGR"
        fields: dict[str, dict[str, Any]] = {
            f"channels {other}": {"channel_order": other},
            "mean in the other channel order": {"mean": config.mean[::-1]},
            "no mean": {"mean": (0, 0, 0)},
            "mean of ImageNet as torchvision has it": {"mean": (123.675, 116.28, 103.53)},
            "mean and std of the other": {"mean": (122.68, 116.67, 104.01), "std": (1, 1, 1)}
            if preset == "torchvision"
            else {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)},
            "pixels 0 to 1, mean 0 to 255": {"mean": tuple(255 * m for m in config.mean), "std": (255,) * 3},
            "resize to 227 or 224 at once": {"resize": config.image_size},
        }
        for mode in ("square", "shorter", "stretch"):
            fields[f"resize mode {mode}"] = {"resize_mode": mode}
        if config.lrn:
            fields["LRN: alpha not divided by n"] = {"lrn_alpha_over_size": False}
            fields["LRN: k = 2"] = {"lrn_k": 2.0}
            fields["LRN: windows within a tower"] = {"lrn_window": "tower"}
            fields["LRN after the pool"] = {"lrn_before_pool": False}
            fields["crop of 224, pools rounded up"] = {"image_size": 224, "pool_ceil": True}
        for name, changed in fields.items():
            if any(getattr(config, field) != value for field, value in changed.items()):
                variant = Model.from_config(dataclasses.replace(config, **changed), "cpu", parameters)
                compare(f"{preset}: {name}", run(files, *ours(variant)), right)
        rows = parameters["fc6.weight"]
        shuffled = rows.reshape(len(rows), 6, 6, -1).transpose(0, 3, 1, 2).reshape(rows.shape)
        variant = Model.from_config(config, "cpu", {**parameters, "fc6.weight": np.ascontiguousarray(shuffled)})
        compare(f"{preset}: fc6's columns in (c, h, w)", run(files, *ours(variant)), right)
        flipped = np.ascontiguousarray(parameters["conv1.weight"][:, ::-1, ::-1])
        variant = Model.from_config(config, "cpu", {**parameters, "conv1.weight": flipped})
        compare(f"{preset}: conv1's filters flipped", run(files, *ours(variant)), right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", help="a .tar with .JPEG files")
    parser.add_argument("--count", type=int, default=1000, help="how many of them (1000)")
    parser.add_argument("--wrong", action="store_true", help="one thing wrong at a time")
    parser.add_argument("--presets", nargs="*", default=["paper", "caffe", "caffenet", "torchvision"])
    given = parser.parse_args()
    files = photographs(given.photographs, given.count)
    print(f"{len(files)} photographs")
    if given.wrong:
        wrong(files)
        return
    with tempfile.TemporaryDirectory() as folder:
        torchvision_check(Path(folder), files)
        for preset in given.presets:
            preset_check(Path(folder), files, preset)


if __name__ == "__main__":
    main()
