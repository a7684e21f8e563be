"""What is said while images are read, by whatever thread reads them: a line on standard error, once a process.

By `logging` and not by `warnings`, which would end the decoding of good images under ``python -W error``.
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
