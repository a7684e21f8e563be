"""Of one photograph a converted network sees what the other framework's own pipeline makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from alexnet_cuda import Config, Model, cli, config_from_preset
from alexnet_cuda.cli.card import make_card
from alexnet_cuda.data import read_square
from alexnet_cuda.train.setup import TrainOptions, prepare
from alexnet_cuda.train.trainer import Trainer
from tests.convert import networks
from tests.convert.networks import message, network
from tests.model.tiny import tiny

SIZES = ((151, 120), (120, 151), (120, 150), (240, 333), (118, 118))


def photograph(folder: Path, size: tuple[int, int] = (151, 120)) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder / "photo.png"


def torchvision_square(image: Image.Image, side: int, crop: int) -> Any:
    """Resize and CenterCrop as torchvision documents and rounds them."""
    width, height = image.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - crop) / 2.0), round((size[1] - crop) / 2.0)
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


@pytest.mark.parametrize("size", SIZES)
def test_squares_are_those_of_torchvision_and_caffe(tmp_path: Path, size: tuple[int, int]) -> None:
    file = photograph(tmp_path, size)
    image = Image.open(file)
    np.testing.assert_array_equal(read_square(file, 112, mode="shorter"), torchvision_square(image, 112, 112))
    # The network's own crop, of an even margin as 256 and 224 have it.
    np.testing.assert_array_equal(
        read_square(file, 112, mode="shorter")[8:-8, 8:-8], torchvision_square(image, 112, 96)
    )
    stretched = np.asarray(image.resize((112, 112), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(read_square(file, 112, mode="stretch"), stretched)
    with pytest.raises(ValueError, match="mode must be one of square, shorter, stretch, got 'fit'"):
        read_square(file, 112, mode="fit")


def test_presets_resize_as_their_frameworks_and_older_checkpoints_as_before() -> None:
    modes = {preset: config_from_preset(preset).resize_mode for preset in ("paper", "caffe", "torchvision")}
    assert modes == {"paper": "square", "caffe": "stretch", "torchvision": "shorter"}
    older = config_from_preset("caffe").to_dict()
    del older["resize_mode"]
    assert Config.from_dict(older).resize_mode == "square"


def converted(folder: Path, transform: bytes, *arguments: str) -> Model:
    transform += message((4, "imagenet.binaryproto"))
    (folder / "a.caffemodel").write_bytes(networks.caffemodel(network("lrn pool"), 2, 99, transform))
    assert cli.main(["convert", str(folder / "a.caffemodel"), str(folder / "out"), *arguments]) == 0
    return Model.load(folder / "out", devices="cpu")


def binaryproto(folder: Path) -> str:
    image = np.random.default_rng(4).normal(110, 20, (3, 8, 8)).astype("f4")
    (folder / "mean.binaryproto").write_bytes(networks.blob(image, 1))
    return ",".join(map(str, image.mean(axis=(1, 2), dtype=float)))


MEAN = np.array([104.0, 117.0, 123.0])  # blue, green, red, as a prototxt has them
# In the file, in arguments; then mean, scale and white that Caffe would have. None: those of the mean image.
PIPELINES: dict[str, tuple[bytes, list[str], Any, float, float]] = {
    "nothing said": (b"", [], [104.01, 116.67, 122.68], 1, 255),
    "in the file": (message((1, 0.0625), (5, 104.0), (5, 117.0), (5, 123.0)), [], MEAN, 0.0625, 255),
    "one for all": (message((5, 110.0)), [], [110.0] * 3, 1, 255),
    "three numbers": (b"", ["--mean", "104,117,123"], MEAN, 1, 255),
    "raw scale": (b"", ["--mean", ".4,.5,.6", "--raw-scale", "1"], [0.4, 0.5, 0.6], 1, 1),
    "a mean image": (b"", ["--mean", "mean.binaryproto"], None, 1, 255),
}


def assert_probabilities(said: str, want: Any) -> Any:
    """What ``predict --json`` says of one file is the softmax of these logits, which is returned."""
    shares = np.exp(want[0] - want[0].max())
    shares /= shares.sum()
    found = {entry["label"]: entry["probability"] for entry in json.loads(said)[0]["classes"]}
    np.testing.assert_allclose([found[label] for label in range(7)], shares, rtol=1e-3, atol=1e-6)
    return shares


@pytest.mark.parametrize("name", PIPELINES)
def test_caffe_s_pipeline(tmp_path: Path, name: str, monkeypatch: Any, capfd: Any) -> None:
    """``scale (raw_scale / 255 pixel - mean)``, blue first, of the stretched image's centre."""
    monkeypatch.chdir(tmp_path)
    transform, arguments, mean, scale, white = PIPELINES[name]
    image_mean = [float(value) for value in binaryproto(tmp_path).split(",")]
    model = converted(tmp_path, transform, *arguments, "--set", "resize=112")
    file = photograph(tmp_path)
    assert model.config.channel_order == "BGR"
    stretched = np.asarray(Image.open(file).resize((112, 112), Image.Resampling.BILINEAR), np.float64)
    crop = stretched[6:105, 6:105, ::-1] * white / 255
    x = scale * (crop - (image_mean if mean is None else mean))
    want = networks.logits(network("lrn pool"), x.transpose(2, 0, 1)[None])
    found = model.forward(read_square(file, 112, mode=model.config.resize_mode)[None])
    assert np.abs(found - want).max() < 1e-5 * np.abs(want).max()
    assert "the file names the mean image imagenet.binaryproto, which --mean takes" in capfd.readouterr().out
    # The command sees the same photograph.
    assert cli.main(["predict", "out", str(file), "--json", "--top", "7"]) == 0
    assert_probabilities(capfd.readouterr().out, want)


