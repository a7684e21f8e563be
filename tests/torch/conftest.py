"""Tests that need PyTorch: ``pip install '.[torch,test]' && pytest tests/torch``; the extra `test` does not bring it.

What they need of the package beside `alexnet_cuda.torch` is tested without it: derivatives in `tests/ops`, models in
`tests/model`, streams in `tests/cuda`.
"""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]
