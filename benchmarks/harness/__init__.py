"""What every measurement shares. Nothing here imports CuPy, PyTorch or cuDNN until a measurement asks for it."""
