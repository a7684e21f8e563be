"""Where an operation runs.

``cpu``: the extension `_cpu`, or NumPy. ``kernels``: the hand-written kernels, on CuPy arrays by the extension `_cuda`
or on arrays of the CPU executor by `_simt`. The devices that a model's towers live on: ``cpu.device``, ``cuda.device``,
``simt.device``.
"""
