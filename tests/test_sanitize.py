"""tools/sanitize.py: what it takes for a report, and that neither a report nor a failing test passes."""

import subprocess
from pathlib import Path

import pytest

import sanitize

UNDEFINED = "csrc/ops/relu.cuh:11:89: runtime error: shift exponent 33 is too large for 32-bit type 'int'"
ADDRESS = "==42==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x60200019e9e0 at pc 0x7fead9162903"


def test_reports_are_found_among_other_lines():
    text = f"a warning\n{UNDEFINED}\n    #0 0x1 in f\n=====\n{ADDRESS}\nWRITE of size 4\n"
    assert sanitize.find_reports(text) == [UNDEFINED, ADDRESS]
    assert sanitize.find_reports("RuntimeError: an error of Python\n==1== HEAP SUMMARY\n") == []


@pytest.mark.parametrize(
    ("status", "written", "expected"), [(0, "", 0), (0, UNDEFINED, 1), (1, "", 1), (0, ADDRESS, 1), (-6, ADDRESS, 1)]
)
def test_neither_a_report_nor_a_failing_test_passes(monkeypatch, status, written, expected):
    def run(command, **options):
        options["stderr"].write(written + "\n")
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(sanitize, "sanitized_environment", lambda sanitizers: {})
    monkeypatch.setattr(sanitize.subprocess, "run", run)
    assert sanitize.check(Path("x.so"), ["address"], ["tests"]) == expected


def test_library_without_checks_is_refused(monkeypatch, tmp_path):
    (tmp_path / "cmake" / "simt").mkdir(parents=True)
    (tmp_path / "cmake" / "simt" / "_simt.so").touch()
    library = tmp_path / "cmake" / "simt" / "_simt.abi.so"
    library.write_bytes(b"\0__asan_report_load4\0")
    monkeypatch.setattr(sanitize, "configure_command", lambda build: ["cmake"])
    monkeypatch.setattr(sanitize.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout=""))
    assert sanitize.build_library(tmp_path, ["address"], 1) == library
    with pytest.raises(sanitize.SanitizeError, match="holds no checks of -fsanitize=undefined"):
        sanitize.build_library(tmp_path, ["address", "undefined"], 1)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(sanitize.shutil, "which", lambda name: None)
    with pytest.raises(sanitize.SanitizeError, match="python -m pip install cmake ninja pybind11=="):
        sanitize.configure_command(Path("build"))


def test_unknown_sanitizer_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["sanitize.py", "--sanitizers", "memory"])
    with pytest.raises(SystemExit, match="2"):
        sanitize.main()
    assert "unknown sanitizer 'memory'; expected address and undefined" in capsys.readouterr().err
