"""The command line: what it prints, its exit codes, and one sentence for each thing that is wrong."""

import json
import math
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet_cuda import Model, __version__, cli, data
from alexnet_cuda.base.files import FILTERS_NAME
from alexnet_cuda.checkpoint import load_checkpoint, save_checkpoint

# The device is named because some commands are processes of their own, which no fixture reaches.
TINY = ["--devices", "cpu", "--image-size", "67", "--set", "conv_widths=8,16,16,16,16", "--set", "fc_widths=32,32"]
CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox")

Output = tuple[int, str, str]
Command = Callable[..., Output]


@pytest.fixture
def command(capfd):
    """Run the command within this process: exit code, standard output, standard error."""

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Give a folder of six classes, each of its own brightness, five pictures a class."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for number in range(5):
            pixels = generator.integers(0, 40, (30, 20, 3), dtype=np.uint8) + np.uint8(40 * label)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def trained(photographs, tmp_path_factory):
    """Give the checkpoint of a short run that held six of the photographs out."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    options = ["--epochs", "2", "--batch-size", "8", "--validation-split", "0.2"]
    assert cli.main(["train", str(photographs), "--output", str(folder), *TINY, *options]) == 0
    return folder / "checkpoint.safetensors"


def environment():
    """Give an environment in which a child finds this package, installed or not."""
    root = Path(cli.__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def module(*arguments):
    return [sys.executable, "-m", "alexnet_cuda", *map(str, arguments)]


def test_help_and_version_start_fast():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(module("--help"), env=environment(), capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert all(name in done.stdout for name in ("train", "evaluate", "predict", "summary", "doctor"))
    # Processor time, since tests share their machine; half a second on a quiet one is the aim.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    done = subprocess.run(module("--version"), env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == f"alexnet-cuda, version {__version__}\n"


def test_without_a_command_there_is_help(command):
    code, output, errors = command()
    assert (code, errors) == (0, "")
    assert output.startswith("Usage: alexnet-cuda ")


def test_the_help_of_train_shows_both_sets_of_defaults(command):
    code, output, _ = command("train", "--help")
    assert code == 0
    text = " ".join(output.split())
    assert "[default: 128; digits: 32]" in text
    assert "[default: 0.0005]" in text
    assert "[default: the preset's; digits: 67]" in text


def test_train_leaves_a_run_and_says_where(command, photographs, tmp_path):
    options = ["--epochs", 1, "--batch-size", 8, "--dropout", 0.25, "--set", "lrn=false", "--set", "activation=tanh"]
    more = ["--schedule", "step", "--milestones", "1,2", "--devices", "cpu,cpu", "--seed", 7]
    code, output, errors = command("train", photographs, "--output", tmp_path / "run", *TINY, *options, *more)
    assert (code, errors) == (0, "")
    assert output.splitlines()[-1].startswith("done: 1 epoch, 4 steps, validation accuracy ")
    metadata = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").metadata
    config, recipe = metadata["config"], metadata["train"]["recipe"]
    assert (config["dropout"], config["lrn"], config["activation"], config["init"]) == (0.25, False, "tanh", "he")
    assert (config["fc_widths"], config["seed"]) == ([32, 32], 7)
    assert (recipe["schedule"], recipe["milestones"]) == ("step", [1, 2])


def test_a_run_without_output_goes_to_the_folder_of_its_source(command, photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("train", photographs, *TINY, "--epochs", 1)[0] == 0
    assert (tmp_path / "runs" / photographs.name / "checkpoint.safetensors").exists()


def test_without_matplotlib_the_run_ends_well_and_says_what_is_missing(command, photographs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, output, _ = command("train", photographs, "--output", tmp_path / "run", *TINY, "--epochs", 1)
    assert code == 0
    assert "a picture of the run is missing: curves.png needs matplotlib: pip install" in output
    assert (tmp_path / "run" / FILTERS_NAME).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_the_printed_command_goes_on_in_any_folder(photographs, tmp_path, number):
    folder = tmp_path / "a run"
    (tmp_path / "-photographs").symlink_to(photographs)
    options = ["--epochs", 2000, "--batch-size", 8, "--validation", "./-photographs", "--workers", 1]
    arguments = ["train", *TINY, *options, "--output", "a run", "--", "-photographs"]
    process = subprocess.Popen(module(*arguments), env=environment(), stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        metrics = folder / "metrics.jsonl"
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 5):
            assert time.monotonic() < deadline, "the run did not start"
            time.sleep(0.05)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    step = load_checkpoint(folder / "checkpoint.safetensors").metadata["step"]
    line = output.splitlines()[-1]
    start = f"stopped at step {step}; to go on: alexnet-cuda "
    assert line.startswith(start)
    words = shlex.split(line.removeprefix(start))
    assert words[words.index("--workers") + 1] == "1"
    epochs = math.ceil((step + 1) / 4)
    done = subprocess.run(
        module(*words, "--epochs", epochs), env=environment(), capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.splitlines()[-1].startswith(f"done: {epochs} epochs, {4 * epochs} steps")


def test_evaluate_prints_errors_as_text_and_json(command, trained, photographs):
    code, output, errors = command("evaluate", trained, photographs)
    assert (code, errors) == (0, "")
    rows = dict(line.split("  ", 1) for line in output.splitlines())
    code, output, _ = command("evaluate", trained, photographs, "--views", 10, "--json")
    result = json.loads(output)
    assert (code, result["images"], result["views"], result["skipped"]) == (0, 30, 10, {})
    assert 0 <= result["top5_error"] <= result["top1_error"] <= 1
    result = json.loads(command("evaluate", trained, photographs, "--json", "--batch-size", 7)[1])
    assert rows["top-1 error"].strip() == f"{result['top1_error']:.2%}"
    assert rows["top-5 error"].strip() == f"{result['top5_error']:.2%}"


def test_evaluate_held_out_repeats_the_last_validation(command, trained, photographs):
    record = json.loads((trained.parent / "metrics.jsonl").read_text().splitlines()[-1])
    result = json.loads(command("evaluate", trained, photographs, "--held-out", "--json")[1])
    assert result["images"] == 6
    assert 1 - result["top1_error"] == pytest.approx(record["val_accuracy"])
    assert result["loss"] == pytest.approx(record["val_loss"], rel=1e-5)


def test_evaluate_matches_classes_by_name(command, trained, photographs, tmp_path):
    part = tmp_path / "part"
    for name in ("eel", "bee"):
        (part / name).mkdir(parents=True)
        for file in (photographs / name).iterdir():
            (part / name / file.name).write_bytes(file.read_bytes())
    code, output, _ = command("evaluate", trained, part, "--json")
    assert code == 0
    model = Model.load(trained)
    from alexnet_cuda.data import read_square

    squares = {
        name: [read_square(file, model.config.resize) for file in (part / name).iterdir()] for name in ("bee", "eel")
    }
    wrong = sum(
        (model.predict(np.stack(images), top=1)[0][:, 0] != CLASSES.index(name)).sum()
        for name, images in squares.items()
    )
    assert json.loads(output)["top1_error"] == wrong / 10
    (part / "unicorn").mkdir()
    (part / "unicorn" / "1.png").write_bytes((part / "bee" / "0.png").read_bytes())
    code, output, errors = command("evaluate", trained, part)
    assert (code, output) == (2, "")
    assert "'unicorn'" in errors


def test_predict_prints_classes_with_probabilities(command, trained, photographs):
    files = [photographs / "ant" / "0.png", photographs / "fox" / "1.png"]
    code, output, errors = command("predict", trained, *files, "--top", 2)
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert [lines[0], lines[3]] == [str(file) for file in files]
    assert len(lines) == 6
    code, output, _ = command("predict", trained, *files, "--json", "--top", 99)
    results = json.loads(output)
    for file, result, first in zip(files, results, (1, 4), strict=True):
        assert result["image"] == str(file)
        assert sorted(entry["class"] for entry in result["classes"]) == sorted(CLASSES)
        assert all(CLASSES[entry["label"]] == entry["class"] for entry in result["classes"])
        probabilities = [entry["probability"] for entry in result["classes"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert lines[first].split() == [f"{probabilities[0]:.3%}", result["classes"][0]["class"]]


def test_outputs_that_are_not_finite_are_an_error_and_no_answer(command, trained, photographs, tmp_path):
    checkpoint = load_checkpoint(trained)
    bad = tmp_path / "bad.safetensors"
    for weight, message in ((math.nan, "fc7.weight holds NaN"), (1e30, "the model's outputs are not finite")):
        tensors = {name: np.array(tensor) for name, tensor in checkpoint.tensors.items()}
        tensors["fc7.weight"][:] = tensors["fc8.weight"][:] = weight
        save_checkpoint(bad, tensors, checkpoint.metadata)
        for words in (["predict", bad, photographs / "ant" / "0.png"], ["evaluate", bad, photographs]):
            for more in ([], ["--json", "--views", 10]):
                code, output, errors = command(*words, *more)
                assert (code, output, errors.count("\n")) == (2, "", 1)
                assert message in errors


def test_one_bad_image_does_not_keep_the_others_from_being_predicted(command, trained, photographs, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    good = photographs / "ant" / "0.png"
    code, output, errors = command("predict", trained, bad, tmp_path / "absent.png", good)
    assert code == 1
    assert output.startswith(f"{good}\n")
    assert len(output.splitlines()) == 6
    lines = errors.splitlines()
    assert len(lines) == 2
    assert "bad.png cannot be decoded" in lines[0]
    assert "absent.png" in lines[1]
    code, output, _ = command("predict", trained, bad, good, "--json")
    assert code == 1
    assert ["error" in result for result in json.loads(output)] == [True, False]


def test_what_cannot_be_read_and_what_is_broken_end_an_evaluation(command, trained, photographs, tmp_path, monkeypatch):
    source = tmp_path / "source"
    shutil.copytree(photographs, source)
    (source / "ant" / "0.png").write_bytes(b"no picture")
    (source / "bee" / "0.jpg").symlink_to("nothing")
    for share in (0.03, "3%"):
        code, _, errors = command("evaluate", trained, source, "--max-broken", share)
        assert code == 2
        assert "more than the part of 0.03 that" in errors
    assert "1 of the 30 images" in errors
    assert "--max-broken" in errors
    code, output, errors = command("evaluate", trained, source)
    assert (code, errors) == (0, "")
    assert "ignored      links to nothing: bee/0.jpg" in output.splitlines()
    assert "  ant/0.png: it is not an image" in output
    result = json.loads(command("evaluate", trained, source, "--json")[1])
    assert (result["images"], result["ignored"]) == (29, ["links to nothing: bee/0.jpg"])
    original = open

    def fail(file, *arguments, **keywords):
        if str(file).endswith("fox/1.png"):
            raise OSError(5, "Input/output error", str(file))
        return original(file, *arguments, **keywords)

    monkeypatch.setattr("builtins.open", fail)
    code, output, errors = command("evaluate", trained, source)
    assert (code, output) == (2, "")
    assert errors == f"alexnet-cuda: error: {source}/fox/1.png: cannot be read: Input/output error\n"
    code, _, errors = command("predict", trained, source / "fox" / "1.png", source / "fox" / "2.png")
    assert (code, errors) == (1, f"alexnet-cuda: error: {source}/fox/1.png: Input/output error\n")


def test_a_batch_of_files_that_is_too_large_is_predicted_one_by_one(command, trained, photographs, monkeypatch):
    files = [photographs / "ant" / "0.png", photographs / "fox" / "1.png"]
    expected = command("predict", trained, *files)
    original, fits = Model.probabilities, [1]

    def probabilities(self, images, views):
        if len(images) > fits[0]:
            raise MemoryError("needs more")
        return original(self, images, views)

    monkeypatch.setattr(Model, "probabilities", probabilities)
    assert command("predict", trained, *files) == expected
    fits[0] = 0
    for arguments, advice in (
        (["predict", trained, files[0]], "other --devices"),
        (["evaluate", trained, photographs, "--views", 10], "a smaller --batch-size or other --devices"),
    ):
        code, output, errors = command(*arguments)
        assert (code, output, errors) == (2, "", f"alexnet-cuda: error: out of memory (needs more): try {advice}\n")
    fits[0] = 1
    read = data.read_square

    def too_large(file, side):
        if file.endswith("1.png"):
            raise MemoryError
        return read(file, side)

    monkeypatch.setattr(data, "read_square", too_large)
    code, output, errors = command("predict", trained, *files)
    assert (code, errors) == (1, f"alexnet-cuda: error: {files[1]}: out of memory to decode it\n")
    assert output.startswith(f"{files[0]}\n")


def test_a_folder_called_digits_is_named_where_the_digits_do_not_fit(command, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    for more in ([], ["--held-out"]):
        code, output, errors = command("evaluate", trained, "digits", *more)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert "digits (scikit-learn's, not ./digits)" in errors


def test_summary_prints_the_numbers_of_the_paper(command):
    code, output, _ = command("summary")
    assert code == 0
    assert "60,965,224" in output
    code, output, _ = command("summary", "--preset", "caffe", "--set", "num_classes=10", "--json")
    assert code == 0
    assert isinstance(json.loads(output), dict)


def test_doctor_reports(command):
    assert command("doctor")[1].strip()
    assert isinstance(json.loads(command("doctor", "--json")[1]), dict)


BAD = {
    "unknown command": (["tarin"], "No such command 'tarin'"),
    "unknown option": (["train", "digits", "--lr", "1"], "No such option"),
    "no source": (["train"], "Missing argument 'SOURCE'"),
    "absent source": (["train", "{tmp}/absent", "--output", "{tmp}/run"], "absent does not exist"),
    "empty source": (["train", "{tmp}/empty", "--output", "{tmp}/run"], "empty"),
    "no number": (["train", "digits", "--epochs", "many"], "'many' is not a valid integer"),
    "bad milestones": (["train", "digits", "--milestones", "1;2"], "expected epochs such as 30,60,80, got '1;2'"),
    "bad field": (["train", "digits", "--set", "lrn"], "--set takes FIELD=VALUE, got 'lrn'"),
    "twice a field": (["train", "digits", "--set", "lrn=true", "--set", "lrn=false"], "--set lrn is given twice"),
    "unknown field": (["train", "{photographs}", "--output", "{tmp}/run", "--set", "lnr=1"], "'lnr'"),
    "unknown preset": (["train", "{photographs}", "--output", "{tmp}/run", "--preset", "x"], "unknown preset 'x'"),
    "unknown device": (["train", "{photographs}", "--output", "{tmp}/run", "--devices", "x"], "unknown device 'x'"),
    "output is a file": (["train", "{photographs}", "--output", "{tmp}/file"], "file is not a folder"),
    "output in a file": (["train", "{photographs}", "--output", "{tmp}/file/run"], "file is not a folder"),
    "nothing to resume": (["train", "{photographs}", "--output", "{tmp}/run", "--resume"], "to resume from"),
    "a run is there": (["train", "{photographs}", "--output", "{run}"], "already holds a run"),
    "absent checkpoint": (["evaluate", "{tmp}/absent", "{photographs}"], "absent does not exist"),
    "truncated checkpoint": (["evaluate", "{tmp}/cut.safetensors", "{photographs}"], "truncated or damaged"),
    "other file": (["predict", "{tmp}/file", "x.png"], "not a safetensors file"),
    "no output": (["train", "{photographs}", "--output", ""], "'--output': expected a path, got an empty text"),
    "no training source": (["train", "", "--output", "{tmp}/run"], "'SOURCE': expected a path, got an empty text"),
    "no validation": (
        ["train", "{photographs}", "--validation", "", "--output", "{tmp}/run"],
        "'--validation': expected",
    ),
    "no source to evaluate": (["evaluate", "{trained}", ""], "'SOURCE': expected a path, got an empty text"),
    "no checkpoint": (["evaluate", "", "{photographs}"], "'CHECKPOINT': expected a path, got an empty text"),
    "no checkpoint to ask": (["predict", "", "x.png"], "'CHECKPOINT': expected a path, got an empty text"),
    "an image without a name": (
        ["predict", "{trained}", "x.png", ""],
        "'IMAGE...': expected a path, got an empty text",
    ),
    "too much in percent": (["evaluate", "{trained}", "x", "--max-broken", "200%"], "0.02, or 2%, got '200%'"),
    "too great a part": (
        ["evaluate", "{trained}", "x", "--max-broken", "2"],
        "0.02, or 2%, got '2'",
    ),
    "no part": (["train", "digits", "--validation-split", "some%"], "0.02, or 2%, got 'some%'"),
    "eleven views": (["evaluate", "{trained}", "{photographs}", "--views", "11"], "'11' is not one of '1', '10'"),
    "no image": (["predict", "{trained}"], "Missing argument 'IMAGE...'"),
    "top of none": (["predict", "{trained}", "x.png", "--top", "0"], "0 is not in the range x>=1"),
    "other images held out": (["evaluate", "{trained}", "{other}", "--held-out"], "does not hold the images"),
    "summary of nothing": (["summary", "--preset", "x"], "unknown preset 'x'"),
    "summary too small": (["summary", "--image-size", "20"], "image_size must be at least"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line_and_nothing_is_written(command, photographs, trained, tmp_path, case):
    (tmp_path / "file").write_text("mine, and long enough to be something")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.safetensors").write_bytes(trained.read_bytes()[:-100])
    other = tmp_path / "other"
    for name in ("ant", "bee"):
        (other / name).mkdir(parents=True)
        for number in range(3):
            (other / name / f"{number}.png").write_bytes((photographs / name / "0.png").read_bytes())
    before = sorted(path for path in tmp_path.rglob("*"))
    bytes_before = trained.read_bytes()
    arguments, message = BAD[case]
    places = {"tmp": tmp_path, "photographs": photographs, "trained": trained, "run": trained.parent, "other": other}
    code, output, errors = command(*(argument.format(**places) for argument in arguments))
    assert code == 2
    assert output == ""
    assert errors.startswith("alexnet-cuda: error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert trained.read_bytes() == bytes_before


def test_a_full_disk_is_one_line(command, photographs, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "checkpoint.safetensors")

    monkeypatch.setattr(os, "replace", full)
    code, _, errors = command("train", photographs, "--output", tmp_path / "run", *TINY, "--epochs", 1)
    assert (code, errors) == (2, "alexnet-cuda: error: checkpoint.safetensors: No space left on device\n")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "out of memory (no details): try other --devices"),
        (ImportError("needs x: pip install x"), "needs x: pip install x"),
        (RuntimeError("two\nlines"), "two lines"),
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied"),
        (ValueError(), "ValueError"),
    ],
)
def test_errors_become_sentences_unless_the_traceback_is_wanted(command, monkeypatch, trained, error, sentence):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Model, "load", fail)
    code, _, errors = command("predict", trained, "x.png")
    assert (code, errors) == (2, f"alexnet-cuda: error: {sentence}\n")
    monkeypatch.setenv("ALEXNET_CUDA_TRACEBACK", "1")
    with pytest.raises(type(error)):
        command("predict", trained, "x.png")


def test_a_reader_that_goes_away_is_no_error():
    line = f"{shlex.join(module('train', '--help'))} | true"
    done = subprocess.run(["bash", "-c", line], env=environment(), capture_output=True, text=True, check=False)
    assert done.stderr == ""
