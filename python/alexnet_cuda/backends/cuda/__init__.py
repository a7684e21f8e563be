"""Operations on CuPy arrays by the kernels of the extension `alexnet_cuda._cuda`.

Shapes, dtypes and contiguity are checked by `alexnet_cuda.ops`; here only what a NumPy array cannot get wrong.
"""
