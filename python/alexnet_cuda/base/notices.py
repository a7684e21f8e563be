"""What is said while work goes on, by whatever thread does it: a line on standard error, once a process.

By `logging` and not by `warnings`, which would end a run, or leave a lock behind, under ``python -W error``.
"""

from __future__ import annotations

import logging

_LOG = logging.getLogger("alexnet_cuda")
_said: set[str] = set()


def say_once(subject: str, line: str) -> None:
    """Say a line unless one on the same subject has been said."""
    if subject not in _said:
        _said.add(subject)
        _LOG.warning("%s", line)
