"""Going through the jobs: what is kept, written, tried again and left out, and the exit codes. No GPU, fake workers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from benchmarks import run_all
from benchmarks.harness import results, runner
from benchmarks.harness.contest import DeviceLost
from benchmarks.harness.runner import Failed, Lost, NoDevice, OutOfTime, Process, Run
from benchmarks.harness.schedule import Budget, Job, jobs, matching, step_job
from benchmarks.harness.worker import serve

from .fakes import FakeDevice
from .pretender import pretend

KEYS = ["softmax_cross_entropy.fprop/logits/1/float32", "linear.fprop/fc8/1/float32", "linear.dgrad/fc8/1/float32"]
JOBS = [Job("ceilings", "ceilings"), *(Job("op", key) for key in KEYS)]
CEILINGS = {"source": "s", "bandwidth": 1e12, "flops": {"bfloat16": 1e14}, "launch": 1e-6}


def record(key: str, status: str = "ok", **fields: Any) -> results.Record:
    ours = {"family": "ours", "status": status, "cold": {"median": 5.0}, **fields}
    return {"kind": "op", "key": key, "contenders": {"ours": ours}}


def by_key(result: results.Record) -> dict[str, results.Record]:
    return {record["key"]: record for record in result["measurements"]}


class FakeWorker:
    """Answers what it is told to; remembers what it was asked."""

    def __init__(self, answer: Callable[[results.Record], results.Record]) -> None:
        self.answer, self.stopped = answer, False
        self.asked: list[results.Record] = []
        self.machine: results.Record = {"gpu": "fake"}

    def do(self, job: results.Record, silence: float, left: float) -> results.Record:
        self.asked.append(job)
        if job["kind"] == "ceilings":
            return {"kind": "ceilings", "key": "ceilings", "ceilings": CEILINGS, "detail": {}}
        return self.answer(job)

    def stop(self) -> None:
        self.stopped = True


def go(
    answer: Callable[[results.Record], results.Record], minutes: float = 8.0, now: Callable[[], float] = lambda: 0.0
) -> tuple[results.Record, list[FakeWorker], list[results.Record], list[str]]:
    workers: list[FakeWorker] = []
    saved: list[results.Record] = []
    said: list[str] = []

    def start() -> FakeWorker:
        workers.append(FakeWorker(answer))
        return workers[-1]

    def save(result: results.Record) -> None:
        results.check(result)
        saved.append(json.loads(json.dumps(result)))

    result = results.new({})
    Run(Budget(minutes, now), start, result, save, said.append).all(JOBS)
    return result, workers, saved, said


def test_the_result_is_saved_after_every_measurement():
    result, workers, saved, said = go(lambda job: record(job["key"]))
    assert [len(s["measurements"]) for s in saved] == [0, 1, 2, 3, 3]
    assert [s["complete"] for s in saved] == [False] * 4 + [True]
    assert saved[0]["ceilings"] == CEILINGS, "what was measured first is there though all else were lost"
    assert [m["key"] for m in result["measurements"]] == KEYS
    assert result["machine"] == {"gpu": "fake"}
    assert len(workers) == 1
    assert workers[0].stopped
    assert len(said) == len(JOBS)


def test_a_run_is_cut_at_its_minutes():
    clock = [0.0]

    def answer(job: results.Record) -> results.Record:
        clock[0] += 55.0  # of the ten that were expected
        return record(job["key"])

    result, workers, saved, said = go(answer, minutes=1.0, now=lambda: clock[0])
    assert [m["key"] for m in result["measurements"]] == KEYS[:1], "a job of ten seconds begins if ten are left"
    assert result["left_out"] == KEYS[1:]
    assert not saved[-1]["complete"]
    assert "2 measurements left out" in said[-1]
    assert [job["left"] for job in workers[0].asked] == [52.0, 52.0], "after that the worker begins nothing"


def test_a_measurement_ends_with_the_run():
    """A first compile may take minutes where seconds were expected: it is left out, and so is all after it."""
    clock = [0.0]

    def answer(job: results.Record) -> results.Record:
        clock[0] = 61.0
        raise OutOfTime

    result, workers, _, said = go(answer, minutes=1.0, now=lambda: clock[0])
    assert (result["measurements"], result["failed"]) == ([], [])
    assert result["left_out"] == KEYS
    assert len(workers) == 1
    assert workers[0].stopped
    assert "3 measurements left out" in said[-1]


def test_a_contender_that_takes_the_device_with_it_is_left_out_of_the_next_try():
    def answer(job: results.Record) -> results.Record:
        if job["key"] == KEYS[1] and not job["excluded"]:
            raise Lost("ours", "illegal address")
        return {**record(job["key"]), "contenders": {} if job["excluded"] else record(job["key"])["contenders"]}

    result, workers, _, _ = go(answer)
    assert len(workers) == 2, "a process that lost its device is no use for the next job"
    assert workers[0].stopped
    assert [job["key"] for job in workers[1].asked] == KEYS[1:]
    assert workers[1].asked[0]["excluded"] == ["ours"]
    lost = by_key(result)[KEYS[1]]["contenders"]["ours"]
    assert (lost["status"], lost["message"]) == ("failed", "illegal address")
    assert by_key(result)[KEYS[2]]["contenders"]["ours"]["status"] == "ok"
    assert any("took the device with it" in note for note in result["notes"])


def test_a_job_that_never_works_is_given_up():
    def answer(job: results.Record) -> results.Record:
        if job["key"] == KEYS[0]:
            raise Lost(f"opponent {len(job['excluded'])}", "gone")
        if job["key"] == KEYS[1]:
            raise Failed("KeyError: 'x'")
        return record(job["key"])

    result, workers, _, said = go(answer)
    assert len(workers) == runner.ATTEMPTS + 1
    assert [m["key"] for m in result["measurements"]] == KEYS[2:]
    assert result["failed"][0].startswith(f"{KEYS[0]}: the device was lost 3 times: opponent 0, ")
    assert result["failed"][1:] == [f"{KEYS[1]}: KeyError: 'x'"]
    assert "no result" in said[1]


def test_plans_and_settings_are_handed_on():
    conv = Job("op", "conv2d.fprop/conv2/128/bfloat16")
    search, later = step_job("training", 128, "bfloat16", search=True), step_job("training", 256, "bfloat16")

    def answer(job: results.Record) -> results.Record:
        if job["kind"] == "op":
            made = record(job["key"])
            for name, median in (("cuDNN", 9.0), ("cuDNN, a call a group", 7.0), ("cuDNN, padded to 4 channels", 1.0)):
                other = {"family": "library", "status": "ok", "cold": {"median": median}}
                made["contenders"][name] = {**other, "detail": {"engine": f"eng{median:.0f}"}}
            return made
        settings = [{"weights": "pure"}] if job["options"]["search"] else []
        return {"kind": "step", "key": job["key"], "mode": "training", "contenders": {}, "settings": settings}

    worker = FakeWorker(answer)
    budget = Budget(60, lambda: 0.0)
    Run(budget, lambda: worker, results.new({}), lambda r: None, lambda s: None).all([conv, search, later])
    assert worker.asked[1]["shared"]["plans"] == {conv.key: ["a call a group", "eng7"]}
    assert worker.asked[2]["shared"]["settings"] == {"training": [{"weights": "pure"}]}


def test_the_worker_that_ran_under_the_profiler_is_replaced():
    workers: list[FakeWorker] = []

    def start() -> FakeWorker:
        workers.append(FakeWorker(lambda job: {"kind": job["kind"], "key": job["key"], "contenders": {}}))
        return workers[-1]

    two = [Job("towers", "towers/128/bfloat16"), Job("op", KEYS[0])]
    Run(Budget(60, lambda: 0.0), start, results.new({}), lambda r: None, lambda s: None).all(two)
    assert [len(w.asked) for w in workers] == [1, 1]


# -- the worker's own loop


def serve_jobs(device: FakeDevice, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> list[Any]:
    def do(job: results.Record, device_: Any, send: Any) -> results.Record:
        send({"stage": "ours"})
        answer = answers[job["key"]]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    monkeypatch.setattr("benchmarks.harness.worker.do", do)
    pipe = mock.Mock()
    pipe.recv.side_effect = [*({"key": key} for key in answers), EOFError]
    serve(pipe, device, None)
    return [call.args[0] for call in pipe.send.call_args_list]


def test_the_worker_answers_and_goes_on_after_a_failure(monkeypatch):
    sent = serve_jobs(FakeDevice(), monkeypatch, {"a": {"key": "a"}, "b": ValueError("no"), "c": {"key": "c"}})
    assert [next(iter(m)) for m in sent] == ["stage", "record", "stage", "failed", "stage", "record"]
    assert sent[3] == {"failed": "ValueError: no"}
    assert sent[1]["record"]["clocks"] == {}
    version = type("Version", (str,), {})("2.9")  # a class that the other process need not know
    sent = serve_jobs(FakeDevice(), monkeypatch, {"a": {"key": version}, "b": {"key": object()}})
    assert type(sent[1]["record"]["key"]) is str
    assert "not JSON serializable" in sent[3]["failed"]


def test_the_worker_ends_when_the_device_is_lost(monkeypatch):
    answers = {"a": DeviceLost("cuDNN", "illegal address"), "b": {"key": "b"}}
    sent = serve_jobs(FakeDevice(), monkeypatch, answers)
    assert sent[1:] == [{"lost": "cuDNN", "message": "illegal address"}]
    device = FakeDevice()
    device.lost = True
    assert serve_jobs(device, monkeypatch, {"a": RuntimeError("x"), "b": {}})[1:] == [
        {"lost": "", "message": "RuntimeError: x"}
    ]


# -- a real process that pretends


@pytest.fixture
def process():
    made = Process(pretend)
    yield made
    made.stop()


def test_a_process_answers_and_one_that_dies_says_who_was_at_work(process):
    assert process.machine == {"gpu": "pretended"}
    assert process.do({"key": "x"}, 20.0, 20.0) == {"key": "x"}
    with pytest.raises(Lost) as lost:
        process.do({"key": "die"}, 20.0, 20.0)
    assert lost.value.stage == "cuDNN"
    assert "code 9" in lost.value.message
    with pytest.raises(Lost):
        process.do({"key": "x"}, 20.0, 20.0)


@pytest.mark.parametrize(
    ("silence", "left", "error"), [(0.3, 20.0, Lost), (20.0, 0.3, OutOfTime), (20.0, 0.0, OutOfTime)]
)
def test_a_process_that_hangs_is_ended(process, silence, left, error):
    with pytest.raises(error):
        process.do({"key": "hang"}, silence, left)
    assert not process.process.is_alive()


# -- the command


def command(monkeypatch: pytest.MonkeyPatch, answer: Callable[[results.Record], results.Record], *more: str) -> int:
    monkeypatch.setattr(runner, "Process", lambda: FakeWorker(answer))
    monkeypatch.setattr(run_all.schedule, "jobs", lambda: JOBS)
    return run_all.main([*more])


def test_exit_codes(monkeypatch, tmp_path, capsys):
    path = tmp_path / "r.json"
    assert command(monkeypatch, lambda job: record(job["key"]), "--output", str(path)) == 0
    assert len(results.read(path)["measurements"]) == 3
    assert os.listdir(tmp_path) == ["r.json"], "no temporary file is left"
    message = {"message": "y: 3 of 9 elements are off"}
    assert command(monkeypatch, lambda job: record(job["key"], "wrong", **message), "--output", str(path)) == 1
    assert f"WRONG: {KEYS[0]}: ours: y: 3 of 9 elements are off" in capsys.readouterr().err
    assert command(monkeypatch, lambda job: record(job["key"]), "--only", "dgrad") == 0


def test_an_opponent_that_took_no_part_shows_in_status_and_table(monkeypatch, capsys):
    """It has a time where any of its ways has; what it cannot do is no fault of anybody's."""
    cases = {
        ("ok", "failed"): (0, ""),
        ("unsupported", "unsupported"): (0, ""),
        ("unsupported", "failed"): (
            1,
            f"MISSING: cuDNN failed in 2 of the measurements, the first of them {KEYS[0]}: why",
        ),
        ("unavailable", "unavailable"): (3, "MISSING: cuDNN took no part: why."),
    }
    for statuses, (code, sentence) in cases.items():

        def answer(job: results.Record, statuses: tuple[str, str] = statuses) -> results.Record:
            made = record(job["key"])
            if job["key"] != KEYS[2]:
                for name, status in zip(("cuDNN", "cuDNN, transposed"), statuses, strict=True):
                    other = {"family": "library", "status": status, "message": "why"}
                    made["contenders"][name] = {**other, **({"cold": {"median": 1.0}} if status == "ok" else {})}
            return made

        assert command(monkeypatch, answer) == code
        said = capsys.readouterr().err
        assert sentence in said
        assert bool(said) == bool(sentence)

    def broken(job: results.Record) -> results.Record:
        raise Failed("KeyError: 'x'")

    assert command(monkeypatch, broken) == 1
    assert f"MISSING: No result of {KEYS[0]}: KeyError: 'x'." in capsys.readouterr().err


