"""`alexnet_cuda.cli.doctor`: what it makes of made-up machines, and that it answers on this one."""

import copy
import json
import sys
from types import SimpleNamespace

import pytest

from alexnet_cuda.backends.cpu import native
from alexnet_cuda.backends.devices import runs_as
from alexnet_cuda.cli import doctor
from alexnet_cuda.cli.doctor import find_problems, query_cuda, render, report
from tests.failing import failing


def gpu(major, minor):
    return [{"device": "cuda:0", "name": "GPU", "capability": [major, minor], "memory_bytes": 1}]


HEALTHY = {
    "package": "0.1.0",
    "python": "3.12.1",
    "platform": "Linux",
    "numpy": "2.0.0",
    "blas": ["openblas 0.3, 2 threads"],
    "cpu": "avx2, 2 threads",
    "cupy": {"distribution": "cupy-cuda13x", "version": "14.0.0", "others": []},
    "build": {
        "build": "cuda",
        "build_type": "Release",
        "cxx": "GNU 12.2.0",
        "cuda": {
            "version": "13.0.88",
            "reason": "no CUDA 13 toolkit on this machine",
            "architectures": ["80-real", "80-virtual", "90-real", "120-real"],
            "architectures_reason": "no GPU present",
        },
    },
    "cuda": {
        "extension": True,
        "extension_error": None,
        "driver": "580.65.06",
        "driver_cuda": 13000,
        "runtime_cuda": 13000,
        "visible_devices": None,
        "gpus": gpu(9, 0),
        "gpus_error": None,
        "peers": [{"device": "cuda:0", "peer": "cuda:1", "access": True}],
    },
    "problems": [],
}


def machine(**changes):
    """HEALTHY with entries replaced; ``cuda__driver=x`` replaces ``["cuda"]["driver"]``."""
    facts = copy.deepcopy(HEALTHY)
    for path, value in changes.items():
        *parents, last = path.split("__")
        entry = facts
        for parent in parents:
            entry = entry[parent]
        entry[last] = value
    return facts


def test_healthy_machine_has_no_problem():
    assert find_problems(HEALTHY) == []
    assert "Nothing is wrong." in render(HEALTHY)


# What is not as in a healthy machine, what is said of it, what is advised.
PROBLEMS = [
    ({"build": None, "cuda__extension": False}, "has not been built", "pip install ."),
    (
        {"build__build": "cpu", "cuda__extension": False, "cuda__driver": None},
        "built without CUDA kernels",
        "Unset ALEXNET_CUDA_BUILD",
    ),
    ({"cuda__extension": False, "cuda__extension_error": "bad"}, "does not load: bad", "--force-reinstall"),
    ({"cuda__driver": None, "cuda__driver_cuda": 0, "cuda__gpus": []}, "No NVIDIA driver", "driver 580 or newer"),
    (
        {"cuda__driver": "570.1.2", "cuda__driver_cuda": 12080, "cuda__gpus": []},
        "driver 570.1.2 supports CUDA 12.8, the kernels need CUDA 13.0",
        "driver 580 or newer",
    ),
    ({"cuda__gpus": [], "cuda__visible_devices": ""}, 'CUDA_VISIBLE_DEVICES is ""', "Unset CUDA_VISIBLE_DEVICES"),
    ({"cuda__gpus": [], "cuda__gpus_error": "no device"}, "shows no GPU: no device", "nvidia-smi"),
    ({"cuda__gpus": gpu(7, 5)}, "sm_75) is too old", 'devices="cpu"'),
    ({"cuda__gpus": gpu(10, 0)}, "only by compiling it anew", "ALEXNET_CUDA_ARCHS=100"),
    (
        {"cuda__gpus": gpu(8, 6), "build__cuda__architectures": ["90a-real"]},
        "cannot run this build, which is for 90a-real",
        "ALEXNET_CUDA_ARCHS=86",
    ),
    (
        {"cuda__peers": [{"device": "cuda:0", "peer": "cuda:1", "access": False}]},
        "No direct access between GPUs (cuda:0 to cuda:1)",
        "NVLink",
    ),
    ({"cupy__distribution": None, "cupy__version": None}, "CuPy is missing", "pip install cupy-cuda13x"),
    ({"cupy__distribution": "cupy-cuda12x"}, "cupy-cuda12x is for another CUDA", "pip uninstall cupy-cuda12x"),
    (
        {"cupy__others": ["cupy-cuda12x"]},
        "cupy-cuda12x and cupy-cuda13x are installed",
        "pip uninstall cupy-cuda12x cupy-cuda13x && python -m pip install cupy-cuda13x",
    ),
]


