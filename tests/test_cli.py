"""The command line: what it prints, its exit codes, and one sentence for each thing that is wrong."""

import builtins
import json
import math
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from alexnet_cuda import Model, __version__, cli, data
from alexnet_cuda.base.files import FILTERS_NAME
from alexnet_cuda.checkpoint import load_checkpoint, save_checkpoint
from tests.child import python
from tests.failing import failing

# The device is named because some commands are processes of their own, which no fixture reaches.
TINY = ["--devices", "cpu", "--image-size", 67, "--set", "conv_widths=8,16,16,16,16", "--set", "fc_widths=32,32"]
CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox")


@pytest.fixture
def command(capfd):
    """Run a command within this process: exit code, standard output, standard error."""

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def succeeds(command):
    """Run a command that ends well: its standard output."""

    def run(*arguments):
        code, output, errors = command(*arguments)
        assert (code, errors) == (0, "")
        return output

    return run


@pytest.fixture
def refused(command):
    """Run a command that ends with one sentence, and give that."""

    def run(*arguments):
        code, output, errors = command(*arguments)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert errors.startswith("alexnet-cuda: error: ")
        return errors.removeprefix("alexnet-cuda: error: ").rstrip("\n")

    return run


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Give a folder of six classes, each of its own brightness, five pictures a class."""
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
    options = ["--epochs", 2, "--batch-size", 8, "--validation-split", 0.2]
    assert cli.main([str(word) for word in ("train", photographs, "--output", folder, *TINY, *options)]) == 0
    return folder / "checkpoint.safetensors"


@pytest.fixture
def files(photographs):
    return [photographs / "ant" / "0.png", photographs / "fox" / "1.png"]


COMMAND = ("-m", "alexnet_cuda")


def test_help_and_version_start_fast():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = python(*COMMAND, "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert all(name in output for name in ("train", "evaluate", "predict", "summary", "doctor"))
    # Processor time, since tests share their machine; half a second on a quiet one is the aim.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert python(*COMMAND, "--version") == f"alexnet-cuda, version {__version__}\n"


def test_help(succeeds):
    assert succeeds().startswith("Usage: alexnet-cuda ")
    text = " ".join(succeeds("train", "--help").split())
    for defaults in ("[default: 128; digits: 32]", "[default: 0.0005]", "[default: the preset's; digits: 67]"):
        assert defaults in text


def test_train_leaves_a_run_and_says_where(succeeds, photographs, tmp_path):
    options = ["--epochs", 1, "--batch-size", 8, "--dropout", 0.25, "--set", "lrn=false", "--set", "activation=tanh"]
    more = ["--schedule", "step", "--milestones", "1,2", "--devices", "cpu,cpu", "--seed", 7]
    output = succeeds("train", photographs, "--output", tmp_path / "run", *TINY, *options, *more)
    assert output.splitlines()[-1].startswith("done: 1 epoch, 4 steps, validation accuracy ")
    metadata = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").metadata
    config, recipe = metadata["config"], metadata["train"]["recipe"]
    assert (config["dropout"], config["lrn"], config["activation"], config["init"]) == (0.25, False, "tanh", "he")
    assert (config["fc_widths"], config["seed"]) == ([32, 32], 7)
    assert (recipe["schedule"], recipe["milestones"]) == ("step", [1, 2])


def test_a_run_without_output_and_matplotlib_ends_well_in_the_folder_of_its_source(
    succeeds, photographs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    output = succeeds("train", photographs, *TINY, "--epochs", 1)
    assert "a picture or the page of the run is missing: pictures need matplotlib: pip install" in output
    for name in ("checkpoint.safetensors", FILTERS_NAME):
        assert (tmp_path / "runs" / photographs.name / name).exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGUSR1, 75)])
def test_a_signal_saves_and_the_printed_command_goes_on_in_any_folder(photographs, tmp_path, number, code):
    folder = tmp_path / "a run"
    (tmp_path / "-photographs").symlink_to(photographs)
    options = ["--epochs", 2000, "--batch-size", 8, "--validation", "./-photographs", "--workers", 1]
    words = ["train", *TINY, *options, "--output", "a run", "--", "-photographs"]
    process = python(*COMMAND, *words, start=subprocess.Popen, stdout=subprocess.PIPE, cwd=tmp_path)
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
    assert process.returncode == code
    step = load_checkpoint(folder / "checkpoint.safetensors").metadata["step"]
    line = output.splitlines()[-1]
    start = f"stopped at step {step}; to go on: alexnet-cuda "
    assert line.startswith(start)
    words = shlex.split(line.removeprefix(start))
    assert words[words.index("--workers") + 1] == "1"
    epochs = math.ceil((step + 1) / 4)
    output = python(*COMMAND, *words, "--epochs", epochs, cwd="/")
    assert output.splitlines()[-1].startswith(f"done: {epochs} epochs, {4 * epochs} steps")


def test_evaluate_prints_errors_as_text_and_json(succeeds, trained, photographs):
    rows = dict(line.split("  ", 1) for line in succeeds("evaluate", trained, photographs).splitlines())
    result = json.loads(succeeds("evaluate", trained, photographs, "--views", 10, "--json"))
    assert (result["images"], result["views"], result["skipped"]) == (30, 10, {})
    assert 0 <= result["top5_error"] <= result["top1_error"] <= 1
    result = json.loads(succeeds("evaluate", trained, photographs, "--json", "--batch-size", 7))
    assert rows["top-1 error"].strip() == f"{result['top1_error']:.2%}"
    assert rows["top-5 error"].strip() == f"{result['top5_error']:.2%}"


def test_evaluate_held_out_repeats_the_last_validation(succeeds, trained, photographs):
    record = json.loads((trained.parent / "metrics.jsonl").read_text().splitlines()[-1])
    result = json.loads(succeeds("evaluate", trained, photographs, "--held-out", "--json"))
    assert result["images"] == 6
    assert 1 - result["top1_error"] == pytest.approx(record["val_accuracy"])
    assert result["loss"] == pytest.approx(record["val_loss"], rel=1e-5)


def test_evaluate_matches_classes_by_name(succeeds, refused, trained, photographs, tmp_path):
    part, model, wrong = tmp_path / "part", Model.load(trained), 0
    for name in ("eel", "bee"):
        shutil.copytree(photographs / name, part / name)
        squares = [data.read_square(file, model.config.resize) for file in (part / name).iterdir()]
        wrong += (model.predict(np.stack(squares), top=1)[0][:, 0] != CLASSES.index(name)).sum()
    assert json.loads(succeeds("evaluate", trained, part, "--json"))["top1_error"] == wrong / 10
    shutil.copytree(photographs / "bee", part / "unicorn")
    assert "'unicorn'" in refused("evaluate", trained, part)


def test_predict_prints_classes_with_probabilities(succeeds, trained, files):
    lines = succeeds("predict", trained, *files, "--top", 2).splitlines()
    assert [lines[0], lines[3]] == [str(file) for file in files]
    assert len(lines) == 6
    results = json.loads(succeeds("predict", trained, *files, "--json", "--top", 99))
    for file, result, first in zip(files, results, (1, 4), strict=True):
        assert result["image"] == str(file)
        assert sorted(entry["class"] for entry in result["classes"]) == sorted(CLASSES)
        assert all(CLASSES[entry["label"]] == entry["class"] for entry in result["classes"])
        probabilities = [entry["probability"] for entry in result["classes"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert lines[first].split() == [f"{probabilities[0]:.3%}", result["classes"][0]["class"]]


def test_features_are_those_of_the_model_by_file(command, trained, photographs, tmp_path):
    source, model = tmp_path / "source", Model.load(trained)
    for name in ("fox", "ant"):
        shutil.copytree(photographs / name, source / name)
    (source / "ant" / "2.png").write_bytes(b"no picture")
    for place in ("cpu", "cpu,cpu"):
        words = ["features", trained, source, tmp_path / "out.npz", "--layer", "fc7", "--batch-size", 4]
        code, output, errors = command(*words, "--devices", place, "--max-broken", 0.1)
        assert (code, output) == (0, f"done: fc7 (32) of 9 images; {tmp_path / 'out.npz'}\n")
        assert errors.startswith("alexnet-cuda: left out: ant/2.png: it is not an image")
        with np.load(tmp_path / "out.npz") as found:
            assert (found["classes"].tolist(), found["layer"].item()) == (["ant", "fox"], "fc7")
            assert found["labels"].tolist() == [0] * 4 + [1] * 5
            assert [str(path) for path in found["paths"]][3:5] == ["ant/4.png", "fox/0.png"]
            squares = [data.read_square(source / str(path), model.config.resize) for path in found["paths"]]
            expected = model.features(np.stack(squares), "fc7")
            assert found["features"].dtype == np.float32
            np.testing.assert_allclose(found["features"], expected, rtol=1e-4, atol=1e-5)
    assert command(*words)[0] == 2  # too many broken: the file of before stays
    with np.load(tmp_path / "out.npz") as found:
        assert len(found["features"]) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npz", "source"]


def test_features_of_two_commands_at_once_leave_a_whole_file(succeeds, trained, photographs, tmp_path, monkeypatch):
    module = sys.modules["alexnet_cuda.cli.features"]
    compute, out = module._features, tmp_path / "out.npz"

    def while_another_runs(*given):
        monkeypatch.setattr(module, "_features", compute)
        succeeds("features", trained, photographs, out, "--layer", "fc7")
        return compute(*given)

    monkeypatch.setattr(module, "_features", while_another_runs)
    succeeds("features", trained, photographs, out, "--layer", "fc8")
    with np.load(out) as found:
        assert (found["layer"].item(), found["features"].shape[1]) == ("fc8", len(CLASSES))
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def read_card(text):
    """The header and the body of a model card, the header by JSON, every one of which is YAML."""
    start, header, body = text.split("---\n", 2)
    assert (start, all(character.isprintable() for character in header.replace("\n", ""))) == ("", True)
    return {name: json.loads(value) for name, value in (line.split(": ", 1) for line in header.splitlines())}, body


def test_a_card_says_what_is_known_of_a_run_and_nothing_else(succeeds, trained, tmp_path):
    record = json.loads((trained.parent / "metrics.jsonl").read_text().splitlines()[-1])
    header, body = read_card(succeeds("card", trained))
    assert header["tags"] == ["alexnet", "alexnet_cuda", "image-classification"]
    assert not {"license", "datasets"} & set(header)
    (result,) = header["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == pytest.approx(record["val_accuracy"], abs=1e-6)
    for text in (
        "Trained on 24 images; the checkpoint does not say of what data. Validated on 6 images, 0.2 of the source.",
        "| epochs done | 2 of 2 |",
        "| batch size | 8 |",
        "| fc_widths | `[32, 32]` |",
        f"| validation accuracy, centre crop | {record['val_accuracy']:.2%} |",
        '5 "fox"',
        "resized to 76 pixels",
        'Model.load("checkpoint.safetensors")',
    ):
        assert text in body
    assert "lars" not in body
    checkpoint = load_checkpoint(trained)
    metadata = checkpoint.metadata
    metadata["train"]["recipe"] |= {"views": 10, "lars": 0.001}
    save_checkpoint(tmp_path / "ten.safetensors", checkpoint.tensors, metadata)
    shutil.copy(trained.with_name("metrics.jsonl"), tmp_path)
    header, body = read_card(succeeds("card", tmp_path / "ten.safetensors"))
    assert header["model-index"][0]["results"][0]["metrics"][0]["name"] == "top-1, ten views"
    assert "| validation accuracy, ten views |" in body
    assert "| lars | 0.001 |" in body
    (tmp_path / "metrics.jsonl").unlink()
    # Without metrics, and with what only the user knows.
    shutil.copy(trained, tmp_path / "c.safetensors")
    assert succeeds("card", tmp_path / "c.safetensors", "--output", tmp_path / "README.md") == ""
    header, _ = read_card((tmp_path / "README.md").read_text())
    best = load_checkpoint(trained).metadata["train"]["state"]
    assert ("model-index" in header) == (best["best_epoch"] == 2)
    header, body = read_card(succeeds("card", trained, "--license", 'mit: "x"', "--dataset", "- [a`b"))
    assert (header["license"], header["datasets"]) == ('mit: "x"', ["- [a`b"])
    assert header["model-index"][0]["results"][0]["dataset"]["name"] == "- [a`b"
    assert "24 images of `` - [a`b ``." in body


def test_a_card_of_a_model_alone_with_any_names(succeeds, trained, tmp_path):
    model = Model.load(trained)
    model.class_names = ('a"b', "---", "```", "\x85\u2028\ud800", "é: [x]", "\U0001f600")
    model.save(tmp_path / "m 'x.safetensors")
    header, body = read_card(succeeds("card", tmp_path / "m 'x.safetensors"))
    assert set(header) == {"library_name", "pipeline_tag", "tags"}
    assert f"The checkpoint says only that {model.step} updates of its weights were made." in body
    assert "Not known from the checkpoint." in body
    listed = body.split("````text\n")[1].split("\n````")[0].splitlines()
    assert [json.loads(line.split(" ", 1)[1]) for line in listed] == list(model.class_names)


@pytest.mark.parametrize(
    ("weight", "message"), [(math.nan, "fc7.weight holds NaN"), (1e30, "the model's outputs are not finite")]
)
def test_outputs_that_are_not_finite_are_an_error_and_no_answer(
    refused, trained, photographs, files, tmp_path, weight, message
):
    checkpoint = load_checkpoint(trained)
    tensors = {name: np.array(tensor) for name, tensor in checkpoint.tensors.items()}
    tensors["fc7.weight"][:] = tensors["fc8.weight"][:] = weight
    save_checkpoint(tmp_path / "bad", tensors, checkpoint.metadata)
    for words in (["predict", tmp_path / "bad", files[0]], ["evaluate", tmp_path / "bad", photographs]):
        for more in ([], ["--json", "--views", 10]):
            assert message in refused(*words, *more)


def test_one_bad_image_does_not_keep_the_others_from_being_predicted(command, trained, files, tmp_path):
    bad, good = tmp_path / "bad.png", files[0]
    bad.write_bytes(b"no picture")
    code, output, errors = command("predict", trained, bad, tmp_path / "absent.png", good)
    assert code == 1
    assert output.startswith(f"{good}\n")
    assert len(output.splitlines()) == 6
    first, second = errors.splitlines()
    assert "bad.png cannot be decoded" in first
    assert "absent.png" in second
    code, output, _ = command("predict", trained, bad, good, "--json")
    assert code == 1
    assert ["error" in result for result in json.loads(output)] == [True, False]


def test_what_cannot_be_read_and_what_is_broken_end_an_evaluation(
    command, succeeds, refused, trained, photographs, tmp_path
):
    source = tmp_path / "source"
    shutil.copytree(photographs, source)
    (source / "ant" / "0.png").write_bytes(b"no picture")
    (source / "bee" / "0.jpg").symlink_to("nothing")
    for share in (0.03, "3%"):
        errors = refused("evaluate", trained, source, "--max-broken", share)
        assert "1 of the 30 images" in errors
        assert "more than the part of 0.03 that max_broken (--max-broken)" in errors
    output = succeeds("evaluate", trained, source)
    assert "ignored      links to nothing: bee/0.jpg" in output.splitlines()
    assert "  ant/0.png: it is not an image" in output
    result = json.loads(succeeds("evaluate", trained, source, "--json"))
    assert (result["images"], result["ignored"]) == (29, ["links to nothing: bee/0.jpg"])
    lost = source / "fox" / "1.png"
    error = OSError(5, "Input/output error", str(lost))
    with failing(builtins, "open", error, lambda file, *_, **__: str(file).endswith("fox/1.png")):
        assert refused("evaluate", trained, source) == f"{lost}: cannot be read: Input/output error"
        code, _, errors = command("predict", trained, lost, source / "fox" / "2.png")
        assert (code, errors) == (1, f"alexnet-cuda: error: {lost}: Input/output error\n")


def test_a_batch_of_files_that_is_too_large_is_predicted_one_by_one(command, refused, trained, photographs, files):
    def memory_for(most):
        error = MemoryError("needs more")
        return failing(Model, "probabilities", error, lambda _, images, *__, **___: len(images) > most)

    expected = command("predict", trained, *files)
    with memory_for(1):
        assert command("predict", trained, *files) == expected
        with failing(data, "read_square", MemoryError(), lambda file, *_, **__: file.endswith("1.png")):
            code, output, errors = command("predict", trained, *files)
    assert (code, errors) == (1, f"alexnet-cuda: error: {files[1]}: out of memory to decode it\n")
    assert output.startswith(f"{files[0]}\n")
    with memory_for(0):
        for arguments, advice in (
            (["predict", trained, files[0]], "other --devices"),
            (["evaluate", trained, photographs, "--views", 10], "a smaller --batch-size or other --devices"),
        ):
            assert refused(*arguments) == f"out of memory (needs more): try {advice}"


def test_a_folder_called_digits_is_named_where_the_digits_do_not_fit(refused, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    for more in ([], ["--held-out"]):
        assert "digits (scikit-learn's, not ./digits)" in refused("evaluate", trained, "digits", *more)


def test_summary_and_doctor_print_text_and_json(succeeds):
    assert "60,965,224" in succeeds("summary")
    assert succeeds("doctor").strip()
    for words in (["summary", "--preset", "caffe", "--set", "num_classes=10"], ["doctor"]):
        assert isinstance(json.loads(succeeds(*words, "--json")), dict)


TO_RUN = "train {photographs} --output {tmp}/run"
BAD = [
    ("tarin", "No such command 'tarin'"),
    ("train digits --lr 1", "No such option"),
    ("train", "Missing argument 'SOURCE'"),
    ("train {tmp}/absent --output {tmp}/run", "absent does not exist"),
    ("train {tmp}/empty --output {tmp}/run", "empty"),
    ("train digits --epochs many", "'many' is not a valid integer"),
    ("train digits --milestones 1;2", "expected epochs such as 30,60,80, got '1;2'"),
    ("train digits --set lrn", "--set takes FIELD=VALUE, got 'lrn'"),
    ("train digits --set lrn=true --set lrn=false", "--set lrn is given twice"),
    ("train digits --validation-split some%", "0.02, or 2%, got 'some%'"),
    (TO_RUN + " --set lnr=1", "'lnr'"),
    (TO_RUN + " --preset x", "unknown preset 'x'"),
    (TO_RUN + " --devices x", "unknown device 'x'"),
    (TO_RUN + " --resume", "to resume from"),
    (TO_RUN + " --validation ''", "'--validation': expected"),
    ("train {photographs} --output {tmp}/file", "file is not a folder"),
    ("train {photographs} --output {tmp}/file/run", "file is not a folder"),
    ("train {photographs} --output {run}", "already holds a run"),
    ("train {photographs} --output ''", "'--output': expected a path, got an empty text"),
    ("train '' --output {tmp}/run", "'SOURCE': expected a path, got an empty text"),
    ("evaluate {tmp}/absent {photographs}", "absent does not exist"),
    ("evaluate {tmp}/cut.safetensors {photographs}", "truncated or damaged"),
    ("evaluate {trained} ''", "'SOURCE': expected a path, got an empty text"),
    ("evaluate '' {photographs}", "'CHECKPOINT': expected a path, got an empty text"),
    ("evaluate {trained} x --max-broken 200%", "0.02, or 2%, got '200%'"),
    ("evaluate {trained} x --max-broken 2", "0.02, or 2%, got '2'"),
    ("evaluate {trained} {photographs} --views 11", "'11' is not one of '1', '10'"),
    ("evaluate {trained} {other} --held-out", "does not hold the images"),
    ("predict {tmp}/file x.png", "not a safetensors file"),
    ("predict '' x.png", "'CHECKPOINT': expected a path, got an empty text"),
    ("predict {trained} x.png ''", "'IMAGE...': expected a path, got an empty text"),
    ("predict {trained}", "Missing argument 'IMAGE...'"),
    ("predict {trained} x.png --top 0", "0 is not in the range x>=1"),
    ("features {trained} {photographs} {tmp}/o.npz", "Missing option '--layer'"),
    ("features {trained} {photographs} {tmp}/o.npz --layer fc9", "unknown layer 'fc9'; there are conv1, lrn1, pool1,"),
    ("features {trained} {photographs} {tmp}/o.npz --layer fc7 --batch-size 0", "batch_size must be at least 1"),
    ("features {trained} {photographs} {tmp}/o.txt --layer fc7", "OUT must end in .npz, got"),
    ("features {trained} {photographs} {tmp}/no/o.npz --layer fc7", "no does not exist"),
    ("card {tmp}/file", "not a safetensors file"),
    ("card {trained} --output {trained}", "is the checkpoint itself"),
    ("card {trained} --output {tmp}/empty", "it is a folder"),
    ("card {tmp}/nan.safetensors", "nan.safetensors is of no use: conv1.bias holds NaN"),
    ("evaluate {tmp}/nan.safetensors {photographs}", "nan.safetensors is of no use: conv1.bias holds NaN"),
    (TO_RUN + " --from {trained} --freeze conv1,conv9", "'conv9' to learn or freeze; there are conv1, conv2,"),
    ("summary --preset x", "unknown preset 'x'"),
    ("summary --image-size 20", "image_size must be at least"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_what_is_wrong_is_one_line_and_nothing_is_written(refused, photographs, trained, tmp_path, line, message):
    (tmp_path / "file").write_text("mine, and long enough to be something")
    (tmp_path / "empty").mkdir()
    whole = trained.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    checkpoint = load_checkpoint(trained)
    bias = np.full_like(checkpoint.tensors["conv1.bias"], np.nan)
    save_checkpoint(tmp_path / "nan.safetensors", {**checkpoint.tensors, "conv1.bias": bias}, checkpoint.metadata)
    for name in ("ant", "bee"):
        shutil.copytree(photographs / name, tmp_path / "other" / name)
    before = sorted(tmp_path.rglob("*"))
    places = {"tmp": tmp_path, "photographs": photographs, "trained": trained, "run": trained.parent}
    words = shlex.split(line.format(**places, other=tmp_path / "other"))
    assert message in refused(*words)
    assert sorted(tmp_path.rglob("*")) == before
    assert trained.read_bytes() == whole


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
def test_errors_become_sentences_unless_the_traceback_is_wanted(refused, monkeypatch, trained, error, sentence):
    with failing(Model, "load", error):
        assert refused("predict", trained, "x.png") == sentence
        monkeypatch.setenv("ALEXNET_CUDA_TRACEBACK", "1")
        with pytest.raises(type(error)):
            refused("predict", trained, "x.png")


def test_a_reader_that_goes_away_is_no_error():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = python(*COMMAND, "train", "--help", start=subprocess.Popen, **pipes)
    process.stdout.close()
    assert process.communicate()[1] == ""
