"""Forked children of the tests."""

import os
import signal


def exit_code_of_child(function):
    """Call the function in a forked child: the code that it returns, 255 after an error, negative for a signal."""
    if (child := os.fork()) == 0:
        signal.alarm(60)
        try:
            os._exit(function())
        finally:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
