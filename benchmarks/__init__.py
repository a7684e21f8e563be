"""Measurements: on a GPU (`run_all.py`, `report.py`), on the CPU (`cpu_vs_peers.py`, `cpu_layers.py`)."""
