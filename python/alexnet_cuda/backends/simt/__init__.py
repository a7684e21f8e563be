"""The CUDA kernels on the CPU: the same sources, run by the executor in csrc/simt. Slow, strict, for tests."""