def test_torchvision_s_pipeline_evaluate_and_class_names(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(networks.state_dict(network("pool")), "tv.safetensors")
    Path("names").write_text("\n".join("abcdefg"), encoding="utf-8-sig")
    fields = ["--set", "resize=111"]  # 8 pixels around the crop, as there are 16 at 256
    assert cli.main(["convert", "tv.safetensors", "out", "--classes", "names", *fields]) == 0
    model = Model.load("out", devices="cpu")
    assert model.class_names == tuple("abcdefg")
    file = photograph(tmp_path, (333, 240))
    x = torchvision_square(Image.open(file), 111, 95) / 255.0
    x = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    want = networks.logits(network("pool"), x.transpose(2, 0, 1)[None])
    capfd.readouterr()
    assert cli.main(["predict", "out", str(file), "--json", "--top", "7"]) == 0
    shares = assert_probabilities(capfd.readouterr().out, want)
    for name in "ac":
        (tmp_path / "source" / name).mkdir(parents=True)
    file.rename(tmp_path / "source" / "c" / "photo.png")
    (tmp_path / "source" / "a" / "photo.png").write_bytes((tmp_path / "source" / "c" / "photo.png").read_bytes())
    assert cli.main(["evaluate", "out", "source", "--json"]) == 0
    loss = json.loads(capfd.readouterr().out)["loss"]
    assert loss == pytest.approx(-np.log(shares[[0, 2]]).mean(), rel=1e-4)
    assert cli.main(["features", "out", "source", "found.npz", "--layer", "fc8"]) == 0
    with np.load("found.npz") as found:
        assert np.abs(found["features"] - want).max() < 1e-5 * np.abs(want).max()
    shown: list[Any] = []
    monkeypatch.setattr("alexnet_cuda.show.page.write", lambda what, folder: shown.extend(what.images) or folder)
    assert cli.main(["show", "out", "source/a/photo.png"]) == 0
    assert cli.main(["show", "out", "--source", "source"]) == 0
    square = torchvision_square(Image.open("source/a/photo.png"), 111, 111)
    assert [(seen.square == square).all() for seen in shown] == [True] * 3


@pytest.mark.parametrize(("preset", "words"), [("caffe", "whole image is stretched"), ("torchvision", "shorter side")])
def test_a_card_says_how_its_network_s_images_are_cut(tmp_path: Path, preset: str, words: str) -> None:
    tiny(preset=preset, devices="cpu").save(tmp_path / "out")
    text = make_card(tmp_path / "out", None, None)
    assert f"The {words} to" in text or f"The {words} is resized to" in text
    assert 'read_square("photograph.jpg", model.config.resize, mode=model.config.resize_mode)' in text


def test_training_sees_what_prediction_sees(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "source" / name).mkdir(parents=True)
        for number in range(2):
            photograph(tmp_path).rename(tmp_path / "source" / name / f"{number}.png")
    config = {"resize_mode": "stretch", "conv_widths": [8, 12, 16, 16, 8], "fc_widths": [20, 18]}
    given = {"image_size": 67, "batch_size": 2, "validation_split": 0.5, "config": config}
    run = prepare(TrainOptions(str(tmp_path / "source"), tmp_path / "run", given, devices="cpu"))
    stretched = read_square(tmp_path / "source/a/0.png", run.model.config.resize, mode="stretch")
    np.testing.assert_allclose(run.model.config.mean, stretched.mean(axis=(0, 1)), rtol=1e-9)
    trainer = Trainer(run)
    for loader in (trainer._loader, trainer._val_loader):
        assert loader is not None
        batch = next(iter(loader.epoch(0)))
        side = run.model.config.resize
        file = tmp_path / "source" / loader.source.names[batch.indices[0]]
        np.testing.assert_array_equal(batch.images[0], read_square(file, side, mode="stretch"))


def test_every_command_sees_the_squares_of_the_networks_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source" / "a").mkdir(parents=True)
    file = photograph(tmp_path).rename(tmp_path / "source" / "a" / "0.png")
    sizes: dict[str, Any] = {"conv_widths": (8,) * 5, "fc_widths": (8, 8)}
    model = Model(num_classes=1, image_size=67, devices="cpu", resize_mode="stretch", init="he", **sizes)
    model.class_names = ("a",)
    model.save(tmp_path / "m.safetensors")
    square = read_square(file, model.config.resize, mode="stretch")
    seen: list[Any] = []

    def write(shown: Any, folder: Path) -> Path:
        seen.extend(shown.images)
        return folder

    monkeypatch.setattr("alexnet_cuda.show.page.write", write)
    words = [str(tmp_path / "m.safetensors"), "--devices", "cpu"]
    for images in ([str(file)], ["--source", str(tmp_path / "source")]):
        assert cli.main(["show", *words, *images, "--output", str(tmp_path / "page")]) == 0
    assert len(seen) == 2
    for one in seen:
        np.testing.assert_array_equal(one.square, square)
    words = [words[0], str(tmp_path / "source"), str(tmp_path / "o.npz"), "--layer", "fc6", *words[1:]]
    assert cli.main(["features", *words]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "o.npz")["features"], model.features(square[None], "fc6"), rtol=1e-5)
    capfd.readouterr()
    assert cli.main(["card", words[0]]) == 0
    card = capfd.readouterr().out
    assert "The whole image is stretched to 76 x 76 pixels" in card
    assert "mode=model.config.resize_mode" in card
