"""The page of a checkpoint: what is on it, in a browser too, and what is refused."""

from __future__ import annotations

import copy
import html
import json
import os
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_cuda import Model, cli, ops
from alexnet_cuda.show import look
from alexnet_cuda.train.plots import colour_shares, tiles
from tests.failing import failing
from tests.pages import read_page

CLASSES = ("<img src=x.png>", "![x](x.png)|a*b*", "Gänse $x^$ 鳥")
UNPRINTABLE = b"<b>\n$x^{$\xff ![](x.png).png"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(
        num_classes=3,
        image_size=67,
        devices="cpu",
        conv_widths=(8, 16, 16, 16, 16),
        fc_widths=(16, 16),
        init="he",
        std=(58, 58, 58),
        lrn_alpha=0.5,
    )


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (76, 76, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a checkpoint and metrics, and images in class folders beside it."""
    folder, generator = tmp_path_factory.mktemp("shown") / "a run", np.random.default_rng(0)
    folder.mkdir()
    model.class_names = CLASSES
    model.save(folder / "checkpoint.safetensors")
    layers = {"fc6": {"weight": 2.0, "update": 0.004}, "fc7": {"weight": None, "update": 0.1}}
    records = [{"epoch": 1, "step": 1, "val_loss": None}, {"epoch": 2, "step": 2, "val_loss": None, "layers": layers}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    for name in CLASSES:
        (folder.parent / "source" / name).mkdir(parents=True)
        for number in range(2):
            pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder.parent / "source" / name / f"_{number}_`.png")
    return folder


@pytest.fixture(scope="module")
def shown(run: Path) -> Path:
    """The folder of a page with everything on it."""
    image, source = run.parent / os.fsdecode(UNPRINTABLE), run.parent / "source"
    shutil.copy(source / CLASSES[1] / "_0_`.png", image)
    words = ["show", run / "checkpoint.safetensors", image, "--source", source, "--output", run.parent / "page"]
    assert cli.main([*map(str, words), "--devices", "cpu"]) == 0
    return run.parent / "page"


def test_the_page_holds_every_picture_and_every_name_as_it_is(shown: Path) -> None:
    text, pictures = read_page(shown / "index.html")
    kept = sorted(path.name for path in shown.glob("*.png"))
    steps = ("conv1", "lrn1", "pool1", "conv2", "lrn2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7")
    others = ("predictions", "confusion", "updates", "1-views", *(f"1-{step}" for step in steps))
    assert kept == sorted(["conv1_filters.png", *(f"show-{name}.png" for name in others)])
    assert sorted(picture.size for picture in pictures) == sorted(Image.open(shown / name).size for name in kept)
    assert all(text.count(name) >= 3 for name in CLASSES)
    assert "<b> $x^{$  ![](x.png).png" in text
    assert "6 images: top-1 error" in text
    assert re.search(r"fc6\s+2\s+0\.004\s+2\.00e-03", text)


def test_the_views_are_those_whose_mean_is_the_prediction(model: Model, square: np.ndarray) -> None:
    names, cut = look.crops(model, square)
    assert (len(set(names)), names[3], names[-1]) == (10, "top left, mirrored", "bottom right, mirrored")
    mean = model.probabilities(cut).mean(axis=0)
    np.testing.assert_allclose(mean, model.probabilities(square[None], views=10)[0], rtol=1e-5)
    assert (cut[3] == square[:67, :67][:, ::-1]).all()


def test_the_maps_of_a_step_are_its_outputs_on_one_scale_of_grey(model: Model, square: np.ndarray) -> None:
    maps = {found.step: found for found in look.way(model, square)}
    x = model.features(square[None], "conv1")
    y = ops.lrn.fprop(x, ops.lrn.parameters(8, alpha=0.5, groups=2))[0]
    assert (
        f"8 maps of 15x15, 0 (black) to {y.max():.3g}; {np.mean(y[..., :4] == 0):.0%} zero in the"
        in maps["lrn1"].caption
    )
    white = np.percentile(y[y > 0], 99.5)
    drawn = np.rint(255 * np.clip(y / white, 0, 1)).astype(np.uint8).repeat(2, 0).repeat(2, 1)
    assert (maps["lrn1"].pixels[4:34, 4:34] == drawn[..., 0]).all()  # twice as large, in a frame of 4
    assert (maps["lrn1"].pixels[46:76, 4:34] == drawn[..., 4]).all()  # the second tower's first, in the second row
    assert maps["lrn1"].caption != maps["conv1"].caption


@pytest.mark.parametrize(("count", "towers", "rows"), [(96, 2, 6), (5, 2, 2), (9, 1, 2)])
def test_tiles_stand_in_order_the_towers_in_rows_of_their_own(count: int, towers: int, rows: int) -> None:
    grid = tiles(np.arange(count, dtype=np.uint8)[:, None, None], towers, columns=8 * towers, scale=1)
    lines = [row[row != 255].tolist() for row in grid if (row != 255).any()]
    assert (len(lines), np.concatenate(lines).tolist()) == (rows, list(range(count)))
    assert any(line[0] == -(-count // towers) for line in lines) == (towers == 2)


def test_the_folder_of_an_image_names_its_class(model: Model, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decomposed = unicodedata.normalize("NFD", CLASSES[2])
    assert [look.class_of(f"{run}/{name}/1.png", model) for name in (CLASSES[1], decomposed, "other")] == [1, 2, None]
    monkeypatch.chdir(run.parent / "source" / CLASSES[0])
    assert look.class_of("_0_`.png", model) == 0
    twice = copy.copy(model)
    twice.class_names = (CLASSES[0], *CLASSES[:2])
    assert [look.class_of(f"{run}/{name}/1.png", twice) for name in CLASSES[:2]] == [None, 2]


def test_grey_filters_hold_no_colour() -> None:
    weight = np.zeros((4, 2, 2, 3), np.float32)
    weight[0], weight[2, ..., 0] = 0.5, 1.0  # grey; red; two of zeros
    assert colour_shares(weight, 2) == pytest.approx([0.0, 1 / 3])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none.safetensors"], "none.safetensors"),
        (["RUN/checkpoint.safetensors", "none.png"], "none.png: No such file"),
        (["RUN/checkpoint.safetensors", "RUN/metrics.jsonl"], "metrics.jsonl cannot be decoded"),
        (["RUN/checkpoint.safetensors", "--source", "RUN/../other"], "classes outside the 3 known ones"),
        (["RUN/checkpoint.safetensors", "--held-out"], "--held-out is of the images of --source"),
        (["RUN/checkpoint.safetensors", "--source", "RUN/../source", "--held-out"], "no training run"),
        (["RUN/checkpoint.safetensors", "--output", "RUN"], "holds a run"),
    ],
)
def test_bad_input_is_a_sentence_and_nothing_is_written(
    run: Path,
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    other = run.parent / "other" / "elsewhere"
    other.mkdir(parents=True, exist_ok=True)
    shutil.copy(run.parent / "source" / CLASSES[0] / "_0_`.png", other / "1.png")
    before = sorted(run.rglob("*"))
    assert cli.main(["show", *(word.replace("RUN", str(run)) for word in words), "--devices", "cpu"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert sentence in line
    assert (list(tmp_path.iterdir()), sorted(run.rglob("*"))) == ([], before)


def test_a_full_disk_leaves_the_page_that_was_there(shown: Path, run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (shown / "index.html").read_bytes()
    with failing(Path, "write_text", OSError(28, "No space left on device")):
        assert cli.main(["show", str(run / "checkpoint.safetensors"), "--output", str(shown), "--devices", "cpu"]) == 2
    assert capfd.readouterr().err.endswith("index.html: No space left on device\n")
    assert (shown / "index.html").read_bytes() == before
    assert not list(shown.glob(".*"))


LOOK = """<!doctype html><iframe src="index.html" width="{width}" height="900"></iframe><script>
onload = () => {{
  const inner = document.querySelector("iframe").contentWindow, root = inner.document.documentElement;
  const pictures = [...inner.document.images];
  document.title = JSON.stringify({{
    pictures: pictures.filter(picture => picture.complete && picture.naturalWidth).length,
    beyond: root.scrollWidth - root.clientWidth,
    loaded: inner.performance.getEntriesByType("resource").filter(entry => !entry.name.startsWith("data:")).length,
    scripts: inner.document.scripts.length,
  }});
}};
</script>"""

if BROWSER is not None:  # elsewhere `read_page` looks for the same in the text of the page

    @pytest.mark.parametrize("width", [1200, 400])
    def test_a_browser_shows_every_picture_and_loads_nothing_else(shown: Path, tmp_path: Path, width: int) -> None:
        shutil.copy(shown / "index.html", tmp_path)  # alone: without the pictures beside it
        (tmp_path / "look.html").write_text(LOOK.format(width=width))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
        options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
        output = subprocess.check_output([str(BROWSER), *options, (tmp_path / "look.html").as_uri()], text=True)
        found = json.loads(html.unescape(re.search("<title>(.*)</title>", output)[1]))
        assert found == {"pictures": len(list(shown.glob("*.png"))), "beyond": 0, "loaded": 0, "scripts": 0}
