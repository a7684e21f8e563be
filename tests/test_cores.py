"""How many cores there are for this process, in containers too, and the variables that say otherwise."""

import pytest

from alexnet_cuda import _simt
from alexnet_cuda.backends.simt import memory
from alexnet_cuda.base import cores, parallel

V1, V2 = "4:cpu,cpuacct:{}\n3:memory:/x\n2:cpuset:{}\n", "0::{}\n"
MAX, TWO, PART = "max 100000\n", "200000 100000\n", "50000 100000\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (V2.format("/"), {"cpu.max": "250000 100000\n"}, 3),  # a part of a core counts as one
        (V2.format("/"), {"cpu.max": PART}, 1),
        (V2.format("/"), {"cpu.max": MAX}, 8),
        (V2.format("/a/b"), {"a/b/cpu.max": MAX, "a/cpu.max": TWO, "cpu.max": "400000 100000\n"}, 2),
        (V2.format("/outside/of/the/container"), {"cpu.max": TWO}, 2),
        (V2.format("/../../x"), {"cpu.max": TWO}, 2),
        (V2.format("/"), {"cpu.max": "soon\n"}, 8),
        (V2.format("/"), {"cpu.max": "1600000 100000\n"}, 8),
        (V1.format("/d", "/d"), {"cpu/d/cpu.cfs_quota_us": "300000", "cpu/d/cpu.cfs_period_us": "100000"}, 3),
        (V1.format("/d", "/d"), {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 2),
        (V1.format("/", "/"), {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("nonsense\n", {"cpu.max": TWO}, 8),
        (None, {}, 8),
    ],
)
def test_quotas(membership, files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    process, groups = tmp_path / "self", tmp_path / "cgroup"
    process.mkdir()
    if membership is not None:
        (process / "cgroup").write_text(membership)
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    assert cores.available_cores(process, groups) == expected


@pytest.fixture
def threads(monkeypatch):
    """Ask for the number of threads under the values of the two variables, on six cores."""

    def ask(ours, openmp):
        monkeypatch.setenv("ALEXNET_CUDA_NUM_THREADS", ours)
        monkeypatch.setenv("OMP_NUM_THREADS", openmp)
        monkeypatch.setattr(parallel, "available_cores", lambda: 6)
        return parallel.num_threads.__wrapped__()

    return ask


@pytest.mark.parametrize(
    ("ours", "openmp", "expected"), [("", "3", 3), ("", " 5,2 ", 5), ("2", "3", 2), ("2", "many", 2), ("", "", 6)]
)
def test_the_variables_come_first(ours, openmp, expected, threads, caplog):
    assert threads(ours, openmp) == expected
    assert not caplog.messages


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²", ",2"])
def test_what_is_no_number_is_an_error_in_our_variable_and_said_once_of_others(text, threads, caplog):
    with pytest.raises(ValueError, match=f"ALEXNET_CUDA_NUM_THREADS must be a positive integer, got '{text}'"):
        threads(text, "")
    assert [threads("", text) for _ in range(2)] == [6, 6]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"OMP_NUM_THREADS is {text!r}, no positive integer")


@pytest.mark.parametrize(("variable", "threads", "expected"), [("", 3, 3), ("", 40, 16), ("7", 3, 5)])
def test_the_executor_takes_as_many_unless_told(variable, threads, expected, monkeypatch):
    before = _simt.thread_count()
    monkeypatch.setenv("ALEXNET_CUDA_SIMT_THREADS", variable)
    monkeypatch.setattr(memory, "num_threads", lambda: threads)
    _simt.set_thread_count(count=5)
    try:
        memory.extension.__wrapped__()
        assert _simt.thread_count() == expected
    finally:
        _simt.set_thread_count(count=before)
