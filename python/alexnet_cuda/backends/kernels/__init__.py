"""Operations by the hand-written kernels: of CuPy arrays by `_cuda` on a GPU, of SimtArrays by `_simt` on the CPU.

Shapes and dtypes are checked by `alexnet_cuda.ops`; here only what a NumPy array cannot get wrong.
"""
