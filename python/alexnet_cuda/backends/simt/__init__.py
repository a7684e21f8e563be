"""The CPU executor as a backend: the kernels' own sources on guarded memory of the host (``csrc/simt``)."""
