"""The file of results, what the machine says of itself, floors, and the dry run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks import ops, run_all
from benchmarks.harness import dry_run, machine, results
from benchmarks.harness.cases import PLAN, Case
from benchmarks.harness.roofline import NOMINAL, Ceilings
from benchmarks.harness.steps import flops, parts
from benchmarks.harness.towers import overlap, summarize_profile

SYNTHETIC = Path(__file__).with_name("synthetic.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "expected schema 1, got 2"),
        ({"synthetic": None}, "expected synthetic of type bool, got None"),
        ({"measurements": [{"kind": "op"}]}, "expected a measurement with key and kind"),
        ({"measurements": [{"kind": "op", "key": "k", "contenders": {"a": {"status": "great"}}}]}, "status 'great'"),
        (
            {
                "measurements": [
                    {"kind": "op", "key": "k", "contenders": {"a": {"status": "ok", "cold": {"median": 0}}}}
                ]
            },
            "a is ok, but its time is 0",
        ),
        ({"measurements": [{"kind": "op", "key": "k", "contenders": {"a": {"status": "ok"}}}]}, "its time is None"),
    ],
)
def test_what_is_not_a_result(change, message, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**results.new({}), **change}))
    with pytest.raises(ValueError, match=message):
        results.read(path)


def test_a_failed_write_leaves_the_earlier_result(tmp_path):
    path = tmp_path / "r.json"
    results.write(path, results.new({"gpu": "first"}))
    with pytest.raises(ValueError, match="Out of range"):
        results.write(path, results.new({"gpu": float("nan")}))
    assert results.read(path)["machine"] == {"gpu": "first"}
    path.write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        results.read(path)


# -- floors; the figures are docs/kernels/ and README's, worked out there by hand


@pytest.mark.parametrize(
    ("key", "microseconds", "bound"),
    [
        ("conv2d.fprop/conv1/128/bfloat16", 34.2, "compute"),
        ("conv2d.dgrad/conv2/128/bfloat16", 72.6, "compute"),
        ("conv2d.wgrad/conv3/128/tf32", 96.9, "compute"),
        ("conv2d.fprop/conv4/128/float32", 218.1, "compute"),
        ("linear.fprop/fc6/128/bfloat16", 18.3, "memory"),
        ("linear.wgrad/fc6/128/bfloat16", 35.9, "memory"),
        ("linear.wgrad_sgd/fc6/128/bfloat16", 158.8, "memory"),
        ("linear.wgrad_sgd/fc7/128/bfloat16", 70.7, "memory"),
        ("lrn_max_pool.fprop/lrn1/128/bfloat16", 23.5, "memory"),
        ("lrn_max_pool.bprop/lrn2/128/float32", 50.9, "memory"),
        ("max_pool.fprop/pool5/128/bfloat16", 3.4, "memory"),
    ],
)
def test_floors(key, microseconds, bound):
    row = dry_run.row(Case.from_key(key), NOMINAL, {})
    assert row["floor_us"] == pytest.approx(microseconds, rel=0.005)
    assert row["bound"] == bound


def test_a_step_adds_up():
    assert sum(s.multiply_adds for s in PLAN.steps) == 724_406_816
    assert flops("inference", 128) == 2 * 128 * 724_406_816
    assert flops("training", 1) == 2 * (3 * 724_406_816 - 105_415_200)
    assert dry_run.step_row(128, "bfloat16", "training", NOMINAL, {})["floor_us"] == pytest.approx(1030, rel=0.005)
    assert dry_run.step_row(1024, "bfloat16", "training", NOMINAL, {})["floor_us"] == pytest.approx(6370, rel=0.005)
    assert dry_run.step_row(128, "tf32", "training", NOMINAL, {})["floor_us"] == pytest.approx(1780, rel=0.01)
    assert len(parts(128, "bfloat16", "training")) == 5 * 3 - 1 + 3 * 3 + 3 * 2


def test_floor_is_the_larger_of_two_times():
    ceilings = Ceilings("here", 1e12, {"tf32": 3e14, "float32": 5e13})
    assert ceilings.floor(3e14, 1e9, "tf32") == (1e6, "compute")
    assert ceilings.floor(1e9, 2e12, "tf32") == (2e6, "memory")
    assert ceilings.floor(1e14, 0, "float32")[0] == 1e6, "three TF32 products are the faster way to float32"


def test_the_dry_run_shows_every_case(capsys):
    assert run_all.main(["--dry-run"]) == 0
    text = capsys.readouterr().out
    for name in ops.OPERATIONS:
        assert f"\n{name}." in text
    line = next(x for x in text.splitlines() if x.startswith("conv2d.wgrad/conv2/128/bfloat16"))
    assert line.split()[1:5] == ["57.33", "66.9", "72.57", "compute"]
    assert "blocks" in line
    assert "none is measured" in text
    assert "conv3 5,537,792 B" in text, "21,632 numbers an image, 128 images, 2 bytes"
    assert text.count("images/s") == 3 + 8 + 3


def test_the_dry_run_takes_a_measured_result(tmp_path, capsys):
    """Its ceilings, and the launch choices of its GPU."""
    result = results.read(SYNTHETIC)
    choices = []
    for multiprocessors in (132, 20):
        machine = {"multiprocessors": multiprocessors, "multiprocessor_bytes": 100 * 1024}
        results.write(tmp_path / "r.json", {**result, "machine": machine})
        assert run_all.main(["--dry-run", "--only", "wgrad/conv3", "--ceilings", str(tmp_path / "r.json")]) == 0
        text = capsys.readouterr().out
        assert "ceilings: synthetic: 4.30 TB/s" in text
        choices.append(text.splitlines()[-1])
    assert choices[0] != choices[1]
    results.write(tmp_path / "r.json", {**result, "ceilings": None})
    with pytest.raises(SystemExit, match="holds no ceilings"):
        run_all.main(["--dry-run", "--ceilings", str(tmp_path / "r.json")])


def test_cases_have_keys():
    for case in ops.cases(256, "float16"):
        assert Case.from_key(case.key) == case
    with pytest.raises(ValueError, match=r"expected op\.direction/layer/batch/precision"):
        Case.from_key("conv2d/conv1")
    with pytest.raises(ValueError, match="unknown operation"):
        ops.of(Case("conv3d", "fprop", "conv1", 1, "float32"))


# -- what the machine says


def test_smi_is_read_as_nvml_is():
    reading = machine.parse_smi("1980, 2619, 61, 512.30, 0x0000000000000004\n")
    assert reading == {"sm_mhz": 1980, "memory_mhz": 2619, "celsius": 61, "watts": 512.3, "reasons": 4}
    other = {**reading, "sm_mhz": 1700, "reasons": 0x21}
    summary = machine.summarize([reading, other, other])
    assert summary["sm_mhz"] == [1700, 1700, 1980]
    assert summary["throttled"] == ["power cap", "thermal slowdown (software)"]
    assert machine.summarize([]) == {}


def test_the_monitor_reads_while_something_runs():
    reading = machine.parse_smi("1, 2, 3, 4, 0x0")
    with machine.Monitor(lambda: reading, period=0.001).watch() as summary:
        pass
    assert summary["readings"] >= 1
    with machine.Monitor(None).watch() as summary:
        pass
    assert summary == {}

    def broken() -> dict[str, float]:
        raise OSError("gone")

    with machine.Monitor(broken).watch() as summary:
        pass
    assert summary == {}


def test_the_commit_is_this_one(tmp_path):
    assert machine.commit(tmp_path) == "unknown"
    assert "python" in machine.versions()


# -- what overlaps


def test_overlap():
    assert overlap([(0, 4), (10, 12)], [(1, 2), (1.5, 3), (11, 20)]) == (6, 3)
    assert overlap([], [(0, 1)]) == (0, 0)


def test_a_profile_is_summed_up_a_step():
    events = [
        ("conv2d_fprop_kernel", 0.0, 10.0),
        ("Memcpy PtoP (Device -> Device)", 8.0, 12.0),
        ("Memcpy HtoD (Pageable -> Device)", 20.0, 30.0),
        ("Memset (Device)", 30.0, 31.0),
        ("relu_kernel", 40.0, 41.0),
    ]
    summary = summarize_profile(events, 2)
    assert summary == {"launches": 1.0, "copies": 0.5, "exchange_us": 2.0, "hidden_share": 0.5}
    assert summarize_profile([], 1)["hidden_share"] is None
