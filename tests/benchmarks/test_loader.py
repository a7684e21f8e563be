"""The loader's benchmark: every way goes through all images, and the plain Pillow that it compares with is right."""

import numpy as np
from benchmarks import loader
from PIL import Image

from alexnet_cuda.data import open_source


def test_every_way_is_measured_and_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loader, "_torch", lambda source, workers: None)  # two seconds to import where it is
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        pixels = np.linspace(0, 255, 300 * 256 * 3).reshape(256, 300, 3).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / name / "1.png")
    source = open_source(tmp_path / "set")
    np.testing.assert_array_equal(loader.plain_square(source.contents(0)), source.read_square(0, loader.SIDE))
    assert loader.main([str(tmp_path / "set"), "--workers", "2", "--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "2 images" in lines[0]
    names = [line.partition("  ")[0] for line in lines[1:]]
    assert names == [name for name, _ in loader.ways(source, tmp_path, 2)]
    assert all("1,281,167 images take" in line for line in lines[1:])
