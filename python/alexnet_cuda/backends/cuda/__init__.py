"""A GPU as a device: memory, streams and graphs by CuPy, kernels by the extension `_cuda`."""
