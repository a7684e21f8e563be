"""Standard output that fails, and a Ctrl-C while modules load: each command in a process of its own.

One Python loads the package and forks for each case, before anything has made threads.
"""

import json

import pytest
from PIL import Image

from alexnet_cuda import Model
from alexnet_cuda.checkpoint import load_checkpoint
from tests.child import python

DRIVER = r"""
import errno, io, json, os, sys
import numpy, alexnet_cuda.model, alexnet_cuda.cli.doctor, alexnet_cuda.train, alexnet_cuda.data
from alexnet_cuda.__main__ import main
from alexnet_cuda.train import plots
plots.plot_curves = lambda folder: folder

def standard(kind, number, errors):
    "What Python gives itself at its start for such a file."
    if kind == "closed":
        os.close(number)
        return None
    if kind == "unread":
        reading, opened = os.pipe()
        os.close(reading)
    else:
        opened = os.open("/dev/full" if kind == "full" else kind, os.O_WRONLY | os.O_CREAT)
    os.dup2(opened, number)
    os.close(opened)
    return io.TextIOWrapper(open(number, "wb", closefd=False), "ascii", errors=errors)

class Interrupt:
    def __init__(self, name):
        self.name = name
    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise KeyboardInterrupt

for name, case in json.load(sys.stdin).items():
    child = os.fork()
    if child == 0:
        os.chdir(case["folder"])
        sys.stdout = sys.__stdout__ = standard(case["out"], 1, "strict")
        sys.stderr = standard(case["err"], 2, "backslashreplace")
        if case["interrupt"]:
            for loaded in [name for name in sys.modules if name.startswith("alexnet_cuda.") and "__main__" not in name]:
                del sys.modules[loaded]
            sys.meta_path.insert(0, Interrupt(case["interrupt"]))
        sys.argv[1:] = case["arguments"]
        sys.exit(main())
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

TRAIN = ["train", "photographs", "--image-size", "67", "--set", "conv_widths=8,16,16,16,16", "--set", "fc_widths=32,32"]
RUN = [*TRAIN, "--epochs", "2", "--batch-size", "8", "--output"]
PREDICT = ["predict", "m.safetensors", "photographs/ant/0.png"]
FULL = "alexnet-cuda: error: standard output: No space left on device\n"
CLOSED = "alexnet-cuda: error: standard output: Bad file descriptor\n"

# Standard output, arguments, exit code, standard error.
CASES = {
    "train-closed": ("closed", [*RUN, "a"], 0, ""),
    "train-full": ("full", [*RUN, "b"], 0, ""),
    "train-unread": ("unread", [*RUN, "c"], 0, ""),
    "train-ascii": ("out.txt", [*RUN, "übung"], 0, ""),
    "predict-closed": ("closed", PREDICT, 2, CLOSED),
    "predict-full": ("full", [*PREDICT, "--json"], 2, FULL),
    "predict-unread": ("unread", PREDICT, 1, ""),
    "predict-ascii": ("out2.txt", ["predict", "m.safetensors", "größe.png"], 0, ""),
    "evaluate-full": ("full", ["evaluate", "m.safetensors", "photographs"], 2, FULL),
    "summary-closed": ("closed", ["summary"], 2, CLOSED),
    "summary-unread": ("unread", ["summary"], 1, ""),
    "doctor-full": ("full", ["doctor"], 2, FULL),
    "help-full": ("full", ["--help"], 2, "alexnet-cuda: error: No space left on device\n"),
    "error-unseen": ("out3.txt", ["train", "absent", "--output", "d"], 2, "unseen"),
    "ctrl-c-cli": ("out4.txt", ["summary"], 130, ""),
    "ctrl-c-click": ("out5.txt", ["summary"], 130, ""),
    "ctrl-c-later": ("out6.txt", ["summary"], 130, "\nalexnet-cuda: interrupted\n"),
}
INTERRUPTED = {
    "ctrl-c-cli": "alexnet_cuda.cli",
    "ctrl-c-click": "alexnet_cuda.train.recipe",
    "ctrl-c-later": "alexnet_cuda.cli.summary",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Give the folder that all the cases ran in, and their exit codes."""
    folder = tmp_path_factory.mktemp("output")
    for number in range(10):
        path = folder / "photographs" / ("ant", "bee")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (200 * (number % 2), 9 * number, 0)).save(path)
    Image.new("RGB", (30, 20)).save(folder / "größe.png")
    model = Model(num_classes=2, image_size=67, devices="cpu", conv_widths=(8, 16, 16, 16, 16), fc_widths=(32, 32))
    model.class_names = ("ant", "bee")
    model.save(folder / "m.safetensors")
    cases = {}
    for name, (out, arguments, _, errors) in CASES.items():
        err = "closed" if errors == "unseen" else f"{name}.err"
        given = {"out": out, "err": err, "folder": str(folder), "interrupt": INTERRUPTED.get(name)}
        cases[name] = {**given, "arguments": arguments}
    environment = {"PYTHONUTF8": "1", "CUDA_VISIBLE_DEVICES": ""}
    output = python("-c", DRIVER, input=json.dumps(cases), env=environment)
    return folder, {name: int(code) for name, code in map(str.split, output.splitlines())}


@pytest.mark.parametrize("name", CASES)
def test_output_that_fails_is_a_sentence_and_never_the_end_of_a_run(ended, name):
    folder, codes = ended
    _, _, code, errors = CASES[name]
    assert codes[name] == code
    if errors != "unseen":
        assert (folder / f"{name}.err").read_text() == errors


def test_the_work_is_kept_and_what_a_terminal_cannot_show_is_escaped(ended):
    folder, _ = ended
    for run in ("a", "b", "c", "übung"):
        assert load_checkpoint(folder / run / "checkpoint.safetensors").metadata["train"]["state"]["epoch"] == 2
        assert (folder / run / "conv1_filters.png").exists()
    assert (folder / "out.txt").read_text().splitlines()[-1].endswith(r"; \xfcbung/checkpoint.safetensors")
    assert (folder / "out2.txt").read_text().startswith("gr\\xf6\\xdfe.png\n")
    assert (folder / "out3.txt").read_text() == ""
