"""What tests do does not depend on whether the machine has a default device."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import alexnet_cuda
from alexnet_cuda.backends.devices import open_devices

ASK = "from alexnet_cuda.backends.devices import open_devices; print(open_devices(None, 'float32')[0].name)"


@pytest.fixture(scope="session")
def of_session():
    return open_devices(None, "float32")[0].name


@pytest.fixture(scope="module")
def of_module():
    return open_devices(None, "float32")[0].name


def test_fixtures_run_on_the_cpu(of_session, of_module):
    assert (of_session, of_module) == ("cpu", "cpu")


def test_they_do_so_where_there_is_another_default():
    paths = [str(Path(__file__).parent / "default_is_simt"), str(Path(alexnet_cuda.__file__).parents[1])]
    python = {"env": {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, "text": True}
    assert subprocess.check_output([sys.executable, "-c", ASK], **python) == "simt\n"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "fixtures_run"]
    assert "1 passed" in subprocess.check_output(command, **python)