@pytest.mark.parametrize(("changes", "problem", "fix"), PROBLEMS)
def test_each_problem_has_the_sentence_that_mends_it(changes, problem, fix):
    facts = machine(**changes)
    (found,) = facts["problems"] = find_problems(facts)
    assert problem in found["problem"]
    assert fix in found["fix"]
    text = render(facts)
    assert found["problem"] in text
    assert found["fix"] in text
    assert "Nothing is wrong" not in text


@pytest.mark.parametrize(
    ("capability", "architectures", "how"),
    [
        ((8, 0), ["80-real"], "code"),
        ((8, 9), ["80-real"], "code"),
        ((8, 0), ["86-real"], ""),
        ((9, 0), ["80-real"], ""),
        ((9, 0), ["80-virtual"], "ptx"),
        ((9, 0), ["80-virtual", "90a-real"], "code"),
        ((10, 0), ["90a-real", "90a-virtual"], ""),
        ((12, 1), ["120-real"], "code"),
        ((10, 0), ["120-real", "120-virtual"], ""),
        ((10, 3), ["100f-real"], "code"),
        ((9, 0), [], ""),
    ],
)
def test_which_gpu_runs_what_was_built(capability, architectures, how):
    assert runs_as(capability, architectures) == how


#: Two GPUs of which only the first reaches the other.
EXTENSION = SimpleNamespace(
    runtime_version=lambda: 13000,
    driver_version=lambda: 13010,
    device_count=lambda: 2,
    device_properties=lambda *, device: {"name": f"GPU {device}", "capability": (9, 0), "memory_bytes": 2**30},
    can_access_peer=lambda *, device, peer: device < peer,
)


def test_every_pair_of_gpus_is_asked_both_ways():
    facts = query_cuda(EXTENSION)
    assert [entry["name"] for entry in facts["gpus"]] == ["GPU 0", "GPU 1"]
    assert facts["peers"] == [
        {"device": "cuda:0", "peer": "cuda:1", "access": True},
        {"device": "cuda:1", "peer": "cuda:0", "access": False},
    ]
    text = render(machine(cuda=facts))
    assert "cuda:0 to cuda:1  direct" in text
    assert "cuda:1 to cuda:0  through the host" in text


def test_no_device_and_no_extension_are_facts_and_no_errors():
    with failing(EXTENSION, "device_count", RuntimeError("no CUDA-capable device is detected")):
        facts = query_cuda(EXTENSION)
    assert (facts["gpus"], facts["gpus_error"]) == ([], "no CUDA-capable device is detected")
    assert facts["driver_cuda"] == 13010
    facts = query_cuda(None)
    assert (facts["extension"], facts["gpus"], facts["runtime_cuda"]) == (False, [], None)
    assert "GPUs" in render(machine(cuda=facts, build=None))


def test_every_cupy_that_is_installed_is_found(tmp_path, monkeypatch):
    for name in ("cupy_cuda12x", "cupy-rocm-5-0", "cupyish"):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    expected = {"distribution": "cupy-cuda12x", "version": "1.0", "others": ["cupy-rocm-5-0"]}
    assert doctor._cupy() == expected


def test_report_of_this_machine_is_json_and_text():
    facts = report()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["build"] is not None, "the tests run on an installed package"
    assert all(entry["problem"].endswith(".") and entry["fix"] for entry in facts["problems"])
    assert facts["package"] in render(facts)


@pytest.mark.parametrize(
    ("value", "expected"), [("generic", "generic, "), ("numpy", "NumPy, "), ("avx1024", "ALEXNET_CUDA_CPU must be ")]
)
def test_what_computes_on_the_cpu_is_told(monkeypatch, value, expected):
    monkeypatch.setenv("ALEXNET_CUDA_CPU", value)
    native.extension.cache_clear()
    try:
        assert report()["cpu"].startswith(expected)
    finally:
        monkeypatch.undo()
        native.extension.cache_clear()
        native.extension()