def test_no_gpu_is_said(monkeypatch, capsys):
    def none() -> Any:
        raise NoDevice("no CUDA device")

    monkeypatch.setattr(runner, "Process", none)
    assert run_all.main([]) == run_all.NO_GPU
    assert "nothing was measured: no CUDA device" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_said_before_measuring(tmp_path):
    with pytest.raises(SystemExit, match="does not exist"):
        run_all.main(["--output", str(tmp_path / "none" / "r.json")])


# -- the order


def test_the_most_telling_comes_first():
    keys = [job.key for job in jobs()]
    assert len(set(keys)) == len(keys)
    assert keys[0] == "ceilings"
    first = keys[1:24]
    assert all(k.startswith(("conv2d.", "linear.")) and k.endswith("/128/bfloat16") for k in first)
    assert len([k for k in first if k.startswith("conv2d")]) == 14
    assert keys.index("step.training/128/bfloat16") < keys.index("linear.wgrad_sgd/fc6/128/bfloat16")
    assert keys.index("step.training/256/bfloat16") < keys.index("conv2d.fprop/conv1/128/float16")
    for precision in ("bfloat16", "float16", "tf32", "float32"):
        for batch in (128, 256, 1024):
            assert f"conv2d.dgrad/conv2/{batch}/{precision}" in keys
    for batch in (1, 8, 2048):
        assert f"step.inference/{batch}/bfloat16" in keys
    assert "towers/128/bfloat16" in keys


def test_what_must_come_fits_into_the_budget():
    before = 0.0
    for job in jobs():
        before += job.seconds
        if job.key == "step.training/128/bfloat16":
            break
    assert before <= 8 * 60, "by our own estimates the layers and the training step are done in time"


def test_only():
    chosen = matching(jobs(), ["conv2d.wgrad/conv3", "towers"])
    assert chosen[0].kind == "ceilings"
    assert {job.key.partition("/")[0] for job in chosen[1:]} == {"conv2d.wgrad", "towers"}
