"""Processes that the tests start: forked children, and other Pythons."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import alexnet_cuda


def exit_code_of_child(function):
    """Call the function in a forked child: the code that it returns, 255 after an error, negative for a signal."""
    if (child := os.fork()) == 0:
        signal.alarm(60)
        try:
            os._exit(function())
        finally:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def python(*words, paths=(), env=None, start=subprocess.check_output, **options):
    """Start a Python that finds these paths and this package, installed or not; by default give its output."""
    paths = [*paths, Path(alexnet_cuda.__file__).parents[1], os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, **(env or {}), "PYTHONPATH": os.pathsep.join(map(str, paths))}
    return start([sys.executable, *map(str, words)], env=env, text=True, **options)
