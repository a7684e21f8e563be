"""What pretends to be a worker in a process of its own, which imports nothing else."""

from __future__ import annotations

import os
import time
from typing import Any


def pretend(pipe: Any) -> None:
    pipe.send({"machine": {"gpu": "pretended"}})
    while True:
        job = pipe.recv()
        pipe.send({"stage": "cuDNN"})
        if job["key"] == "die":
            os._exit(9)
        if job["key"] == "hang":
            time.sleep(60)
        pipe.send({"record": job})
