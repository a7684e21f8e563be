"""What needs PyTorch is collected where it is installed; `test_state_dict.py` says the same without."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("torch") else ["test_torch.py"]
