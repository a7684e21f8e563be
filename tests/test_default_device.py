"""What tests do does not depend on whether the machine has a default device."""

from pathlib import Path

import pytest

from alexnet_cuda.backends.devices import open_devices
from tests.child import python

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
    paths = [Path(__file__).parent / "default_is_simt"]
    assert python("-c", ASK, paths=paths) == "simt\n"
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "fixtures_run"]
    assert "1 passed" in python(*command, paths=paths)
