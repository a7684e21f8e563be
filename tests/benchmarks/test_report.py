"""README's table and the pictures, from synthetic numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks import report
from benchmarks.harness import figures, results, table

SYNTHETIC = Path(__file__).with_name("synthetic.json")
README = f"# Title\n\nbefore\n\n{table.BEGIN}\n{table.END}\n\nafter {table.TIMES}\n"


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(README, "utf-8")
    return path


def measurement(result: results.Record, key: str) -> results.Record:
    return next(r for r in result["measurements"] if r["key"] == key)


def run(readme: Path, *arguments: str) -> int:
    return report.main([*arguments, "--readme", str(readme), "--images", str(readme.parent)])


def test_the_table(readme, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda result, folder: [])
    assert run(readme, str(SYNTHETIC), "--check") == 1
    assert run(readme, str(SYNTHETIC)) == 0
    text = readme.read_text("utf-8")
    assert text.startswith(f"# Title\n\nbefore\n\n{table.BEGIN}\n{table.SYNTHETIC}")
    assert text.endswith(f"{table.END}\n\nafter {table.TIMES}\n")
    assert "Imaginary GPU 9000, driver 0.0, PyTorch 0.0, cuDNN 0.0, commit 000000000000" in text
    assert text.count("| conv") == 14
    assert text.count("| fc") == 9
    assert "| lrn1 + pool | bprop |" in text
    assert "cuDNN and cuBLAS took no part: no package cudnn" in text
    assert "cut short: 1 measurements" in text
    assert run(readme, str(SYNTHETIC)) == 0
    assert readme.read_text("utf-8") == text, "twice is once"
    assert run(readme, str(SYNTHETIC), "--check") == 0


def test_rows_say_what_the_file_says():
    result = results.read(SYNTHETIC)
    record = measurement(result, "conv2d.fprop/conv2/128/bfloat16")
    ours, theirs = results.best(record, "ours"), results.best(record, "library")
    assert ours is not None
    assert theirs is not None
    row = next(x for x in table.render(result).splitlines() if x.startswith("| conv2 | fprop"))
    cells = [c.strip() for c in row.strip("|").split("|")]
    assert cells[2] == f"{ours[1]:.1f}"
    assert cells[3] == f"{57.33e3 / ours[1]:.0f} TFLOP/s"
    assert cells[4] == f"{100 * 72.57 / ours[1]:.0f} %"
    assert float(cells[5]) == pytest.approx(theirs[1] / ours[1], abs=0.005)


def test_a_wrong_contender_is_no_best():
    result = results.read(SYNTHETIC)
    record = measurement(result, "conv2d.fprop/conv2/128/bfloat16")
    record["contenders"]["ours"]["status"] = "wrong"
    assert results.best(record, "ours") is None
    row = next(x for x in table.render(result).splitlines() if x.startswith("| conv2 | fprop"))
    assert [c.strip() for c in row.strip("|").split("|")][2:5] == ["wrong", table.NONE, table.NONE]
    for contender in record["contenders"].values():
        contender["status"] = {"library": "failed", "torch": "unavailable"}.get(contender["family"], "ok")
    row = next(x for x in table.render(result).splitlines() if x.startswith("| conv2 | fprop"))
    assert [c.strip() for c in row.strip("|").split("|")][5:] == ["failed", "not installed"]
    assert "cuDNN failed in 1 of the measurements" in table.render(result)


def test_without_a_result_it_says_how_to_get_one(readme, monkeypatch):
    monkeypatch.setattr(table, "newest", lambda folder: None)
    assert run(readme) == 0
    assert f"{table.BEGIN}\n{table.NOTHING}\n{table.END}" in readme.read_text("utf-8")
    assert run(readme, "--check") == 0
    assert list(readme.parent.glob("*.png")) == []


def test_the_newest_result_is_the_one_of_the_last_date(tmp_path):
    for name in ("h200-2026-11-24.json", "a100-2026-12-01.json"):
        results.write(tmp_path / name, results.new({}))
    (tmp_path / "cpu_vs_peers-2027-01-01.json").write_text("{}")
    results.write(tmp_path / "x-2028-01-01.json", results.new({}, synthetic=True))
    found = table.newest(tmp_path)
    assert found is not None
    assert found.name == "a100-2026-12-01.json"
    assert table.newest(tmp_path / "none") is None


@pytest.mark.parametrize("text", ["", table.BEGIN, f"{table.END} {table.BEGIN}", f"{table.BEGIN}{table.END}" * 2])
def test_markers_must_be_there_once(text):
    with pytest.raises(ValueError, match="expected one"):
        table.between(text, "x")


def test_the_readme_of_this_repository_is_current():
    assert report.main(["--check"]) == 0


def texts(figure: Any) -> str:
    parts = [t.get_text() for t in figure.texts]
    parts += [figure.get_supxlabel(), figure.get_suptitle()]
    return " ".join(parts)


@pytest.mark.parametrize("name", figures.FIGURES)
def test_every_picture_says_what_it_came_from_and_that_it_is_synthetic(name):
    result = results.read(SYNTHETIC)
    figure = figures.FIGURES[name](result)
    assert table.origin(result) in texts(figure)
    assert "SYNTHETIC" in texts(figure)
    assert "never measured" in texts(figure)
    real = figures.FIGURES[name]({**result, "synthetic": False})
    assert "SYNTHETIC" not in texts(real)
    assert "never measured" not in texts(real)


def test_the_roofline_holds_every_kernel():
    result = results.read(SYNTHETIC)
    compute, memory = figures.roofline(result).axes
    assert len(compute.texts) == 23, "ours, each with its name"
    products = [r for r in result["measurements"] if r.get("flops") and r["kind"] == "op"]
    assert len([x for x in compute.lines if len(x.get_xdata()) == 1]) == 3 * len(products)
    assert len(memory.get_yticks()) == 14


def test_pictures_are_written(tmp_path):
    paths = figures.draw(results.read(SYNTHETIC), tmp_path)
    assert [p.name for p in paths] == list(figures.FIGURES)
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in paths)
    with pytest.raises(ValueError, match="no ceilings"):
        figures.draw(results.new({}), tmp_path)
