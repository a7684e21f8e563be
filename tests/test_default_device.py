"""What tests do does not depend on whether the machine has a default device."""

import os
import subprocess
import sys
from pathlib import Path

import alexnet_cuda

TESTS = Path(__file__).resolve().parent
CASES = """
import subprocess, sys
import pytest
from alexnet_cuda.backends import devices

ASK = "from alexnet_cuda.backends import devices; print(devices.open_devices(None, 'float32')[0].name)"

@pytest.fixture(scope="session")
def of_session():
    return devices.open_devices(None, "float32")[0].name

@pytest.fixture(scope="module")
def of_module():
    return devices.open_devices(None, "float32")[0].name

def test_fixtures_run_on_the_cpu(of_session, of_module):
    assert (of_session, of_module) == ("cpu", "cpu")

def test_the_machine_has_a_default_device():
    assert subprocess.check_output([sys.executable, "-c", ASK], text=True) == "simt\\n"
"""


def test_fixtures_of_a_session_run_on_the_cpu_where_there_is_another_default(tmp_path):
    (tmp_path / "conftest.py").write_bytes((TESTS / "conftest.py").read_bytes())
    (tmp_path / "test_cases.py").write_text(CASES)
    paths = [str(TESTS / "default_is_simt"), str(Path(alexnet_cuda.__file__).parents[1])]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout
